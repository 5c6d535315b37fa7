from vortex_dsl import Int, Program, maximum, topk


class Quest(Program):
    """Rank pages by an upper bound of q·k taken from per-page key envelopes (Quest, arXiv:2406.10774)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"hi": k.max("token"), "lo": k.min("token")}

    def select(self, q, page):                     # page.hi, page.lo: [page, dim]
        bound = maximum(q * page.hi, q * page.lo).sum("dim")      # [page, head]
        return topk(bound.max("head"), self.pages)
