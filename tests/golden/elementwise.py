# add
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, q_0, q_batch_0, q_head_0, q_dim_0, field_1, field_block_1, field_head_1, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    field_0_tile_2 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    head_3 = tl.arange(0, 16)
    dim_4 = tl.arange(0, 16)
    q_tile_5 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_3[:, None] * q_head_0 + dim_4[None, :] * q_dim_0, mask=(head_3[:, None] < 2), other=0).to(tl.float32)
    field_1_tile_6 = tl.load(field_1 + block_1[:, None] * field_block_1 + kv_head_0 * field_head_1 + dim_4[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_7 = product(field_1_tile_6, tl.permute(q_tile_5, (1, 0)), tl.full((128, 16), 0.0, tl.float32), field_1, q_0)
    max_head_8 = largest(tl.where((head_3 < 2)[None, :], dot_dim_7, float("-inf")), 1)
    add_9 = field_0_tile_2 + max_head_8
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), add_9, mask=here_0)

# sub
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_1, field_block_1, field_head_1, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    field_1_tile_2 = tl.load(field_1 + block_1 * field_block_1 + kv_head_0 * field_head_1, mask=here_0, other=0).to(tl.float32)
    field_0_tile_3 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    sub_4 = field_1_tile_2 - field_0_tile_3
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), sub_4, mask=here_0)

# mul
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, q_0, q_batch_0, q_head_0, q_dim_0, field_1, field_block_1, field_head_1, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    head_2 = tl.arange(0, 2)
    dim_3 = tl.arange(0, 16)
    q_tile_4 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_2[:, None] * q_head_0 + dim_3[None, :] * q_dim_0).to(tl.float32)
    sum_head_5 = tl.sum(q_tile_4, 0)
    div_6 = sum_head_5 * 0.5
    field_1_tile_7 = tl.load(field_1 + block_1[:, None] * field_block_1 + kv_head_0 * field_head_1 + dim_3[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_8 = tl.sum(div_6[None, :] * field_1_tile_7, 1)
    field_0_tile_9 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    mul_10 = dot_dim_8 * field_0_tile_9
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), mul_10, mask=here_0)

# div
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, q_0, q_batch_0, q_head_0, q_dim_0, field_1, field_block_1, field_head_1, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    head_2 = tl.arange(0, 2)
    dim_3 = tl.arange(0, 16)
    q_tile_4 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_2[:, None] * q_head_0 + dim_3[None, :] * q_dim_0).to(tl.float32)
    sum_head_5 = tl.sum(q_tile_4, 0)
    div_6 = sum_head_5 * 0.5
    field_1_tile_7 = tl.load(field_1 + block_1[:, None] * field_block_1 + kv_head_0 * field_head_1 + dim_3[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_8 = tl.sum(div_6[None, :] * field_1_tile_7, 1)
    field_0_tile_9 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    div_10 = tl.div_rn(dot_dim_8, field_0_tile_9)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), div_10, mask=here_0)

# mod
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    to_float_1 = (page_0).to(tl.float32)
    mod_2 = modulo(to_float_1, 4.0)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), mod_2, mask=here_0)

# pow
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_1, field_block_1, field_head_1, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    field_1_tile_2 = tl.load(field_1 + block_1 * field_block_1 + kv_head_0 * field_head_1, mask=here_0, other=0).to(tl.float32)
    field_0_tile_3 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    pow_4 = power(field_0_tile_3, 0.5)
    sub_5 = field_1_tile_2 - pow_4
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), sub_5, mask=here_0)

# neg
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    field_0_tile_2 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    neg_3 = -(field_0_tile_2)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), neg_3, mask=here_0)

# lt
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    to_float_1 = (page_0).to(tl.float32)
    lt_2 = to_float_1 < 8.0
    to_float_3 = (lt_2).to(tl.float32)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), to_float_3, mask=here_0)

# le
@triton.jit
def row_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    number_0 = tl.program_id(0)
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    sum_page_1 = tl.full((), 0.0, tl.float32)
    for page_start_2 in range(0, complete_0, 1024):
        page_3 = page_start_2 + tl.arange(0, 1024)
        here_4 = page_3 < complete_0
        block_5 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_3, mask=here_4, other=0).to(tl.int64)
        field_0_tile_6 = tl.load(field_0 + block_5 * field_block_0 + kv_head_0 * field_head_0, mask=here_4, other=0).to(tl.float32)
        sum_page_1 = sum_page_1 + tl.sum(tl.where(here_4, field_0_tile_6, 0.0), 0)
    tl.store(out_0 + row_0, sum_page_1)

