# program 9a42e834f3c8c050: group 8, head_dim 128, page_size 16
# field_0: [dim 128] as bfloat16
# field_1: [dim 128] as bfloat16
# summarize_0: the fields of one page of one kv head
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0, out_1, out_block_1, out_head_1):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 16)
    dim_2 = tl.arange(0, 128)
    k_tile_3 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_2[None, :] * k_dim_0).to(tl.float32)
    min_token_4 = smallest(k_tile_3, 0)
    max_token_5 = largest(k_tile_3, 0)
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + dim_2, round_bfloat16(min_token_4))
    tl.store(out_1 + block_0 * out_block_1 + kv_head_0 * out_head_1 + dim_2, round_bfloat16(max_token_5))

# map_0: buffer_0 [row, page], 32 pages per tile
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, field_1, field_block_1, field_head_1, q_0, q_batch_0, q_head_0, q_dim_0, field_0, field_block_0, field_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 31) // 32
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 32 + tl.arange(0, 32)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 32 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    dim_2 = tl.arange(0, 128)
    field_1_tile_3 = tl.load(field_1 + block_1[:, None] * field_block_1 + kv_head_0 * field_head_1 + dim_2[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    head_4 = tl.arange(0, 16)
    q_tile_5 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 8 * q_head_0 + head_4[:, None] * q_head_0 + dim_2[None, :] * q_dim_0, mask=(head_4[:, None] < 8), other=0).to(tl.float32)
    relu_6 = larger(q_tile_5, 0.0)
    dot_dim_7 = product(field_1_tile_3, tl.permute(relu_6, (1, 0)), tl.full((32, 16), 0.0, tl.float32), field_1, q_0)
    neg_8 = -(q_tile_5)
    relu_9 = larger(neg_8, 0.0)
    field_0_tile_10 = tl.load(field_0 + block_1[:, None] * field_block_0 + kv_head_0 * field_head_0 + dim_2[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_11 = product(field_0_tile_10, tl.permute(relu_9, (1, 0)), tl.full((32, 16), 0.0, tl.float32), field_0, q_0)
    sub_12 = dot_dim_7 - dot_dim_11
    max_head_13 = largest(tl.where((head_4 < 8)[None, :], sub_12, float("-inf")), 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_head_13, mask=here_0)
