from vortex_dsl import Int, Program, dot, refine, topk


class NarrowCenter(Program):
    """Rank pages by their mean keys in four bits, then the best of them by every key's share of all heads."""

    pages = Int(64, low=1, high=1024, log=True)
    wider = Int(3, low=2, high=16)
    dense_layers = Int(0, 0, 8)

    def summarize(self, k, v):
        return {"center": k.mean("token").to("int4"), "keys": k.to("int4")}

    def select(self, q, page):
        coarse = (self.scale * dot(q, page.center, "dim")).logsumexp("head")
        fine = (self.scale * dot(q, page.keys, "dim")).logsumexp("token").logsumexp("head")
        return refine(topk(coarse, self.wider * self.pages), fine, self.pages)
