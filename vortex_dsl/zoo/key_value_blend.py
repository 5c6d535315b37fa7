from vortex_dsl import Float, Int, Program, dot, topk


class KeyValueBlend(Program):
    """Blend q·(mean key) with q·(mean value) (found by GPT-5 in Vortex, arXiv:2606.06453)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head
    keys = Float(0.75, low=0.0, high=1.0)          # share of the keys in the blend

    def summarize(self, k, v):
        return {"center": k.mean("token"), "content": v.mean("token")}

    def select(self, q, page):                     # page.center, page.content: [page, dim]
        blend = self.keys * page.center + (1 - self.keys) * page.content
        return topk(dot(q.mean("head"), blend, "dim"), self.pages)
