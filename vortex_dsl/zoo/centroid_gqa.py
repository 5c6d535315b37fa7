from vortex_dsl import Int, Program, dot, topk


class CentroidGqa(Program):
    """Softmax q·(mean key) over pages in each head, then the largest over the group (NSA, arXiv:2502.11089)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):
        share = (dot(q, page.center, "dim") * self.scale).softmax("page")     # [page, head]
        return topk(share.max("head"), self.pages)