@triton.jit
def map_1(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, buffer_1, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    field_0_tile_2 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    buffer_1_tile_3 = tl.load(buffer_1 + row_0 * 1).to(tl.float32)
    mul_4 = complete_0.to(tl.float32) * 1.0
    div_5 = tl.div_rn(buffer_1_tile_3, mul_4)
    le_6 = field_0_tile_2 <= div_5
    to_float_7 = (le_6).to(tl.float32)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), to_float_7, mask=here_0)

# gt
@triton.jit
def row_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    number_0 = tl.program_id(0)
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    sum_page_1 = tl.full((), 0.0, tl.float32)
    for page_start_2 in range(0, complete_0, 1024):
        page_3 = page_start_2 + tl.arange(0, 1024)
        here_4 = page_3 < complete_0
        block_5 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_3, mask=here_4, other=0).to(tl.int64)
        field_0_tile_6 = tl.load(field_0 + block_5 * field_block_0 + kv_head_0 * field_head_0, mask=here_4, other=0).to(tl.float32)
        sum_page_1 = sum_page_1 + tl.sum(tl.where(here_4, field_0_tile_6, 0.0), 0)
    tl.store(out_0 + row_0, sum_page_1)

@triton.jit
def map_1(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, buffer_1, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    buffer_1_tile_2 = tl.load(buffer_1 + row_0 * 1).to(tl.float32)
    mul_3 = complete_0.to(tl.float32) * 1.0
    div_4 = tl.div_rn(buffer_1_tile_2, mul_3)
    field_0_tile_5 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    lt_6 = div_4 < field_0_tile_5
    to_float_7 = (lt_6).to(tl.float32)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), to_float_7, mask=here_0)

# ge
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    sub_1 = count_0.to(tl.float32) - 8.0
    to_float_2 = (page_0).to(tl.float32)
    le_3 = sub_1 <= to_float_2
    to_float_4 = (le_3).to(tl.float32)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), to_float_4, mask=here_0)

# eq
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    to_float_1 = (page_0).to(tl.float32)
    mod_2 = modulo(to_float_1, 8.0)
    eq_3 = mod_2 == 0.0
    to_float_4 = (eq_3).to(tl.float32)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), to_float_4, mask=here_0)

# ne
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    to_float_1 = (page_0).to(tl.float32)
    mod_2 = modulo(to_float_1, 8.0)
    ne_3 = mod_2 != 0.0
    to_float_4 = (ne_3).to(tl.float32)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), to_float_4, mask=here_0)

# and
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    to_float_2 = (page_0).to(tl.float32)
    lt_3 = to_float_2 < 8.0
    field_0_tile_4 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    lt_5 = 1.0 < field_0_tile_4
    and_6 = both(lt_3, lt_5)
    to_float_7 = (and_6).to(tl.float32)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), to_float_7, mask=here_0)

# or
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    to_float_2 = (page_0).to(tl.float32)
    lt_3 = to_float_2 < 8.0
    field_0_tile_4 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    lt_5 = 1.0 < field_0_tile_4
    or_6 = either(lt_3, lt_5)
    to_float_7 = (or_6).to(tl.float32)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), to_float_7, mask=here_0)

# invert
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    to_float_1 = (page_0).to(tl.float32)
    lt_2 = to_float_1 < 8.0
    invert_3 = lt_2 == 0
    to_float_4 = (invert_3).to(tl.float32)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), to_float_4, mask=here_0)

# abs
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, q_0, q_batch_0, q_head_0, q_dim_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    head_2 = tl.arange(0, 2)
    dim_3 = tl.arange(0, 16)
    q_tile_4 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_2[:, None] * q_head_0 + dim_3[None, :] * q_dim_0).to(tl.float32)
    field_0_tile_5 = tl.load(field_0 + block_1[:, None] * field_block_0 + kv_head_0 * field_head_0 + dim_3[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    mul_6 = q_tile_4[None, :, :] * field_0_tile_5[:, None, :]
    abs_7 = tl.abs(mul_6)
    sum_head_8 = tl.sum(abs_7, 1)
    sum_dim_9 = tl.sum(sum_head_8, 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), sum_dim_9, mask=here_0)

# exp
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 16)
    dim_2 = tl.arange(0, 16)
    k_tile_3 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_2[None, :] * k_dim_0).to(tl.float32)
    exp_4 = tl.exp(k_tile_3)
    sum_token_5 = tl.sum(exp_4, 0)
    div_6 = sum_token_5 * 0.0625
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_2, round_bfloat16(div_6))

