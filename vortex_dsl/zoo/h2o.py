from vortex_dsl import Int, Program, State, dot, topk


class H2O(Program):
    """Rank pages by the attention mass that they gathered over all steps: heavy hitters (H2O, arXiv:2306.14048).

    What attention saw is not told to programs, so the mass is computed again, which reads every key.
    """

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head
    gathered = State()

    def select(self, q, page):                     # page.k: [page, token, dim]; page.gathered: [page]
        logits = dot(q, page.k, "dim") * self.scale               # [page, head, token]
        mass = logits.logsumexp("token").softmax("page")          # [page, head], summing to 1 in each head
        gathered = page.gathered + mass.sum("head")
        return topk(gathered, self.pages).remember(gathered=gathered)
