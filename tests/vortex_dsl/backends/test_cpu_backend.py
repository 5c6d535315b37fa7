"""A program's tape: which programs have one, what each instruction does, and that it chooses what torch does."""

import importlib.util
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kernels.host import tape as machine
from vortex_dsl import Shape, attend, load_program, trace, zoo
from vortex_dsl.backends.batched import Batched
from vortex_dsl.backends.tape.machine import get_ready
from vortex_dsl.backends.tape.tape import tape_of
from vortex_dsl.ops import OPS
from vortex_dsl.ops.elementwise import MASK32, mix32
from vortex_dsl.ops.frame import Frame
from vortex_dsl.values import Axis, Kind, Type

DOCS = Path(__file__).resolve().parents[3] / "docs"
_spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)

NO_TAPE = {  # states, tokens of the cache, or an operation that the machine has not
    "diverse", "ema", "h2o", "oracle_mass", "oracle_max", "rank_keys", "smooth", "sparq", "twilight", "velocity",
}  # fmt: skip
TINY = torch.tensor(1e-40)
ODD = torch.tensor([0.0, -0.0, 1.0, -1.5, 7.0, -3.0, 0.3, 1e30, -1e30, TINY, math.inf, -math.inf, math.nan])
LENGTHS = torch.tensor([0, 1, 15, 16, 17, 79, 81, 144, 480])


def tape(text, **values):
    batched = Batched(trace(load_program(text).with_values(**values), Shape(group=4, head_dim=16)))
    return tape_of(batched.graph, batched.stages)


def same_choice(program):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(len(LENGTHS), 8, 16, generator=generator)
    k, v = torch.randn(2, len(LENGTHS), 2, 480, 16, generator=generator)
    found = [attend(program, q, k, v, LENGTHS, backend=backend)[1] for backend in ("torch", "cpu")]
    return torch.equal(*found)


@pytest.mark.parametrize("name", zoo.names())
def test_the_zoo_chooses_the_same(name):
    program = load_program(zoo.text(name)).with_values(page_size=16)
    assert same_choice(program.with_values(pages=3) if "pages" in program.values else program)
    assert (tape(zoo.text(name)) is None) == (name in NO_TAPE)


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_an_operations_example_chooses_the_same(op):
    assert same_choice(load_program(generate.around(op)))


@pytest.mark.parametrize("name", machine.MAPS)
def test_an_elementwise_operation_means_what_the_table_says(name):
    op = OPS[name]
    divisors = ODD[ODD != TINY] if name == "mod" else ODD  # torch's own vector code gives no number there
    given = [x.flatten().contiguous() for x in torch.meshgrid(ODD, divisors, torch.tensor([-1.0, 0.5]), indexing="ij")]
    if name in ("and", "or", "invert", "where"):
        given[0] = (given[0] > 0).float()
    if name in ("and", "or"):
        given[1] = (given[1] > 0).float()
    type_ = Type((Axis("dim", given[0].numel()),))
    operands = [p.name for p in op.params if p.name != "seed"]
    kinds = [Kind.BOOL if name in ("and", "or", "invert") or p == "condition" else Kind.FLOAT for p in operands]
    node = SimpleNamespace(
        args=[SimpleNamespace(type=Type(type_.axes, kind)) for kind in kinds], type=type_, attr=lambda _: 5
    )
    tensors = [x[None].bool() if kind is Kind.BOOL else x[None] for x, kind in zip(given, kinds, strict=False)]
    expected = op.meaning(Frame(1), node, *tensors)[0].float()
    out = np.empty(given[0].numel(), np.float32)
    machine._map(machine.MAPS.index(name), *(x.numpy() for x in given), mix32(5 & MASK32), out)
    torch.testing.assert_close(torch.from_numpy(out), expected, rtol=1e-6, atol=1e-30, equal_nan=True)


TEXT = """from vortex_dsl import Program, dot, kv_head, topk


class Given(Program):
    \"\"\"One score.\"\"\"

    def summarize(self, k, v):
        return {"c": k.mean("token").to("float32"), "t": k.split("dim", heads=4).norm("dim").to("float32")}

    def select(self, q, page):
        return topk(SCORE, 3)
"""


@pytest.mark.parametrize(
    "score",
    [
        '(dot(q, page.c, "dim").softmax("page") - 0.1).normalize("head").max("head")',
        '(dot(q, page.c, "dim") - dot(q, page.c, "dim").mean("page")).var("head")',
        '(page.c.take("dim", [1, 3, 5]) * q.take("dim", slice(0, 6, 2))).sum("dim").min("head")',
        'dot(dot(q, page.c, "dim"), page.c.norm("dim").softmax("page"), "page").sum("head") * page.c.max("dim")',
        '(page.t.max("token") * q.mean("dim")).logsumexp("head", "heads") + page.index % 3 + page.reserved',
        'page.c.max("page", "dim") * page.c.sum("dim") / page.count + kv_head.index',
    ],
)
def test_axes_in_any_order(score):
    program = load_program(TEXT.replace("SCORE", score))
    batched = Batched(trace(program, Shape(group=4, head_dim=16)))
    assert tape_of(batched.graph, batched.stages) is not None
    assert same_choice(program)


def test_what_needs_too_much_room_per_page_is_left_to_torch():
    wide = TEXT.replace("SCORE", '(q * page.t).sum("heads", "token", "dim").max("head")')
    batched = Batched(trace(load_program(wide), Shape(group=16, head_dim=128)))
    assert tape_of(batched.graph, batched.stages) is None
    assert same_choice(load_program(wide))


def test_tensors_elsewhere_are_refused():
    x = torch.empty(1, 1, 32, 16, device="meta")
    with pytest.raises(ValueError, match=r"backend 'cpu' reads memory.*they are on meta"):
        attend(load_program(zoo.text("centroid")), x[:, :, 0], x, x, torch.tensor([32]), backend="cpu")


def test_what_is_compiled_at_the_start_of_an_engine_is_what_runs():
    get_ready()
    assert same_choice(load_program(zoo.text("quest")).with_values(page_size=16, pages=3))
    assert len(machine.run.signatures) == 1
