from vortex_dsl import Int, Program, maximum, topk


class StepReuse(Program):
    """Choose by Quest's bound once in four steps, and use the choice until then (LServe, arXiv:2502.14866)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head
    refresh_steps = Int(4, 1, 16)

    def summarize(self, k, v):
        return {"hi": k.max("token"), "lo": k.min("token")}

    def select(self, q, page):
        bound = maximum(q * page.hi, q * page.lo).sum("dim")      # [page, head]
        return topk(bound.max("head"), self.pages)
