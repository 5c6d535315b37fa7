from vortex_dsl import Program, every_page


class Dense(Program):
    """Attend to every page: the baseline that every other program is compared with."""

    def select(self, q, page):
        return every_page()
