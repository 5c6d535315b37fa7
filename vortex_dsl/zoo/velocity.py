from vortex_dsl import Float, Int, Program, State, dot, topk


class Velocity(Program):
    """Rank pages by how much their score rises since the step before (found by Opus in Vortex, arXiv:2606.06453)."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head
    inertia = Float(0.5, low=0.0, high=1.0)        # share of the score before that is taken off
    before = State()

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):                     # page.before: [page]
        score = dot(q.mean("head"), page.center, "dim")           # [page]
        return topk(score - self.inertia * page.before, self.pages).remember(before=score)
