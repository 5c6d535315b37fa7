# program f6fe3d357bbb1704: group 5, head_dim 80, page_size 16
# field_0: [token 16, dim 80] as int8
# summarize_0: the fields of one page of one kv head
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0, out_1, out_block_1, out_head_1):
    slot_0 = tl.load(slots_0 + tl.program_id(0)).to(tl.int64)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 16)
    dim_2 = tl.arange(0, 128)
    k_tile_3 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_2[None, :] * k_dim_0, mask=(dim_2[None, :] < 80), other=0.0).to(tl.float32)
    dim_4 = tl.arange(0, 128)
    k_tile_5 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_4[None, :] * k_dim_0, mask=(dim_4[None, :] < 80), other=0.0).to(tl.float32)
    abs_6 = tl.abs(k_tile_5)
    max_dim_7 = largest(tl.where((dim_4 < 80)[None, :], abs_6, float("-inf")), 1)
    div_8 = tl.div_rn(max_dim_7, 127.0)
    code_9 = code(k_tile_3, div_8[:, None], 127.0)
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + token_1[:, None] * 80 + dim_2[None, :], (code_9).to(tl.int8), mask=(dim_2[None, :] < 80))
    tl.store(out_1 + block_0 * out_block_1 + kv_head_0 * out_head_1 + token_1, div_8)

# map_0: buffer_0 [row, page], 2 pages per tile
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, codes_0, codes_block_0, codes_head_0, q_0, q_batch_0, q_head_0, q_dim_0, scales_0, scales_block_0, scales_head_0, out_0):
    tiles_0 = (max_pages_0 + 1) // 2
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    length_0 = tl.load(seq_lens_0 + sequence_0).to(tl.int32)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 2 >= complete_0):
        return
    page_0 = tile_0 * 2 + tl.arange(0, 2)
    here_0 = page_0 < complete_0
    block_1 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=here_0, other=0).to(tl.int64)
    token_2 = tl.arange(0, 16)
    dim_3 = tl.arange(0, 128)
    codes_tile_4 = tl.load(codes_0 + block_1[:, None, None] * codes_block_0 + kv_head_0 * codes_head_0 + token_2[None, :, None] * 80 + dim_3[None, None, :], mask=here_0[:, None, None] & (dim_3[None, None, :] < 80), other=0).to(tl.int32)
    to_float_5 = (codes_tile_4).to(tl.float32)
    head_6 = tl.arange(0, 16)
    q_tile_7 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 5 * q_head_0 + head_6[:, None] * q_head_0 + dim_3[None, :] * q_dim_0, mask=(head_6[:, None] < 5) & (dim_3[None, :] < 80), other=0).to(tl.float32)
    abs_8 = tl.abs(q_tile_7)
    sum_head_9 = tl.sum(tl.where((head_6 < 5)[:, None], abs_8, 0.0), 0)
    eq_10 = sum_head_9 == sum_head_9
    where_11 = tl.where(eq_10, sum_head_9, float("-inf"))
    scales_0_tile_12 = tl.load(scales_0 + block_1[:, None] * scales_block_0 + kv_head_0 * scales_head_0 + token_2[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    sum_dim_13 = tl.full((128,), 0.0, tl.float32)
    for dim_start_14 in range(0, 80, 32):
        dim_15 = dim_start_14 + tl.arange(0, 32)
        q_tile_16 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 5 * q_head_0 + head_6[:, None] * q_head_0 + dim_15[None, :] * q_dim_0, mask=(head_6[:, None] < 5) & (dim_15[None, :] < 80), other=0).to(tl.float32)
        abs_17 = tl.abs(q_tile_16)
        sum_head_18 = tl.sum(tl.where((head_6 < 5)[:, None], abs_17, 0.0), 0)
        eq_19 = sum_head_18 == sum_head_18
        where_20 = tl.where(eq_19, sum_head_18, float("-inf"))
        gt_21 = where_20[None, :] > where_11[:, None]
        eq_22 = where_20[None, :] == where_11[:, None]
        index_lt_23 = dim_15[None, :] < dim_3[:, None]
        and_24 = both(eq_22, index_lt_23)
        or_25 = either(gt_21, and_24)
        to_float_26 = (or_25).to(tl.float32)
        sum_dim_13 = sum_dim_13 + tl.sum(tl.where((dim_15 < 80)[None, :], to_float_26, 0.0), 1)
    lt_27 = sum_dim_13 < 16.0
    to_float_28 = (lt_27).to(tl.float32)
    mul_29 = to_float_28[None, :] * q_tile_7
    dot_dim_30 = tl.permute(tl.reshape(product(tl.reshape(tl.where((dim_3 < 80)[None, None, :], to_float_5, 0.0), (32, 128)), tl.permute(tl.where((dim_3 < 80)[None, :], mul_29, 0.0), (1, 0)), tl.full((32, 16), 0.0, tl.float32), None, q_0), (2, 16, 16)), (0, 2, 1))
    mul_31 = dot_dim_30 * scales_0_tile_12[:, None, :]
    max_head_32 = largest(tl.where((head_6 < 5)[None, :, None], mul_31, float("-inf")), 1)
    max_token_33 = largest(max_head_32, 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_token_33, mask=here_0)
