from vortex_dsl import Int, Program, dot, topk


class ValueGated(Program):
    """Weight q·(mean key) by the mean norm of the page's values (found by agents in Vortex, arXiv:2606.06453)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"center": k.mean("token"), "weight": v.norm("dim").mean("token")}

    def select(self, q, page):                     # page.center: [page, dim]; page.weight: [page]
        return topk(dot(q.mean("head"), page.center, "dim") * page.weight, self.pages)
