from vortex_dsl import Float, Int, Program, dot, kv_head, layer, matrix, refine, square, topk, where


TURN_2 = [[1, 1], [1, -1]]
TURN_4 = [[a * b for a in p for b in r] for p in TURN_2 for r in TURN_2]
TURN_8 = [[a * b for a in p for b in r] for p in TURN_4 for r in TURN_2]
TURN_64 = [[a * b for a in p for b in r] for p in TURN_8 for r in TURN_8]

class TwoStage2312(Program):
    """Rank pages by their mean keys, then the best of them by every token's key (HISA, arXiv:2603.28458).

    Changed: less = 1.0 in place of 0.836.
    """
    less = Float(1.0, low=0.25, high=1.0)
    arch = Float(0.0115, low=-0.9, high=0.9)
    wider_b = Float(3.24, low=1.2, high=6.0)
    dense_layers = Int(0, 0, 8)
    pages = Int(64, low=1, high=1024, log=True)

    def summarize(self, k, v):
        turned = (0.125 * dot(0.5 * (k.max('token') + k.min('token')), matrix(TURN_64, 'turn', 'dim'), 'dim')).rename(turn='dim')
        return {'keys': k.to('int4'), 'turned': turned.to('int4')}

    def select(self, q, page):
        coarse = dot((0.125 * dot(q, matrix(TURN_64, 'turn', 'dim'), 'dim')).rename(turn='dim'), page.turned, 'dim').max('head')
        fine = dot(q, page.keys, 'dim').max('head', 'token')
        return refine(topk(coarse, self.wider_b * self.pages), fine, self.pages * (1.0 + self.arch * (1.0 - 3.0 * square(1.0 - (2 * layer.index + 1) / layer.count))) * where((kv_head.index + layer.index) % 2 == 0, self.less, 1.0))
