from vortex_dsl import Float, Int, Program, dot, layer, refine, topk, where


class TwoStage832(Program):
    """Rank pages by their mean keys, then the best of them by every token's key (HISA, arXiv:2603.28458).

    Tuned: share_of_one = 1.14 in place of 1.58.
    """
    share_of_one = Float(1.14, low=0.25, high=4.0)
    dense_layers = Int(0, 0, 8)
    pages = Int(64, low=1, high=1024, log=True)
    wider = Int(3, low=2, high=16)

    def summarize(self, k, v):
        return {'keys': k.to('int4'), 'parts': k.split('token', part=2).mean('token').to('int4')}

    def select(self, q, page):
        coarse = dot(q, page.parts, 'dim').max('part').max('head')
        fine = dot(q, page.keys, 'dim').max('head', 'token')
        return refine(topk(coarse, self.wider * self.pages), fine, self.pages * where(layer.index % 4 == 0, self.share_of_one, 1.0))
