from vortex_dsl import Int, Program, maximum, topk

EVEN = slice(None, None, 2)                        # every other channel


class NarrowInt8(Program):
    """Quest's bound over half of the channels, kept in eight bits: a quarter of the bytes (after arXiv:2406.10774)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        half = k.take("dim", EVEN)
        return {"hi": half.max("token").to("int8"), "lo": half.min("token").to("int8")}

    def select(self, q, page):                     # page.hi, page.lo: [page, dim], dim half as long as q's
        half = q.take("dim", EVEN)
        bound = maximum(half * page.hi, half * page.lo).sum("dim")            # [page, head]
        return topk(bound.max("head"), self.pages)
