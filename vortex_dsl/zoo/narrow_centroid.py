from vortex_dsl import Int, Program, dot, topk

EVEN = slice(None, None, 2)                        # every other channel


class NarrowCentroid(Program):
    """Rank pages by q·(mean key) over half of the channels: half the bytes (channel study, arXiv:2606.06453)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"center": k.mean("token").take("dim", EVEN)}

    def select(self, q, page):                     # page.center: [page, dim], dim half as long as q's
        return topk(dot(q.mean("head").take("dim", EVEN), page.center, "dim"), self.pages)
