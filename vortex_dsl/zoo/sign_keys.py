from vortex_dsl import Int, Program, abs, dot, topk


class SignKeys(Program):
    """Rank pages by their best token, whose key is kept as one sign per channel (QJL, arXiv:2406.03482).

    The page's mean |k| of each channel weighs the signs: channels that agree with q count for, others against
    (HATA, arXiv:2506.02572, compares learned signs).
    """

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"signs": k.to("sign"), "size": abs(k).mean("token")}

    def select(self, q, page):                     # page.signs: [page, token, dim]; page.size: [page, dim]
        agreement = dot(q * page.size, page.signs, "dim")         # [page, head, token]
        return topk(agreement.max("head", "token"), self.pages)
