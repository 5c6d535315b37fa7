from vortex_dsl import Int, Program, dot, square, topk


class InfLLM(Program):
    """Rank pages by q·k of the 4 tokens that represent them, those nearest to the mean (InfLLM, arXiv:2402.04617).

    The mean of the products with 4 keys is the product with the mean of the keys, so one vector is enough.
    """

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        distance = square(k - k.mean("token")).sum("dim")         # [token]
        return {"representative": (k * (-distance).top("token", 4)).sum("token") / 4}

    def select(self, q, page):                     # page.representative: [page, dim]
        return topk(dot(q.mean("head"), page.representative, "dim"), self.pages)
