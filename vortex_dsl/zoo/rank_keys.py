from vortex_dsl import Int, Program, dot, matrix, topk

# Two orthogonal directions of the eight channels that lie head_dim / 8 apart; calibrate them on a model's keys.
BASIS = [[1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, -1, -1, -1, -1]]


class RankKeys(Program):
    """Rank pages by their best token, its key projected to a quarter of the dimensions (Loki, arXiv:2406.02542)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"keys": self.projected(k).to("int8")}

    def select(self, q, page):                     # page.keys: [page, token, rank, dim]
        products = dot(self.projected(q), page.keys, "dim").sum("rank")       # [page, head, token]
        return topk(products.max("head", "token"), self.pages)

    def projected(self, x):                        # dim becomes rank and an eighth of dim
        return dot(x.split("dim", part=8), matrix(BASIS, "rank", "part"), "part")
