from vortex_dsl import Int, Program, above


class Strided(Program):
    """Attend to every so many pages, whatever they hold (LongGen's blockwise stride, arXiv:2410.01485)."""

    stride = Int(16, low=2, high=256, log=True, budget=True)   # one page of so many

    def select(self, q, page):
        return above(page.index % self.stride == 0, 0, limit=page.count / self.stride + 1)
