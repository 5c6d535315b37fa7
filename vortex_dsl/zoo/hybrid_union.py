from vortex_dsl import Int, Program, above, maximum, topk, union


class HybridUnion(Program):
    """Join the best pages by Quest's bound and every so many pages (arXiv:2406.10774 and arXiv:2410.01485)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen by the bound
    stride = Int(64, low=2, high=256, log=True)    # and one page of so many

    def summarize(self, k, v):
        return {"hi": k.max("token"), "lo": k.min("token")}

    def select(self, q, page):
        bound = maximum(q * page.hi, q * page.lo).sum("dim")      # [page, head]
        strided = above(page.index % self.stride == 0, 0, limit=page.count / self.stride + 1)
        return union(topk(bound.max("head"), self.pages), strided)
