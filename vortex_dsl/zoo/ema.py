from vortex_dsl import Float, Int, Program, State, dot, topk


class Ema(Program):
    """Rank pages by a running average of q·(mean key) over the steps, as attention drifts slowly."""

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head
    decay = Float(0.9, low=0.0, high=0.99)         # of what was, at each step
    running = State()

    def summarize(self, k, v):
        return {"center": k.mean("token")}

    def select(self, q, page):                     # page.running: [page]
        running = self.decay * page.running + dot(q.mean("head"), page.center, "dim")
        return topk(running, self.pages).remember(running=running)
