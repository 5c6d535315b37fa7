from vortex_dsl import Int, Program, hash, topk


class RandomPages(Program):
    """Choose pages at random, the same ones for every query: the floor that every method must beat."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def select(self, q, page):
        return topk(hash(page.index, 1), self.pages)
