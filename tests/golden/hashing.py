# hash
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, out_0):
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
    to_float_1 = (page_0).to(tl.float32)
    hash_2 = scatter_bits(to_float_1, 1364076727)
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), hash_2, mask=here_0)
