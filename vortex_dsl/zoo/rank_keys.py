from vortex_dsl import Int, Program, dot, matrix, topk

# Two orthonormal directions among each 8 channels that lie head_dim / 8 apart; calibrate them on a model's keys.
BASIS = [[8 ** -0.5 * sign for sign in row] for row in ([1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, -1, -1, -1, -1])]


class RankKeys(Program):
    """Rank pages by their best token, its key projected to a quarter of the dimensions (Loki, arXiv:2406.02542)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"keys": self.projected(k).to("int8")}

    def select(self, q, page):                     # page.keys: [page, token, rank, dim]
        return topk(dot(self.projected(q), page.keys, "dim").sum("rank").max("head", "token"), self.pages)

    def projected(self, x):                        # dim becomes rank times dim: [rank, dim], dim an eighth
        return dot(x.split("dim", part=8), matrix(BASIS, "rank", "part"), "part")
