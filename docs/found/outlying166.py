from vortex_dsl import Float, Int, Program, dot, sqrt, topk


class Outlying166(Program):
    """Rank pages by mean key and how far keys point apart.

    Center in int4, shares of all heads, budget grows with the root of the length.
    """

    pages = Int(4, low=1, high=1024, log=True)
    dense_layers = Int(0, 0, 8)
    apart = Float(1.23, low=0.1, high=2.0)
    growth = Float(0.46, low=0.05, high=0.5)

    def summarize(self, k, v):
        return {
            "center": k.mean("token").to("int4"),
            "least": dot((k / (k.norm("dim") + 0.001)), (k / (k.norm("dim") + 0.001)).mean("token"), "dim").min("token"),
        }

    def select(self, q, page):
        query = q * self.scale
        first = dot(query, page.center, "dim") - self.apart * query.norm("dim") * page.least
        score = first.softmax("page").sum("head")
        return topk(score, self.pages + self.growth * sqrt(page.count))
