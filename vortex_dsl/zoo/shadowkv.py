from vortex_dsl import Float, Int, Program, dot, topk


class ShadowKV(Program):
    """Rank pages by q·(mean key), those whose keys stray far from their mean first (ShadowKV, arXiv:2410.21465).

    A mean stands badly for a page with an outlier, a key at a small cosine to it; such pages are always kept.
    """

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head
    outlier = Float(0.2, low=-1.0, high=1.0)       # smaller cosines to the mean than this make a page an outlier

    def summarize(self, k, v):
        center = k.mean("token")
        cosine = dot(k, center, "dim") / (k.norm("dim") * center.norm("dim"))
        return {"center": center, "closeness": cosine.min("token")}

    def select(self, q, page):                     # page.center: [page, dim]; page.closeness: [page]
        share = (dot(q, page.center, "dim") * self.scale).softmax("page")     # [page, head], at most 1
        return topk(share.max("head") + (page.closeness < self.outlier), self.pages)
