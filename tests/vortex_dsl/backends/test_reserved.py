"""Every backend reserves the pages that the one formula of them says, which kernels have to write again."""

import pytest
import torch

from vortex_dsl import Shape, attend, load_program, trace
from vortex_dsl.backends.contract import BACKENDS

PROGRAM = load_program("""from vortex_dsl import Program, reserved_only


class Reserved(Program):
    \"\"\"Attend to the sink and the window alone.\"\"\"

    def select(self, q, page):
        return reserved_only()
""")
LENGTHS = [0, 1, 15, 16, 17, 48, 100, 160]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("sink", "window"), [(0, 1), (1, 2), (3, 1), (16, 64)])
def test_a_page_is_reserved_as_the_graph_says(backend, sink, window):
    program = PROGRAM.with_values(sink=sink, window=window)
    graph = trace(program, Shape(1, 16))
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(8, 1, 16, generator=generator), torch.randn(8, 1, 160, 16, generator=generator)
    _, attended = attend(program, q, k, k, torch.tensor(LENGTHS), backend=backend)
    for length, row in zip(LENGTHS, attended[:, 0].tolist(), strict=True):
        count = -(-length // 16)
        assert row == [page < count and bool(graph.is_reserved(page, count)) for page in range(10)]
