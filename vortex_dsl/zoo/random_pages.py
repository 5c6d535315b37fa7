from vortex_dsl import Int, Program, hash, kv_head, layer, topk


class RandomPages(Program):
    """Choose pages at random, others in each layer and head but the same for every query: the floor to beat."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def select(self, q, page):
        draw = hash(page.index + 8192 * kv_head.index, 1)         # [page], a multiple of 1 / 2**24
        return topk(hash(2 ** 24 * draw + layer.index, 2), self.pages)
