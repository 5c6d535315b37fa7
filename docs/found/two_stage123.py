from vortex_dsl import Int, Program, dot, refine, topk


class TwoStage123(Program):
    """Rank pages by their mean keys, then the best of them by every token's key (HISA, arXiv:2603.28458).

    Changed: center in int4.
    """
    dense_layers = Int(0, 0, 8)
    pages = Int(64, low=1, high=1024, log=True)
    wider = Int(4, low=2, high=16)

    def summarize(self, k, v):
        return {'center': k.mean('token').to('int4'), 'keys': k.to('int4')}

    def select(self, q, page):
        coarse = dot(q, page.center, 'dim').max('head')
        fine = dot(q, page.keys, 'dim').max('head', 'token')
        return refine(topk(coarse, self.wider * self.pages), fine, self.pages)
