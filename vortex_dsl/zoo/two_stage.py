from vortex_dsl import Int, Program, dot, refine, topk


class TwoStage(Program):
    """Rank pages by their mean keys, then the best of them by every token's key (HISA, arXiv:2603.28458)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head
    wider = Int(4, low=2, high=16)                 # times as many pages go to the second stage

    def summarize(self, k, v):
        return {"center": k.mean("token"), "keys": k.to("int4")}

    def select(self, q, page):                     # page.center: [page, dim]; page.keys: [page, token, dim]
        coarse = dot(q, page.center, "dim").max("head")
        fine = dot(q, page.keys, "dim").max("head", "token")
        return refine(topk(coarse, self.wider * self.pages), fine, self.pages)