# log
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_1, field_block_1, field_head_1, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    field_1_tile_2 = tl.load(field_1 + block_1 * field_block_1 + kv_head_0 * field_head_1, mask=here_0, other=0).to(tl.float32)
    field_0_tile_3 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    log_4 = tl.log(field_0_tile_3)
    sub_5 = field_1_tile_2 - log_4
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), sub_5, mask=here_0)

# sqrt
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 16)
    dim_2 = tl.arange(0, 16)
    k_tile_3 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_2[None, :] * k_dim_0).to(tl.float32)
    square_4 = k_tile_3 * k_tile_3
    sum_token_5 = tl.sum(square_4, 0)
    div_6 = sum_token_5 * 0.0625
    sqrt_7 = tl.sqrt_rn(div_6)
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_2, round_bfloat16(sqrt_7))

# rsqrt
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 16)
    dim_2 = tl.arange(0, 16)
    k_tile_3 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_2[None, :] * k_dim_0).to(tl.float32)
    square_4 = k_tile_3 * k_tile_3
    sum_dim_5 = tl.sum(square_4, 1)
    add_6 = 0.009999999776482582 + sum_dim_5
    rsqrt_7 = tl.div_rn(1.0, tl.sqrt_rn(add_6))
    mul_8 = k_tile_3 * rsqrt_7[:, None]
    sum_token_9 = tl.sum(mul_8, 0)
    div_10 = sum_token_9 * 0.0625
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_2, round_bfloat16(div_10))

# square
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 16)
    dim_2 = tl.arange(0, 16)
    k_tile_3 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_2[None, :] * k_dim_0).to(tl.float32)
    square_4 = k_tile_3 * k_tile_3
    sum_token_5 = tl.sum(square_4, 0)
    div_6 = sum_token_5 * 0.0625
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_2, round_bfloat16(div_6))

# sign
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, q_0, q_batch_0, q_head_0, q_dim_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    head_2 = tl.arange(0, 2)
    dim_3 = tl.arange(0, 16)
    q_tile_4 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_2[:, None] * q_head_0 + dim_3[None, :] * q_dim_0).to(tl.float32)
    sum_head_5 = tl.sum(q_tile_4, 0)
    sign_6 = sign(sum_head_5)
    field_0_tile_7 = tl.load(field_0 + block_1[:, None] * field_block_0 + kv_head_0 * field_head_0 + dim_3[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_8 = tl.sum(sign_6[None, :] * field_0_tile_7, 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), dot_dim_8, mask=here_0)

# floor
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    to_float_1 = (page_0).to(tl.float32)
    div_2 = to_float_1 * 0.25
    floor_3 = tl.floor(div_2)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), floor_3, mask=here_0)

