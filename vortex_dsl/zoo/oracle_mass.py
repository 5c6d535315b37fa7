from vortex_dsl import Int, Program, dot, topk


class OracleMass(Program):
    """Rank pages by their exact attention mass, log sum exp of q·k, reading every key: the ceiling."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def select(self, q, page):                     # page.k: [page, token, dim]
        logits = dot(q, page.k, "dim") * self.scale              # [page, head, token]
        return topk(logits.logsumexp("head", "token"), self.pages)
