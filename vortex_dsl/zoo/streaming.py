from vortex_dsl import Program, reserved_only


class Streaming(Program):
    """Keep attention sinks and a recent window, nothing else (StreamingLLM, arXiv:2309.17453)."""

    def select(self, q, page):
        return reserved_only()
