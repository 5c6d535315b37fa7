from vortex_dsl import Int, Program, abs, dot, refine, topk


class EnvelopeKeys(Program):
    """Rank pages by an upper bound from their envelopes in four bits, then the best of them by every key's share."""

    pages = Int(64, low=1, high=1024, log=True)
    wider = Int(3, low=2, high=16)
    dense_layers = Int(0, 0, 8)

    def summarize(self, k, v):
        hi, lo = k.max("token"), k.min("token")
        return {"mid": (0.5 * (hi + lo)).to("int4"), "half": (0.5 * (hi - lo)).to("int4"), "keys": k.to("int4")}

    def select(self, q, page):
        coarse = (dot(q, page.mid, "dim") + 0.5 * dot(abs(q), page.half, "dim")).max("head")
        fine = (self.scale * dot(q, page.keys, "dim")).logsumexp("token").logsumexp("head")
        return refine(topk(coarse, self.wider * self.pages), fine, self.pages)
