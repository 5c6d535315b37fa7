from vortex_dsl import Float, Int, Program, dot, maximum, topk


class Diverse(Program):
    """Rank pages by q·(mean key), less the more a page repeats the one before it (maximal marginal relevance)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head
    weight = Float(1.0, low=0.01, high=10.0, log=True)   # of a cosine against a scaled product

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):
        before = page.center.shift("page", 1)                     # zeros before the first page
        size = page.center.norm("dim") * before.norm("dim")
        cosine = dot(page.center, before, "dim") / maximum(size, 0.000001)
        score = dot(q.mean("head"), page.center, "dim") * self.scale
        return topk(score - self.weight * cosine, self.pages)
