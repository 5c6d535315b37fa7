from vortex_dsl import Int, Program, maximum, topk


class QuestOfValues(Program):
    """Rank pages by an upper bound of q·k from envelopes of keys in 8 bits, weighted by the norm of their values."""

    pages = Int(64, low=1, high=1024, log=True)
    dense_layers = Int(0, 0, 8)

    def summarize(self, k, v):
        return {
            "hi": k.max("token").to("int8"),
            "lo": k.min("token").to("int8"),
            "weight": v.norm("dim").mean("token"),
        }

    def select(self, q, page):
        bound = maximum(q * page.hi, q * page.lo).sum("dim") * page.weight
        return topk(bound.max("head"), self.pages)
