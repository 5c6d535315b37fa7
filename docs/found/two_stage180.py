from vortex_dsl import Int, Program, dot, refine, topk


class TwoStage180(Program):
    """Rank pages by their mean keys, then the best of them by every token's key (HISA, arXiv:2603.28458).

    Tuned: sink = 2 in place of 1; wider = 2 in place of 4; window = 5 in place of 2.
    """
    window = Int(5, 1, 64)
    sink = Int(2, 0, 16)
    dense_layers = Int(0, 0, 8)
    pages = Int(64, low=1, high=1024, log=True)
    wider = Int(2, low=2, high=16)

    def summarize(self, k, v):
        return {'center': k.mean('token'), 'keys': k.to('int4')}

    def select(self, q, page):
        coarse = dot(q, page.center, 'dim').max('head')
        fine = dot(q, page.keys, 'dim').max('head', 'token')
        return refine(topk(coarse, self.wider * self.pages), fine, self.pages)