# relu
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, q_0, q_batch_0, q_head_0, q_dim_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    head_2 = tl.arange(0, 2)
    dim_3 = tl.arange(0, 16)
    q_tile_4 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_2[:, None] * q_head_0 + dim_3[None, :] * q_dim_0).to(tl.float32)
    field_0_tile_5 = tl.load(field_0 + block_1[:, None] * field_block_0 + kv_head_0 * field_head_0 + dim_3[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    mul_6 = q_tile_4[None, :, :] * field_0_tile_5[:, None, :]
    relu_7 = larger(mul_6, 0.0)
    sum_head_8 = tl.sum(relu_7, 1)
    sum_dim_9 = tl.sum(sum_head_8, 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), sum_dim_9, mask=here_0)

# sigmoid
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, q_0, q_batch_0, q_head_0, q_dim_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    head_2 = tl.arange(0, 16)
    dim_3 = tl.arange(0, 16)
    q_tile_4 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_2[:, None] * q_head_0 + dim_3[None, :] * q_dim_0, mask=(head_2[:, None] < 2), other=0).to(tl.float32)
    field_0_tile_5 = tl.load(field_0 + block_1[:, None] * field_block_0 + kv_head_0 * field_head_0 + dim_3[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_6 = product(field_0_tile_5, tl.permute(q_tile_4, (1, 0)), tl.full((128, 16), 0.0, tl.float32), field_0, q_0)
    mul_7 = scale_0 * dot_dim_6
    sigmoid_8 = sigmoid(mul_7)
    max_head_9 = largest(tl.where((head_2 < 2)[None, :], sigmoid_8, float("-inf")), 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_head_9, mask=here_0)

# silu
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, q_0, q_batch_0, q_head_0, q_dim_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    head_2 = tl.arange(0, 16)
    dim_3 = tl.arange(0, 16)
    q_tile_4 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_2[:, None] * q_head_0 + dim_3[None, :] * q_dim_0, mask=(head_2[:, None] < 2), other=0).to(tl.float32)
    field_0_tile_5 = tl.load(field_0 + block_1[:, None] * field_block_0 + kv_head_0 * field_head_0 + dim_3[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_6 = product(field_0_tile_5, tl.permute(q_tile_4, (1, 0)), tl.full((128, 16), 0.0, tl.float32), field_0, q_0)
    silu_7 = dot_dim_6 * sigmoid(dot_dim_6)
    max_head_8 = largest(tl.where((head_2 < 2)[None, :], silu_7, float("-inf")), 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_head_8, mask=here_0)

# tanh
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    field_0_tile_2 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    to_float_3 = (page_0).to(tl.float32)
    div_4 = tl.div_rn(to_float_3, count_0.to(tl.float32))
    tanh_5 = tanh(div_4)
    mul_6 = field_0_tile_2 * tanh_5
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), mul_6, mask=here_0)

# maximum
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_1, field_block_1, field_head_1, q_0, q_batch_0, q_head_0, q_dim_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    dim_2 = tl.arange(0, 16)
    field_1_tile_3 = tl.load(field_1 + block_1[:, None] * field_block_1 + kv_head_0 * field_head_1 + dim_2[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    head_4 = tl.arange(0, 16)
    q_tile_5 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_4[:, None] * q_head_0 + dim_2[None, :] * q_dim_0, mask=(head_4[:, None] < 2), other=0).to(tl.float32)
    relu_6 = larger(q_tile_5, 0.0)
    dot_dim_7 = product(field_1_tile_3, tl.permute(relu_6, (1, 0)), tl.full((128, 16), 0.0, tl.float32), field_1, q_0)
    neg_8 = -(q_tile_5)
    relu_9 = larger(neg_8, 0.0)
    field_0_tile_10 = tl.load(field_0 + block_1[:, None] * field_block_0 + kv_head_0 * field_head_0 + dim_2[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_11 = product(field_0_tile_10, tl.permute(relu_9, (1, 0)), tl.full((128, 16), 0.0, tl.float32), field_0, q_0)
    sub_12 = dot_dim_7 - dot_dim_11
    max_head_13 = largest(tl.where((head_4 < 2)[None, :], sub_12, float("-inf")), 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_head_13, mask=here_0)

# minimum
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    field_0_tile_2 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    minimum_3 = smaller(field_0_tile_2, 4.0)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), minimum_3, mask=here_0)

# clip
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 16)
    dim_2 = tl.arange(0, 16)
    k_tile_3 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_2[None, :] * k_dim_0).to(tl.float32)
    clip_4 = smaller(larger(k_tile_3, (-4.0)), 4.0)
    sum_token_5 = tl.sum(clip_4, 0)
    div_6 = sum_token_5 * 0.0625
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_2, round_bfloat16(div_6))

# where
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, field_1, field_block_1, field_head_1, out_0):
    begin()
    tiles_0 = (max_pages_0 + 127) // 128
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 128 + tl.arange(0, 128)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 128 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    to_float_2 = (page_0).to(tl.float32)
    lt_3 = to_float_2 < 8.0
    field_0_tile_4 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    field_1_tile_5 = tl.load(field_1 + block_1 * field_block_1 + kv_head_0 * field_head_1, mask=here_0, other=0).to(tl.float32)
    where_6 = tl.where(lt_3, field_0_tile_4, field_1_tile_5)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), where_6, mask=here_0)
