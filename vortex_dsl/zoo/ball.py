from vortex_dsl import Int, Program, dot, topk


class Ball(Program):
    """Bound q·k by a ball around each page's keys: q·center + |q|·radius (ArkVale's digests, NeurIPS 2024)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        center = k.mean("token")
        return {"center": center, "radius": (k - center).norm("dim").max("token")}

    def select(self, q, page):                     # page.center: [page, dim]; page.radius: [page]
        bound = dot(q, page.center, "dim") + q.norm("dim") * page.radius
        return topk(bound.max("head"), self.pages)
