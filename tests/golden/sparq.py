# program f6fe3d357bbb1704: group 5, head_dim 80, page_size 16
# field_0: [token 16, dim 80] as int8
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
    k_tile_3 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_2[None, :] * k_dim_0, mask=(dim_2[None, :] < 80), other=0.0).to(tl.float32)
    dim_4 = tl.arange(0, 128)
    k_tile_5 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_4[None, :] * k_dim_0, mask=(dim_4[None, :] < 80), other=0.0).to(tl.float32)
    abs_6 = tl.abs(k_tile_5)
    max_dim_7 = largest(tl.where((dim_4 < 80)[None, :], abs_6, float("-inf")), 1)
    div_8 = tl.div_rn(max_dim_7, 127.0)
    code_9 = code(k_tile_3, div_8[:, None], 127.0)
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + token_1[:, None] * 80 + dim_2[None, :], (code_9).to(tl.int8), mask=(dim_2[None, :] < 80))
    tl.store(out_1 + block_0 * out_block_1 + kv_head_0 * out_head_1 + token_1, div_8)

# row_0: buffer_1 [row, 80], 1 pages per tile
@triton.jit
def row_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, q_0, q_batch_0, q_head_0, q_dim_0, out_0):
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
    head_1 = tl.arange(0, 8)
    for dim_start_2 in range(0, 80, 64):
        dim_3 = dim_start_2 + tl.arange(0, 64)
        q_tile_4 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 5 * q_head_0 + head_1[:, None] * q_head_0 + dim_3[None, :] * q_dim_0, mask=(head_1[:, None] < 5) & (dim_3[None, :] < 80), other=0).to(tl.float32)
        abs_5 = tl.abs(q_tile_4)
        sum_head_6 = tl.sum(tl.where((head_1 < 5)[:, None], abs_5, 0.0), 0)
        eq_7 = sum_head_6 == sum_head_6
        where_8 = tl.where(eq_7, sum_head_6, float("-inf"))
        sum_dim_9 = tl.full((64,), 0.0, tl.float32)
        for dim_start_10 in range(0, 80, 64):
            dim_11 = dim_start_10 + tl.arange(0, 64)
            q_tile_12 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 5 * q_head_0 + head_1[:, None] * q_head_0 + dim_11[None, :] * q_dim_0, mask=(head_1[:, None] < 5) & (dim_11[None, :] < 80), other=0).to(tl.float32)
            abs_13 = tl.abs(q_tile_12)
            sum_head_14 = tl.sum(tl.where((head_1 < 5)[:, None], abs_13, 0.0), 0)
            eq_15 = sum_head_14 == sum_head_14
            where_16 = tl.where(eq_15, sum_head_14, float("-inf"))
            gt_17 = where_16[None, :] > where_8[:, None]
            eq_18 = where_16[None, :] == where_8[:, None]
            index_lt_19 = dim_11[None, :] < dim_3[:, None]
            and_20 = both(eq_18, index_lt_19)
            or_21 = either(gt_17, and_20)
            to_float_22 = (or_21).to(tl.float32)
            sum_dim_9 = sum_dim_9 + tl.sum(tl.where((dim_11 < 80)[None, :], to_float_22, 0.0), 1)
        tl.store(out_0 + row_0 * 80 + dim_3, sum_dim_9, mask=(dim_3 < 80))

# map_1: buffer_0 [row, page], 2 pages per tile
@triton.jit
def map_1(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, codes_0, codes_block_0, codes_head_0, buffer_1, q_0, q_batch_0, q_head_0, q_dim_0, scales_0, scales_block_0, scales_head_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 1) // 2
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 2 + tl.arange(0, 2)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 2 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    token_2 = tl.arange(0, 16)
    dim_3 = tl.arange(0, 128)
    codes_tile_4 = tl.load(codes_0 + block_1[:, None, None] * codes_block_0 + kv_head_0 * codes_head_0 + token_2[None, :, None] * 80 + dim_3[None, None, :], mask=here_0[:, None, None] & (dim_3[None, None, :] < 80), other=0).to(tl.int32)
    to_float_5 = (codes_tile_4).to(tl.float32)
    buffer_1_tile_6 = tl.load(buffer_1 + row_0 * 80 + dim_3, mask=(dim_3 < 80), other=0).to(tl.float32)
    lt_7 = buffer_1_tile_6 < 16.0
    to_float_8 = (lt_7).to(tl.float32)
    head_9 = tl.arange(0, 16)
    q_tile_10 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 5 * q_head_0 + head_9[:, None] * q_head_0 + dim_3[None, :] * q_dim_0, mask=(head_9[:, None] < 5) & (dim_3[None, :] < 80), other=0).to(tl.float32)
    mul_11 = to_float_8[None, :] * q_tile_10
    dot_dim_12 = tl.permute(tl.reshape(product(tl.reshape(tl.where((dim_3 < 80)[None, None, :], to_float_5, 0.0), (32, 128)), tl.permute(tl.where((dim_3 < 80)[None, :], mul_11, 0.0), (1, 0)), tl.full((32, 16), 0.0, tl.float32), None, q_0), (2, 16, 16)), (0, 2, 1))
    scales_0_tile_13 = tl.load(scales_0 + block_1[:, None] * scales_block_0 + kv_head_0 * scales_head_0 + token_2[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    mul_14 = dot_dim_12 * scales_0_tile_13[:, None, :]
    max_head_15 = largest(tl.where((head_9 < 5)[None, :, None], mul_14, float("-inf")), 1)
    max_token_16 = largest(max_head_15, 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_token_16, mask=here_0)
