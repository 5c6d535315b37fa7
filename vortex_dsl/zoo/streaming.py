from vortex_dsl import Int, Program, reserved_only


class Streaming(Program):
    """Keep attention sinks and a recent window, nothing else (StreamingLLM, arXiv:2309.17453)."""

    window = Int(2, low=1, high=64, budget=True)   # pages

    def select(self, q, page):
        return reserved_only()
