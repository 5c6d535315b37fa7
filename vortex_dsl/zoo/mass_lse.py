from vortex_dsl import Int, Program, dot, square, topk


class MassLse(Program):
    """Estimate each page's attention mass to second order from the mean and variance of its keys.

    For Gaussian keys E[exp(q·k)] = exp(q·mean + ½ q²·var); summed over the heads of the group. A page's
    log(page_size) is the same for all pages, so it may be left out.
    """

    pages = Int(64, low=1, high=1024, log=True)   # pages chosen per KV head

    def summarize(self, k, v):
        return {"center": k.mean("token"), "spread": k.var("token")}

    def select(self, q, page):
        scaled = q * self.scale
        mass = dot(scaled, page.center, "dim") + 0.5 * dot(square(scaled), page.spread, "dim")
        return topk(mass.logsumexp("head"), self.pages)
