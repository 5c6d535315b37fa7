# split
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    axis_1 = tl.arange(0, 4)
    index_mul_2 = axis_1 * 4
    token_3 = tl.arange(0, 4)
    index_add_4 = index_mul_2[:, None] + token_3[None, :]
    dim_5 = tl.arange(0, 16)
    k_tile_6 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + index_add_4[:, :, None] * k_token_0 + dim_5[None, None, :] * k_dim_0).to(tl.float32)
    sum_token_7 = tl.sum(k_tile_6, 1)
    div_8 = sum_token_7 * 0.25
    max_axis_9 = largest(div_8, 0)
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_5, round_bfloat16(max_axis_9))

# take
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 4)
    index_add_2 = token_1 + 12
    dim_3 = tl.arange(0, 16)
    k_tile_4 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + index_add_2[:, None] * k_token_0 + dim_3[None, :] * k_dim_0).to(tl.float32)
    sum_token_5 = tl.sum(k_tile_4, 0)
    div_6 = sum_token_5 * 0.25
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_3, round_bfloat16(div_6))

# rename
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    axis_1 = tl.arange(0, 16)
    dim_2 = tl.arange(0, 16)
    k_tile_3 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + axis_1[:, None] * k_token_0 + dim_2[None, :] * k_dim_0).to(tl.float32)
    token_4 = tl.arange(0, 16)
    k_tile_5 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_4[:, None] * k_token_0 + dim_2[None, :] * k_dim_0).to(tl.float32)
    dot_dim_6 = product(k_tile_3, tl.permute(k_tile_5, (1, 0)), tl.full((16, 16), 0.0, tl.float32), k_0, k_0)
    min_axis_7 = smallest(dot_dim_6, 0)
    min_token_8 = smallest(min_axis_7, 0)
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0, round_bfloat16(min_token_8))

# top
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
    dim_6 = tl.arange(0, 16)
    q_tile_7 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_2[:, None] * q_head_0 + dim_6[None, :] * q_dim_0).to(tl.float32)
    abs_8 = tl.abs(q_tile_7)
    sum_head_9 = tl.sum(abs_8, 0)
    eq_10 = sum_head_9 == sum_head_9
    where_11 = tl.where(eq_10, sum_head_9, float("-inf"))
    abs_12 = tl.abs(q_tile_4)
    sum_head_13 = tl.sum(abs_12, 0)
    eq_14 = sum_head_13 == sum_head_13
    where_15 = tl.where(eq_14, sum_head_13, float("-inf"))
    gt_16 = where_11[None, :] > where_15[:, None]
    eq_17 = where_11[None, :] == where_15[:, None]
    index_lt_18 = dim_6[None, :] < dim_3[:, None]
    and_19 = both(eq_17, index_lt_18)
    or_20 = either(gt_16, and_19)
    to_float_21 = (or_20).to(tl.float32)
    sum_dim_22 = tl.sum(to_float_21, 1)
    lt_23 = sum_dim_22 < 8.0
    to_float_24 = (lt_23).to(tl.float32)
    mul_25 = sum_head_5 * to_float_24
    field_0_tile_26 = tl.load(field_0 + block_1[:, None] * field_block_0 + kv_head_0 * field_head_0 + dim_3[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_27 = tl.sum(mul_25[None, :] * field_0_tile_26, 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), dot_dim_27, mask=here_0)

# shift
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
    index_add_3 = page_0 + (-1)
    exists_4 = (index_add_3 >= 0) & (index_add_3 < complete_0)
    block_5 = tl.load(block_table_0 + sequence_0 * table_stride_0 + index_add_3, mask=exists_4, other=0).to(tl.int64)
    field_0_tile_6 = tl.load(field_0 + block_5 * field_block_0 + kv_head_0 * field_head_0, mask=exists_4, other=0).to(tl.float32)
    where_7 = tl.where(exists_4, field_0_tile_6, 0.0)
    sub_8 = field_0_tile_2 - where_7
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), sub_8, mask=here_0)

# smooth
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, table_0, out_0):
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
    axis_1 = tl.arange(0, 4)
    index_add_2 = axis_1 + (-1)
    index_add_3 = page_0[:, None] + index_add_2[None, :]
    exists_4 = (index_add_3 >= 0) & (index_add_3 < complete_0)
    block_5 = tl.load(block_table_0 + sequence_0 * table_stride_0 + index_add_3, mask=exists_4, other=0).to(tl.int64)
    field_0_tile_6 = tl.load(field_0 + block_5 * field_block_0 + kv_head_0 * field_head_0, mask=exists_4, other=0).to(tl.float32)
    where_7 = tl.where(exists_4, field_0_tile_6, 0.0)
    table_tile_8 = tl.load(table_0 + axis_1, mask=(axis_1 < 3), other=0).to(tl.float32)
    mul_9 = where_7 * table_tile_8[None, :]
    sum_axis_10 = tl.sum(tl.where((axis_1 < 3)[None, :], mul_9, 0.0), 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), sum_axis_10, mask=here_0)

# cumsum
@triton.jit
def scan_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_0, field_block_0, field_head_0, out_0):
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
    total_1 = tl.full((), 0.0, tl.float32)
    for page_start_2 in range(0, complete_0, 1024):
        page_3 = page_start_2 + tl.arange(0, 1024)
        here_4 = page_3 < complete_0
        block_5 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_3, mask=here_4, other=0).to(tl.int64)
        field_0_tile_6 = tl.load(field_0 + block_5 * field_block_0 + kv_head_0 * field_head_0, mask=here_4, other=0).to(tl.float32)
        part_7 = tl.where(here_4, field_0_tile_6, 0.0)
        scan_page_8 = tl.cumsum(part_7, 0) + total_1
        tl.store(out_0 + (row_0 * max_pages_0 + page_3), scan_page_8, mask=here_4)
        total_1 = total_1 + tl.sum(part_7, 0)

@triton.jit
def map_1(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, buffer_1, out_0):
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
    buffer_1_tile_1 = tl.load(buffer_1 + (row_0 * max_pages_0 + page_0), mask=here_0, other=0).to(tl.float32)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), buffer_1_tile_1, mask=here_0)

# to
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0, out_1, out_block_1, out_head_1):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 16)
    dim_2 = tl.arange(0, 8)
    index_mul_3 = dim_2 * 2
    k_tile_4 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + index_mul_3[None, :] * k_dim_0).to(tl.float32)
    max_token_5 = largest(k_tile_4, 0)
    dim_6 = tl.arange(0, 16)
    k_tile_7 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_6[None, :] * k_dim_0).to(tl.float32)
    max_token_8 = largest(k_tile_7, 0)
    abs_9 = tl.abs(max_token_8)
    max_dim_10 = largest(abs_9, 0)
    div_11 = tl.div_rn(max_dim_10, 7.0)
    code_12 = code(max_token_5, div_11, 7.0)
    index_add_13 = index_mul_3 + 1
    k_tile_14 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + index_add_13[None, :] * k_dim_0).to(tl.float32)
    max_token_15 = largest(k_tile_14, 0)
    code_16 = code(max_token_15, div_11, 7.0)
    pack_17 = ((code_12).to(tl.int32) & 15) | ((code_16).to(tl.int32) & 15) << 4
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_2, (pack_17).to(tl.uint8))
    tl.store(out_1 + block_0 * out_block_1 + kv_head_0 * out_head_1, div_11)
