# sum
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
    sum_head_7 = tl.sum(mul_6, 1)
    sum_dim_8 = tl.sum(sum_head_7, 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), sum_dim_8, mask=here_0)

# mean
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
    sum_token_4 = tl.sum(k_tile_3, 0)
    div_5 = sum_token_4 * 0.0625
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_2, round_bfloat16(div_5))

# max
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
    max_head_7 = largest(tl.where((head_2 < 2)[None, :], dot_dim_6, float("-inf")), 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_head_7, mask=here_0)

# min
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
    min_token_4 = smallest(k_tile_3, 0)
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_2, round_bfloat16(min_token_4))

# var
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
    sum_token_4 = tl.sum(k_tile_3, 0)
    div_5 = sum_token_4 * 0.0625
    sub_6 = k_tile_3 - div_5[None, :]
    square_7 = sub_6 * sub_6
    sum_token_8 = tl.sum(square_7, 0)
    div_9 = sum_token_8 * 0.0625
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_2, round_bfloat16(div_9))

# norm
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
    sum_token_4 = tl.sum(k_tile_3, 0)
    div_5 = sum_token_4 * 0.0625
    sub_6 = k_tile_3 - div_5[None, :]
    square_7 = sub_6 * sub_6
    sum_dim_8 = tl.sum(square_7, 1)
    sqrt_9 = tl.sqrt_rn(sum_dim_8)
    max_token_10 = largest(sqrt_9, 0)
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0, round_bfloat16(max_token_10))

# logsumexp
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, q_0, q_batch_0, q_head_0, q_dim_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 15) // 16
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 16 + tl.arange(0, 16)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 16 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    head_2 = tl.arange(0, 16)
    dim_3 = tl.arange(0, 16)
    q_tile_4 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_2[:, None] * q_head_0 + dim_3[None, :] * q_dim_0, mask=(head_2[:, None] < 2), other=0).to(tl.float32)
    token_5 = tl.arange(0, 16)
    k_tile_6 = tl.load(k_0 + block_1[:, None, None] * k_block_0 + kv_head_0 * k_head_0 + token_5[None, :, None] * k_token_0 + dim_3[None, None, :] * k_dim_0, mask=here_0[:, None, None], other=0.0).to(tl.float32)
    dot_dim_7 = tl.permute(tl.reshape(product(tl.reshape(k_tile_6, (256, 16)), tl.permute(q_tile_4, (1, 0)), tl.full((256, 16), 0.0, tl.float32), k_0, q_0), (16, 16, 16)), (0, 2, 1))
    mul_8 = dot_dim_7 * scale_0
    max_head_9 = largest(tl.where((head_2 < 2)[None, :, None], mul_8, float("-inf")), 1)
    max_token_10 = largest(max_head_9, 1)
    abs_11 = tl.abs(max_token_10)
    eq_12 = abs_11 == float("inf")
    where_13 = tl.where(eq_12, 0.0, max_token_10)
    sub_14 = mul_8 - where_13[:, None, None]
    exp_15 = tl.exp(sub_14)
    sum_head_16 = tl.sum(tl.where((head_2 < 2)[None, :, None], exp_15, 0.0), 1)
    sum_token_17 = tl.sum(sum_head_16, 1)
    log_18 = tl.log(sum_token_17)
    add_19 = log_18 + where_13
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), add_19, mask=here_0)

# softmax
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
    tl.store(out_0 + (row_0 * max_pages_0 + page_0)[:, None] * 2 + head_2[None, :], dot_dim_6, mask=here_0[:, None] & (head_2[None, :] < 2))

@triton.jit
def row_1(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, buffer_3, out_0, out_1):
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
    head_1 = tl.arange(0, 2)
    max_page_2 = tl.full((2,), float("-inf"), tl.float32)
    for page_start_3 in range(0, complete_0, 1024):
        page_4 = page_start_3 + tl.arange(0, 1024)
        here_5 = page_4 < complete_0
        buffer_3_tile_6 = tl.load(buffer_3 + (row_0 * max_pages_0 + page_4[:, None]) * 2 + head_1[None, :], mask=here_5[:, None], other=0).to(tl.float32)
        mul_7 = scale_0 * buffer_3_tile_6
        max_page_2 = larger(max_page_2, largest(tl.where(here_5[:, None], mul_7, float("-inf")), 0))
    sum_page_8 = tl.full((2,), 0.0, tl.float32)
    for page_start_9 in range(0, complete_0, 1024):
        page_10 = page_start_9 + tl.arange(0, 1024)
        here_11 = page_10 < complete_0
        buffer_3_tile_12 = tl.load(buffer_3 + (row_0 * max_pages_0 + page_10[:, None]) * 2 + head_1[None, :], mask=here_11[:, None], other=0).to(tl.float32)
        mul_13 = scale_0 * buffer_3_tile_12
        sub_14 = mul_13 - max_page_2[None, :]
        exp_15 = tl.exp(sub_14)
        sum_page_8 = sum_page_8 + tl.sum(tl.where(here_11[:, None], exp_15, 0.0), 0)
    tl.store(out_0 + row_0 * 2 + head_1, sum_page_8)
    tl.store(out_1 + row_0 * 2 + head_1, max_page_2)

@triton.jit
def map_2(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, buffer_3, buffer_2, buffer_1, out_0):
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
    head_1 = tl.arange(0, 2)
    buffer_3_tile_2 = tl.load(buffer_3 + (row_0 * max_pages_0 + page_0[:, None]) * 2 + head_1[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    mul_3 = scale_0 * buffer_3_tile_2
    buffer_2_tile_4 = tl.load(buffer_2 + row_0 * 2 + head_1).to(tl.float32)
    sub_5 = mul_3 - buffer_2_tile_4[None, :]
    exp_6 = tl.exp(sub_5)
    buffer_1_tile_7 = tl.load(buffer_1 + row_0 * 2 + head_1).to(tl.float32)
    div_8 = tl.div_rn(exp_6, buffer_1_tile_7[None, :])
    max_head_9 = largest(div_8, 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_head_9, mask=here_0)

# normalize
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
    div_4 = tl.div_rn(field_0_tile_2, buffer_1_tile_3)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), div_4, mask=here_0)

# dot
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
    div_6 = sum_head_5 * 0.5
    field_0_tile_7 = tl.load(field_0 + block_1[:, None] * field_block_0 + kv_head_0 * field_head_0 + dim_3[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_8 = tl.sum(div_6[None, :] * field_0_tile_7, 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), dot_dim_8, mask=here_0)
