# program 983d648d653e00d0: group 1, head_dim 64, page_size 16
# field_0: [dim 64] as bfloat16
# summarize_0: the fields of one page of one kv head
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 16)
    dim_2 = tl.arange(0, 64)
    k_tile_3 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_2[None, :] * k_dim_0).to(tl.float32)
    sum_token_4 = tl.sum(k_tile_3, 0)
    div_5 = sum_token_4 * 0.0625
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_2, round_bfloat16(div_5))

# map_0: buffer_0 [row, page], buffer_1 [row, page], 64 pages per tile
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, state_0, q_0, q_batch_0, q_head_0, q_dim_0, field_0, field_block_0, field_head_0, out_0, out_1):
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
    state_0_tile_2 = tl.load(state_0 + (row_0 * max_pages_0 + page_0), mask=here_0, other=0).to(tl.float32)
    mul_3 = 0.8999999761581421 * state_0_tile_2
    head_4 = tl.arange(0, 1)
    dim_5 = tl.arange(0, 64)
    q_tile_6 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 1 * q_head_0 + head_4[:, None] * q_head_0 + dim_5[None, :] * q_dim_0).to(tl.float32)
    sum_head_7 = tl.sum(q_tile_6, 0)
    div_8 = sum_head_7 * 1.0
    field_0_tile_9 = tl.load(field_0 + block_1[:, None] * field_block_0 + kv_head_0 * field_head_0 + dim_5[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_10 = tl.sum(div_8[None, :] * field_0_tile_9, 1)
    add_11 = mul_3 + dot_dim_10
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), add_11, mask=here_0)
    tl.store(out_1 + (row_0 * max_pages_0 + page_0), add_11, mask=here_0)
