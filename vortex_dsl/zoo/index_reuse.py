from vortex_dsl import Int, Program, dot, topk


class IndexReuse(Program):
    """Choose pages in one layer of four, and let the next three use the same (IndexCache, arXiv:2603.12201)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head
    share_layers = Int(4, 1, 8)

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):
        return topk(dot(q.mean("head"), page.center, "dim"), self.pages)
