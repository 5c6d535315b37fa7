from vortex_dsl import Int, Program, dot, topk


class Smooth(Program):
    """Let pages share their score with their neighbours, as text runs on (found in Vortex, arXiv:2606.06453)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):
        score = dot(q.mean("head"), page.center, "dim")           # [page]
        return topk(score.smooth("page", [0.25, 0.5, 0.25]), self.pages)
