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

# map_0: buffer_0 [row, page], 1 pages per tile
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, scales_0, scales_block_0, scales_head_0, q_0, q_batch_0, q_head_0, q_dim_0, codes_0, codes_block_0, codes_head_0, out_0):
    row_0 = tl.program_id(0).to(tl.int64)
    sequence_0 = row_0 // num_kv_heads_0
    kv_head_0 = row_0 % num_kv_heads_0
    length_0 = tl.load(seq_lens_0 + sequence_0).to(tl.int32)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tl.program_id(1) > 0) & (tl.program_id(1) * 1 >= complete_0):
        return
    page_0 = tl.program_id(1) * 1 + tl.arange(0, 1)
    here_0 = page_0 < complete_0
    block_1 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=here_0, other=0).to(tl.int64)
    token_2 = tl.arange(0, 16)
    scales_0_tile_3 = tl.load(scales_0 + block_1[:, None] * scales_block_0 + kv_head_0 * scales_head_0 + token_2[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    head_4 = tl.arange(0, 8)
    dim_5 = tl.arange(0, 128)
    q_tile_6 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 5 * q_head_0 + head_4[:, None] * q_head_0 + dim_5[None, :] * q_dim_0, mask=(head_4[:, None] < 5) & (dim_5[None, :] < 80), other=0).to(tl.float32)
    abs_7 = tl.abs(q_tile_6)
    sum_head_8 = tl.sum(tl.where((head_4 < 5)[:, None], abs_7, 0.0), 0)
    eq_9 = sum_head_8 == sum_head_8
    where_10 = tl.where(eq_9, sum_head_8, float("-inf"))
    dot_dim_11 = tl.full((1, 8, 16), 0.0, tl.float32)
    for dim_start_12 in range(0, 80, 32):
        dim_13 = dim_start_12 + tl.arange(0, 32)
        codes_tile_14 = tl.load(codes_0 + block_1[:, None, None] * codes_block_0 + kv_head_0 * codes_head_0 + token_2[None, :, None] * 80 + dim_13[None, None, :], mask=here_0[:, None, None] & (dim_13[None, None, :] < 80), other=0).to(tl.int32)
        to_float_15 = (codes_tile_14).to(tl.float32)
        mul_16 = to_float_15 * scales_0_tile_3[:, :, None]
        q_tile_17 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 5 * q_head_0 + head_4[:, None] * q_head_0 + dim_13[None, :] * q_dim_0, mask=(head_4[:, None] < 5) & (dim_13[None, :] < 80), other=0).to(tl.float32)
        abs_18 = tl.abs(q_tile_17)
        sum_head_19 = tl.sum(tl.where((head_4 < 5)[:, None], abs_18, 0.0), 0)
        eq_20 = sum_head_19 == sum_head_19
        where_21 = tl.where(eq_20, sum_head_19, float("-inf"))
        gt_22 = where_10[None, :] > where_21[:, None]
        eq_23 = where_10[None, :] == where_21[:, None]
        index_lt_24 = dim_5[None, :] < dim_13[:, None]
        and_25 = both(eq_23, index_lt_24)
        or_26 = either(gt_22, and_25)
        to_float_27 = (or_26).to(tl.float32)
        sum_dim_28 = tl.sum(tl.where((dim_5 < 80)[None, :], to_float_27, 0.0), 1)
        lt_29 = sum_dim_28 < 16.0
        to_float_30 = (lt_29).to(tl.float32)
        mul_31 = to_float_30[None, :] * q_tile_17
        dot_dim_11 = dot_dim_11 + tl.sum(tl.where((dim_13 < 80)[None, None, None, :], mul_16[:, None, :, :] * mul_31[None, :, None, :], 0.0), 3)
    max_head_32 = largest(tl.where((head_4 < 5)[None, :, None], dot_dim_11, float("-inf")), 1)
    max_token_33 = largest(max_head_32, 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_token_33, mask=here_0)
