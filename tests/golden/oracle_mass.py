# program 8c34ffef9f47479e: group 128, head_dim 576, page_size 128
# map_0: buffer_0 [row, page], 1 pages per tile
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, q_0, q_batch_0, q_head_0, q_dim_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0):
    begin()
    tiles_0 = (max_pages_0 + 0) // 1
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    page_0 = tile_0 * 1 + tl.arange(0, 1)
    ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 128)
    complete_0 = length_0 // 128
    count_0 = (length_0 + 127) // 128
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 1 >= complete_0):
        return
    here_0 = page_0 < complete_0
    block_1 = tl.where(here_0, ahead_0, 0).to(tl.int64)
    max_token_2 = tl.full((1,), float("-inf"), tl.float32)
    for token_start_3 in range(0, 128, 32):
        token_4 = token_start_3 + tl.arange(0, 32)
        max_head_5 = tl.full((1, 32), float("-inf"), tl.float32)
        for head_start_6 in range(0, 128, 16):
            head_7 = head_start_6 + tl.arange(0, 16)
            dot_dim_8 = tl.full((32, 16), 0.0, tl.float32)
            for dim_start_9 in range(0, 576, 128):
                dim_10 = dim_start_9 + tl.arange(0, 128)
                q_tile_11 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 128 * q_head_0 + head_7[:, None] * q_head_0 + dim_10[None, :] * q_dim_0, mask=(dim_10[None, :] < 576), other=0).to(tl.float32)
                k_tile_12 = tl.load(k_0 + block_1[:, None, None] * k_block_0 + kv_head_0 * k_head_0 + token_4[None, :, None] * k_token_0 + dim_10[None, None, :] * k_dim_0, mask=here_0[:, None, None] & (dim_10[None, None, :] < 576), other=0.0).to(tl.float32)
                dot_dim_8 = product(tl.reshape(tl.where((dim_10 < 576)[None, None, :], k_tile_12, 0.0), (32, 128)), tl.permute(tl.where((dim_10 < 576)[None, :], q_tile_11, 0.0), (1, 0)), dot_dim_8, k_0, q_0)
            dot_dim_13 = tl.permute(tl.reshape(dot_dim_8, (1, 32, 16)), (0, 2, 1))
            mul_14 = dot_dim_13 * scale_0
            max_head_5 = larger(max_head_5, largest(mul_14, 1))
        max_token_2 = larger(max_token_2, largest(max_head_5, 1))
    abs_15 = tl.abs(max_token_2)
    eq_16 = abs_15 == float("inf")
    where_17 = tl.where(eq_16, 0.0, max_token_2)
    sum_token_18 = tl.full((1,), 0.0, tl.float32)
    for token_start_19 in range(0, 128, 32):
        token_20 = token_start_19 + tl.arange(0, 32)
        sum_head_21 = tl.full((1, 32), 0.0, tl.float32)
        for head_start_22 in range(0, 128, 16):
            head_23 = head_start_22 + tl.arange(0, 16)
            dot_dim_24 = tl.full((32, 16), 0.0, tl.float32)
            for dim_start_25 in range(0, 576, 128):
                dim_26 = dim_start_25 + tl.arange(0, 128)
                q_tile_27 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 128 * q_head_0 + head_23[:, None] * q_head_0 + dim_26[None, :] * q_dim_0, mask=(dim_26[None, :] < 576), other=0).to(tl.float32)
                k_tile_28 = tl.load(k_0 + block_1[:, None, None] * k_block_0 + kv_head_0 * k_head_0 + token_20[None, :, None] * k_token_0 + dim_26[None, None, :] * k_dim_0, mask=here_0[:, None, None] & (dim_26[None, None, :] < 576), other=0.0).to(tl.float32)
                dot_dim_24 = product(tl.reshape(tl.where((dim_26 < 576)[None, None, :], k_tile_28, 0.0), (32, 128)), tl.permute(tl.where((dim_26 < 576)[None, :], q_tile_27, 0.0), (1, 0)), dot_dim_24, k_0, q_0)
            dot_dim_29 = tl.permute(tl.reshape(dot_dim_24, (1, 32, 16)), (0, 2, 1))
            mul_30 = dot_dim_29 * scale_0
            sub_31 = mul_30 - where_17[:, None, None]
            exp_32 = tl.exp(sub_31)
            sum_head_21 = sum_head_21 + tl.sum(exp_32, 1)
        sum_token_18 = sum_token_18 + tl.sum(sum_head_21, 1)
    log_33 = tl.log(sum_token_18)
    add_34 = log_33 + where_17
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), add_34, mask=here_0)
