from vortex_dsl import Float, Int, Program, dot, layer, topk


class DecayingBudget(Program):
    """Choose more pages in the first layers than in the last, on a straight line (PyramidKV, arXiv:2406.02069)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head, in the mean over layers
    slope = Float(0.75, low=0.0, high=1.0)         # 0: the same everywhere; 1: from twice the mean to nothing

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):
        depth = (2 * layer.index + 1) / layer.count               # above 0, below 2, 1 in the mean
        budget = self.pages * (1 + self.slope * (1 - depth))
        return topk(dot(q.mean("head"), page.center, "dim"), budget)
