from vortex_dsl import Int, Program, dot, topk

LABELS = slice(None, None, 8)                      # the label channels; calibrate them on a model's keys


class DoubleSparsity(Program):
    """Score every token by a few fixed channels of its key, kept in four bits (Double Sparsity, arXiv:2408.07092)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"labels": k.take("dim", LABELS).to("int4")}

    def select(self, q, page):                     # page.labels: [page, token, dim], dim an eighth of q's
        return topk(dot(q.take("dim", LABELS), page.labels, "dim").max("head", "token"), self.pages)
