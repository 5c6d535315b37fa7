# program 87e015ed3493de6d: group 2, head_dim 128, page_size 16
# field_0: [token 16, dim 128] as int4
# field_1: [dim 128] as bfloat16
# summarize_0: the fields of one page of one kv head
@triton.jit
def summarize_0(slots_0, k_0, k_block_0, k_head_0, k_token_0, k_dim_0, out_0, out_block_0, out_head_0, out_1, out_block_1, out_head_1, out_2, out_block_2, out_head_2):
    slot_0 = slot_of(slots_0)
    if (slot_0 < 0) | (slot_0 % 16 != 15):
        return
    block_0 = slot_0 // 16
    kv_head_0 = tl.program_id(1).to(tl.int64)
    token_1 = tl.arange(0, 16)
    dim_2 = tl.arange(0, 64)
    index_mul_3 = dim_2 * 2
    k_tile_4 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + index_mul_3[None, :] * k_dim_0).to(tl.float32)
    dim_5 = tl.arange(0, 128)
    k_tile_6 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + dim_5[None, :] * k_dim_0).to(tl.float32)
    abs_7 = tl.abs(k_tile_6)
    max_dim_8 = largest(abs_7, 1)
    div_9 = tl.div_rn(max_dim_8, 7.0)
    code_10 = code(k_tile_4, div_9[:, None], 7.0)
    index_add_11 = index_mul_3 + 1
    k_tile_12 = tl.load(k_0 + block_0 * k_block_0 + kv_head_0 * k_head_0 + token_1[:, None] * k_token_0 + index_add_11[None, :] * k_dim_0).to(tl.float32)
    code_13 = code(k_tile_12, div_9[:, None], 7.0)
    pack_14 = ((code_10).to(tl.int32) & 15) | ((code_13).to(tl.int32) & 15) << 4
    sum_token_15 = tl.sum(k_tile_6, 0)
    div_16 = sum_token_15 * 0.0625
    tl.store(out_0 + block_0 * out_block_0 + kv_head_0 * out_head_0 + token_1[:, None] * 64 + dim_2[None, :], (pack_14).to(tl.uint8))
    tl.store(out_1 + block_0 * out_block_1 + kv_head_0 * out_head_1 + token_1, div_9)
    tl.store(out_2 + block_0 * out_block_2 + kv_head_0 * out_head_2 + dim_5, round_bfloat16(div_16))

# map_0: buffer_0 [row, page], 32 pages per tile
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, q_0, q_batch_0, q_head_0, q_dim_0, field_1, field_block_1, field_head_1, out_0):
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
    head_2 = tl.arange(0, 16)
    dim_3 = tl.arange(0, 128)
    q_tile_4 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_2[:, None] * q_head_0 + dim_3[None, :] * q_dim_0, mask=(head_2[:, None] < 2), other=0).to(tl.float32)
    field_1_tile_5 = tl.load(field_1 + block_1[:, None] * field_block_1 + kv_head_0 * field_head_1 + dim_3[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    dot_dim_6 = product(field_1_tile_5, tl.permute(q_tile_4, (1, 0)), tl.full((32, 16), 0.0, tl.float32), field_1, q_0)
    max_head_7 = largest(tl.where((head_2 < 2)[None, :], dot_dim_6, float("-inf")), 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_head_7, mask=here_0)

# map_1: buffer_1 [row, page], 2 pages per tile
@triton.jit
def map_1(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, among_0, room_0, num_0, codes_0, codes_block_0, codes_head_0, q_0, q_batch_0, q_head_0, q_dim_0, scales_0, scales_block_0, scales_head_0, out_0):
    begin()
    tiles_0 = (room_0 + 1) // 2
    tile_0 = tl.program_id(0) % tiles_0
    number_0 = tl.program_id(0) // tiles_0
    row_0 = number_0.to(tl.int64)
    sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)
    kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)
    listed_0 = tl.load(num_0 + row_0)
    place_0 = tile_0 * 2 + tl.arange(0, 2)
    ahead_0 = tl.load(among_0 + row_0 * room_0 + place_0, mask=place_0 < room_0, other=0)
    length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * 16)
    complete_0 = length_0 // 16
    count_0 = (length_0 + 15) // 16
    if count_0 - 3 <= covered_0:
        return
    if (tile_0 > 0) & (tile_0 * 2 >= listed_0):
        return
    here_0 = place_0 < listed_0
    page_0 = tl.where(here_0, ahead_0, 0)
    block_1 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=here_0, other=0).to(tl.int64)
    token_2 = tl.arange(0, 16)
    dim_3 = tl.arange(0, 128)
    bytes_4 = tl.load(codes_0 + block_1[:, None, None] * codes_block_0 + kv_head_0 * codes_head_0 + token_2[None, :, None] * 64 + tl.arange(0, 64)[None, None, :], mask=here_0[:, None, None], other=0).to(tl.int32)
    codes_tile_5 = tl.reshape(tl.join(bytes_4, bytes_4 >> 4), (2, 16, 128))
    nibble_6 = nibble(codes_tile_5)
    head_7 = tl.arange(0, 16)
    q_tile_8 = tl.load(q_0 + sequence_0 * q_batch_0 + kv_head_0 * 2 * q_head_0 + head_7[:, None] * q_head_0 + dim_3[None, :] * q_dim_0, mask=(head_7[:, None] < 2), other=0).to(tl.float32)
    dot_dim_9 = tl.permute(tl.reshape(product(tl.reshape(nibble_6, (32, 128)), tl.permute(q_tile_8, (1, 0)), tl.full((32, 16), 0.0, tl.float32), None, q_0), (2, 16, 16)), (0, 2, 1))
    scales_0_tile_10 = tl.load(scales_0 + block_1[:, None] * scales_block_0 + kv_head_0 * scales_head_0 + token_2[None, :], mask=here_0[:, None], other=0).to(tl.float32)
    mul_11 = dot_dim_9 * scales_0_tile_10[:, None, :]
    max_head_12 = largest(tl.where((head_7 < 2)[None, :, None], mul_11, float("-inf")), 1)
    max_token_13 = largest(max_head_12, 1)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), max_token_13, mask=here_0)
