from vortex_dsl import Int, Program, dot, topk


class Consensus(Program):
    """Rank pages by the head that wants them least, so that all agree (found in Vortex, arXiv:2606.06453)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):
        return topk(dot(q, page.center, "dim").min("head"), self.pages)
