# topk
# map_0 -> buffer_0 [row, page], 128 pages per tile
# choose by topk

# topp
# map_0 -> buffer_0 [row, page], 128 pages per tile
# choose by topp

# above
# map_0 -> buffer_0 [row, page], buffer_1 [row], 128 pages per tile
# choose by above

# union
# map_0 -> buffer_0 [row, page], buffer_1 [row, page], 128 pages per tile
# choose by union

# refine
# map_0 -> buffer_0 [row, page], 128 pages per tile
# map_1 -> buffer_1 [row, page], 16 pages per tile
# choose by refine

# remember
@triton.jit
def map_0(seq_lens_0, block_table_0, table_stride_0, num_kv_heads_0, max_pages_0, layer_index_0, layer_count_0, scale_0, first_head_0, covered_0, state_0, field_0, field_block_0, field_head_0, out_0, out_1):
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
    state_0_tile_2 = tl.load(state_0 + (row_0 * max_pages_0 + page_0), mask=here_0, other=0).to(tl.float32)
    field_0_tile_3 = tl.load(field_0 + block_1 * field_block_0 + kv_head_0 * field_head_0, mask=here_0, other=0).to(tl.float32)
    add_4 = state_0_tile_2 + field_0_tile_3
    tl.store(out_0 + (row_0 * max_pages_0 + page_0), add_4, mask=here_0)
    tl.store(out_1 + (row_0 * max_pages_0 + page_0), field_0_tile_3, mask=here_0)

# every_page
# choose by every_page

# reserved_only
# choose by reserved_only
