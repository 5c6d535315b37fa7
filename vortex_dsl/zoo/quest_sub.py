from vortex_dsl import Int, Program, maximum, topk


class QuestSub(Program):
    """Quest's bound on sub-pages of 4 tokens, the best sub-page counting for its page (LServe, arXiv:2502.14866)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        tokens = k.split("token", sub=self.page_size // 4)        # [sub, token, dim], 4 tokens each
        return {"hi": tokens.max("token"), "lo": tokens.min("token")}

    def select(self, q, page):                     # page.hi, page.lo: [page, sub, dim]
        bound = maximum(q * page.hi, q * page.lo).sum("dim")      # [page, head, sub]
        return topk(bound.max("head", "sub"), self.pages)
