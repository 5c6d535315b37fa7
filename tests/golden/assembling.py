# vector
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, table_0, out_0, out_block_0, out_head_0):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 16)
    axis_2 = tl.arange(0, 2)
    index_mul_3 = axis_2 * 8
    dim_4 = tl.arange(0, 8)
    index_add_5 = index_mul_3[:, None] + dim_4[None, :]
    k_tile_6 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[None, :, None] * k_token_0 + index_add_5[:, None, :] * k_dim_0).to(tl.float32)
    table_tile_7 = tl.load(table_0 + axis_2).to(tl.float32)
    mul_8 = k_tile_6 * table_tile_7[:, None, None]
    sum_axis_9 = tl.sum(mul_8, 0)
    sum_dim_10 = tl.sum(sum_axis_9, 1)
    max_token_11 = largest(sum_dim_10, 0)
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0, round_bfloat16(max_token_11))

# matrix
@triton.jit
def summarize_0(slots_0, table_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    axis_1 = tl.arange(0, 2)
    axis_2 = tl.arange(0, 2)
    table_tile_3 = tl.load(table_0 + axis_1[:, None] * 2 + axis_2[None, :]).to(tl.float32)
    token_4 = tl.arange(0, 16)
    index_mul_5 = axis_2 * 8
    dim_6 = tl.arange(0, 8)
    index_add_7 = index_mul_5[:, None] + dim_6[None, :]
    k_tile_8 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_4[None, :, None] * k_token_0 + index_add_7[:, None, :] * k_dim_0).to(tl.float32)
    dot_axis_9 = tl.sum(table_tile_3[:, :, None, None] * k_tile_8[None, :, :, :], 1)
    square_10 = dot_axis_9 * dot_axis_9
    sum_axis_11 = tl.sum(square_10, 0)
    sum_dim_12 = tl.sum(sum_axis_11, 1)
    sqrt_13 = tl.sqrt_rn(sum_dim_12)
    max_token_14 = largest(sqrt_13, 0)
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0, round_bfloat16(max_token_14))

# stack
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_2, field_block_2, field_head_2, field_1, field_block_1, field_head_1, field_0, field_block_0, field_head_0, q_0, q_batch_0, q_head_0, q_dim_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 63) // 64
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 64 + tl.arange(0, 64)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 64 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    axis_2 = tl.arange(0, 4)
    index_lt_3 = axis_2 < 1
    dim_4 = tl.arange(0, 16)
    field_2_tile_5 = tl.load(field_2 + block_1[:, None] * field_block_2 + kv_head_0 * field_head_2 + dim_4[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    index_lt_6 = axis_2 < 2
    field_1_tile_7 = tl.load(field_1 + block_1[:, None] * field_block_1 + kv_head_0 * field_head_1 + dim_4[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    field_0_tile_8 = tl.load(field_0 + block_1[:, None] * field_block_0 + kv_head_0 * field_head_0 + dim_4[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    where_9 = tl.where(index_lt_6[None, :, None], field_1_tile_7[:, None, :], field_0_tile_8[:, None, :])
    where_10 = tl.where(index_lt_3[None, :, None], field_2_tile_5[:, None, :], where_9)
    head_11 = tl.arange(0, 16)
    q_tile_12 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_11[:, None] * q_head_0 + dim_4[None, :] * q_dim_0, mask=(head_11[:, None] < 2), other=0).to(tl.float32)
    dot_dim_13 = tl.permute(tl.reshape(product(tl.reshape(where_10, (256, 16)), tl.permute(q_tile_12, (1, 0)), tl.full((256, 16), 0.0, tl.float32), field_2, q_0), (64, 4, 16)), (0, 2, 1))
    max_head_14 = largest(tl.where((head_11 < 2)[None, :, None], dot_dim_13, float("-inf")), 1)
    max_axis_15 = largest(tl.where((axis_2 < 3)[None, :], max_head_14, float("-inf")), 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_axis_15, mask=here_0)
