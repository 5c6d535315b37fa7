from vortex_dsl import Int, Program, abs, dot, topk


class SparQ(Program):
    """Score every token by the few channels where the query is largest (SparQ, arXiv:2312.04985)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head
    channels = Int(16, low=1, high=128)            # of each key that count

    def summarize(self, k, v):
        return {"keys": k.to("int8")}

    def select(self, q, page):                     # page.keys: [page, token, dim]
        chosen = abs(q).sum("head").top("dim", self.channels)     # [dim], true for the largest
        return topk(dot(q * chosen, page.keys, "dim").max("head", "token"), self.pages)
