from vortex_dsl import Int, Program, dot, topk


class CentroidSub(Program):
    """Rank pages by their best sub-page of 4 tokens, each kept as a mean key (LServe, arXiv:2502.14866)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        tokens = k.split("token", sub=self.page_size // 4)        # [sub, token, dim], 4 tokens each
        return {"center": tokens.mean("token")}

    def select(self, q, page):                     # page.center: [page, sub, dim]
        return topk(dot(q, page.center, "dim").max("head", "sub"), self.pages)
