from vortex_dsl import Float, Int, Program, dot, maximum, topk


class LengthBudget(Program):
    """Choose a share of all pages, but never fewer than some (Vortex's default policy, arXiv:2606.06453)."""

    pages = Int(64, low=1, high=1024, log=True)   # fewest pages chosen per KV head
    ratio = Float(0.06, low=0.005, high=0.5, log=True)

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):
        score = dot(q.mean("head"), page.center, "dim")
        return topk(score, maximum(self.pages, self.ratio * page.count))
