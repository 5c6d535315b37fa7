from vortex_dsl import Int, Program, abs, dot, matrix, maximum, refine, stack, topk, where


TURN_2 = [[1, 1], [1, -1]]
TURN_4 = [[a * b for a in p for b in r] for p in TURN_2 for r in TURN_2]
TURN_8 = [[a * b for a in p for b in r] for p in TURN_4 for r in TURN_2]
TURN_64 = [[a * b for a in p for b in r] for p in TURN_8 for r in TURN_8]

class TwoStage2090(Program):
    """Rank pages by their mean keys, then the best of them by every token's key (HISA, arXiv:2603.28458).

    Changed: channels mixed by a Hadamard matrix.
    """
    window = Int(2, 1, 64)
    dense_layers = Int(0, 0, 8)
    pages = Int(64, low=1, high=1024, log=True)
    wider = Int(2, low=2, high=16)

    def summarize(self, k, v):
        whole = (0.125 * dot(k, matrix(TURN_64, 'turn', 'dim'), 'dim')).rename(turn='dim')
        rest = whole - where(whole < 0.0, -1.0, 1.0) * abs(whole).mean('dim')
        turned = (0.125 * dot(stack((k * (k - k.mean('token')).norm('dim').top('token', 2)).sum('token') / maximum((k - k.mean('token')).norm('dim').top('token', 2).sum('token'), 1.0), (k * ~(k - k.mean('token')).norm('dim').top('token', 2)).sum('token') / maximum((~(k - k.mean('token')).norm('dim').top('token', 2)).sum('token'), 1.0), 'point'), matrix(TURN_64, 'turn', 'dim'), 'dim')).rename(turn='dim')
        return {'coarse': whole.to('sign'), 'coarse_size': abs(whole).mean('dim').to('fp8_e4m3'), 'rest': rest.to('sign'), 'rest_size': abs(rest).mean('dim').to('fp8_e4m3'), 'turned': turned.to('int4')}

    def select(self, q, page):
        coarse = dot((0.125 * dot(q, matrix(TURN_64, 'turn', 'dim'), 'dim')).rename(turn='dim'), page.turned, 'dim').logsumexp('point').logsumexp('head')
        fine = (dot((0.125 * dot(q, matrix(TURN_64, 'turn', 'dim'), 'dim')).rename(turn='dim'), page.coarse, 'dim') * page.coarse_size + dot((0.125 * dot(q, matrix(TURN_64, 'turn', 'dim'), 'dim')).rename(turn='dim'), page.rest, 'dim') * page.rest_size).max('head', 'token')
        return refine(topk(coarse, self.wider * self.pages), fine, self.pages)
