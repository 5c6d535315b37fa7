from vortex_dsl import Int, Program, dot, topk


class Centroid(Program):
    """Rank pages by q·(mean key), heads averaged: block top-k, MoBA's gate at decode (arXiv:2502.13189)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):                     # page.center: [page, dim]
        return topk(dot(q.mean("head"), page.center, "dim"), self.pages)
