from vortex_dsl import Int, Program, maximum, topk


class QuestInt4(Program):
    """Quest's bound from envelopes kept in four bits: a quarter of the bytes (after Quest, arXiv:2406.10774)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"hi": k.max("token").to("int4"), "lo": k.min("token").to("int4")}

    def select(self, q, page):                     # page.hi, page.lo: [page, dim], as they were rounded
        bound = maximum(q * page.hi, q * page.lo).sum("dim")      # [page, head]
        return topk(bound.max("head"), self.pages)
