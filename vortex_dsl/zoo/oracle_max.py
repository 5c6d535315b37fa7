from vortex_dsl import Int, Program, dot, topk


class OracleMax(Program):
    """Rank pages by the largest q·k of any token and head, reading every key: the ceiling of bounds like Quest's."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def select(self, q, page):                     # page.k: [page, token, dim]
        return topk(dot(q, page.k, "dim").max("head", "token"), self.pages)
