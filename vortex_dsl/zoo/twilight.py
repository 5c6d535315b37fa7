from vortex_dsl import Float, Int, Program, dot, topp


class Twilight(Program):
    """Attend to as few pages as reach a share p of the estimated mass (Twilight, arXiv:2502.02770)."""

    pages = Int(64, low=1, high=1024, log=True)   # most pages chosen per KV head
    mass = Float(0.95, low=0.1, high=1.0)          # share of the softmax over pages to reach

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):
        score = (dot(q, page.center, "dim") * self.scale).max("head")         # [page]
        return topp(score, self.mass, limit=self.pages)
