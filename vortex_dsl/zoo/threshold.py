from vortex_dsl import Float, Int, Program, above, dot


class Threshold(Program):
    """Attend to pages whose share of the estimated mass exceeds a threshold (SeerAttention-R, arXiv:2506.08889)."""

    share = Float(0.004, low=0.0001, high=0.5, log=True)   # of the softmax over pages
    pages = Int(64, low=1, high=1024, log=True)    # most pages chosen per KV head

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):
        share = (dot(q, page.center, "dim") * self.scale).softmax("page")     # [page, head]
        return above(share.max("head"), self.share, limit=self.pages)
