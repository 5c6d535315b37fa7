"""A program's tape: which programs have one, what each instruction does, and that it chooses what torch does."""

import importlib.util
import logging
import math
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kernels.host import elementwise
from kernels.host import tape as machine
from kernels.host.lines import FN
from search.agents.drawing.generate import generate as draw
from vortex_dsl import Shape, attend, decode, load_program, trace, zoo
from vortex_dsl.backends.tape import emission as tape_emission
from vortex_dsl.backends.tape.machine import check_machine, get_ready
from vortex_dsl.backends.tape.order import segments_of, simplified
from vortex_dsl.backends.tape.tape import tape_of
from vortex_dsl.ops import ENTRIES, OPS
from vortex_dsl.ops.frame import Frame
from vortex_dsl.ops.hashing import MASK32, mix32
from vortex_dsl.ops.op import InTorch, Parts
from vortex_dsl.values import Axis, Kind, Type

DOCS = Path(__file__).resolve().parents[3] / "docs"
_spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)

NUM_DRAWN, MOST_IN_TORCH = 400, 0.05
TINY = torch.tensor(1e-40)
ODD = torch.tensor([0.0, -0.0, 1.0, -1.5, 7.0, -3.0, 0.3, 1e30, -1e30, TINY, math.inf, -math.inf, math.nan])
LENGTHS = torch.tensor([0, 1, 15, 16, 17, 79, 81, 144, 480])


SMALL = Shape(group=4, head_dim=16)


def tape(text, shape=SMALL):
    return tape_of(trace(load_program(text), shape))


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


def test_the_whole_zoo_and_nearly_all_drawn_programs_have_a_tape():
    tapes = {name: tape(zoo.text(name)) for name in zoo.names()}
    assert {name: each.reason for name, each in tapes.items() if isinstance(each, InTorch)} == {}
    assert len(tapes) >= 38
    drawn = [tape(draw(random.Random(seed), 64, 0), Shape(4, 64)) for seed in range(NUM_DRAWN)]
    in_torch = [each.reason for each in drawn if isinstance(each, InTorch)]
    assert len(in_torch) <= MOST_IN_TORCH * NUM_DRAWN, in_torch


@pytest.mark.parametrize("op", ENTRIES.values(), ids=lambda op: op.name)
def test_an_entry_says_what_the_operation_is_on_a_tape(op):
    assert isinstance(op.tape, str | Parts | InTorch)
    assert not isinstance(op.tape, InTorch) or op.tape.reason


def test_an_entry_that_names_nothing_of_the_machine_is_refused(monkeypatch):
    astray = {**ENTRIES, "tanh": replace(ENTRIES["tanh"], tape="tanhh"), "exp": replace(ENTRIES["exp"], tape=None)}
    monkeypatch.setattr(tape_emission, "ENTRIES", astray)
    with pytest.raises(LookupError, match="'exp' of the operation table has tape=None"):
        tape_emission.check_table()
    astray["exp"] = ENTRIES["exp"]
    with pytest.raises(LookupError, match=r"'tanh' .* has tape='tanhh', which the tape's machine does not know"):
        tape_emission.check_table()


@pytest.mark.parametrize("names", ["MAPS", "REDUCTIONS"])
def test_a_name_without_a_branch_is_refused_when_an_engine_starts(names, monkeypatch):
    known = getattr(elementwise if names == "MAPS" else machine, names)
    monkeypatch.setattr(f"vortex_dsl.backends.tape.machine.{names}", (*known, "median"))
    with pytest.raises(LookupError, match="names median, but its loops have no branch"):
        check_machine()


def test_an_instruction_that_the_machine_has_not_is_told(monkeypatch):
    program = load_program(zoo.text("centroid")).with_values(page_size=16, pages=3)
    monkeypatch.setitem(tape_emission.EMISSIONS, "best", lambda writer, node: _unknown(writer))
    with pytest.raises(LookupError, match="an instruction that the machine has not"):
        same_choice(program)


def _unknown(writer):
    value = writer.made(tape_emission.PER_PAGE)
    writer.emit("add", value.place, value.place, value.place)
    writer.lines[-1][FN] = len(elementwise.MAPS)
    return value


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_an_operations_example_chooses_the_same(op):
    assert same_choice(load_program(generate.around(op)))


@pytest.mark.parametrize("name", elementwise.MAPS)
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
    assert elementwise.map_elements(elementwise.MAPS.index(name), *(x.numpy() for x in given), mix32(5 & MASK32), out)
    torch.testing.assert_close(torch.from_numpy(out), expected, rtol=1e-6, atol=1e-30, equal_nan=True)


TEXT = """from vortex_dsl import *


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
        '(page.k.take("dim", [5, 0, 7]) * q.take("dim", [1, 2, 9])).sum("dim").max("head", "token")',
        'page.v.split("dim", part=4).norm("dim").rename(part="heads").max("token").var("heads").shift("page", -2, 3.5)',
        'dot(q * page.c, page.k, "dim").logsumexp("token").softmax("head").max("head").cumsum("page")',
        'where(page.c.top("dim", 5), q, 0).norm("dim").mean("head").smooth("page", [0.5, 0.25, 0.125, 1, 2])',
        'dot(page.k, page.c, "dim").max("token") - page.k.mean("page", "token").norm("dim")',
        '(dot(q, page.k, "dim") * vector([i % 4 for i in range(16)], "token")).max("head", "token")',
        'silu(rsqrt(square(clip(page.c, -0.5, 0.5)).sum("dim") + 0.25)).normalize("page") + sigmoid(page.c.min("dim"))',
        'hash(page.index, 3) + relu(page.c).sum("dim") * page.reserved.softmax("page") * layer.index',
    ],
)
def test_axes_in_any_order(score):
    program = load_program(TEXT.replace("SCORE", score))
    assert not isinstance(tape_of(trace(program, Shape(group=4, head_dim=16))), InTorch)
    assert same_choice(program)


def test_what_needs_too_much_room_per_page_is_left_to_torch_and_says_so():
    wide = TEXT.replace("SCORE", '(q * page.k).softmax("page").sum("token", "dim").max("head")')
    found = tape(wide, Shape(group=16, head_dim=128))
    assert isinstance(found, InTorch)
    assert "numbers per page" in found.reason
    assert same_choice(load_program(wide))


@pytest.mark.parametrize("name", zoo.names())
def test_a_scratch_for_32768_tokens_takes_at_most_4_mib(name):
    found = tape_of(trace(load_program(zoo.text(name)), Shape(group=8, head_dim=128)))
    assert 4 * found.num_numbers(32768 // 16) <= 4 << 20


def test_a_refinement_reads_only_the_pages_of_its_selection():
    text = TEXT.replace("topk(SCORE, 3)", 'refine(topk(page.c.sum("dim"), 5), SCORE, 3)')
    program = load_program(text.replace("SCORE", 'dot(q, page.k, "dim").max("head", "token") - page.c.norm("dim")'))
    roots = simplified(trace(program, Shape(4, 16)))
    limited = [each for each in segments_of(roots) if each.among is not None]
    assert [each.among.op for each in limited] == ["topk"]
    assert {"dot", "max", "sub"} <= {node.op for node in limited[0].nodes}
    assert same_choice(program)
    whole = load_program(text.replace("SCORE", 'dot(q, page.k, "dim").max("head", "token").cumsum("page")'))
    assert all(each.among is None for each in segments_of(simplified(trace(whole, Shape(4, 16)))))
    assert same_choice(whole)


def test_infinity_and_no_number_among_keys_choose_what_torch_does():
    generator = torch.Generator().manual_seed(1)
    q, k, v = torch.randn(1, 4, 16, generator=generator), *torch.randn(2, 1, 1, 480, 16, generator=generator)
    k[0, 0, 33, 2], k[0, 0, 70, 3], k[0, 0, 100, 1], k[0, 0, 101, 1] = math.nan, math.inf, -math.inf, math.inf
    for name in ("oracle_mass", "oracle_max", "two_stage", "twilight", "h2o", "sign_keys", "quest"):
        program = load_program(zoo.text(name)).with_values(page_size=16, pages=4)
        found = [attend(program, q, k, v, backend=backend)[1] for backend in ("reference", "cpu")]
        assert torch.equal(*found), name


@pytest.mark.parametrize("axes", [("page",), ("head",), ("page", "head"), ("dim",), ("page", "dim"), ()])
def test_a_state_of_any_axes_goes_from_step_to_step(axes):
    text = f"""from vortex_dsl import *


class Remembering(Program):
    \"\"\"Add up what was seen.\"\"\"

    kept = State(axes={axes!r}, init=0.5)
    turn = State(axes=(), init=1.0)

    def summarize(self, k, v):
        return {{"c": k.mean("token").to("float32")}}

    def select(self, q, page):
        seen = q * page.c
        new = page.kept * 0.5 + seen.SUM
        score = (seen.sum("dim").max("head") + REDUCED) * page.turn
        return topk(score, 3).remember(kept=new, turn=0 - page.turn)
"""
    gone = [axis for axis in ("page", "head", "dim") if axis not in axes]
    text = text.replace("seen.SUM", "seen" + (f".mean({', '.join(map(repr, gone))})" if gone else ""))
    rest = [repr(axis) for axis in axes if axis != "page"]
    text = text.replace("REDUCED", "page.kept" + (f".sum({', '.join(rest)})" if rest else ""))
    generator = torch.Generator().manual_seed(2)
    qs = torch.randn(6, 2, 1, 4, 16, generator=generator)
    ks, vs = torch.randn(2, 2, 1, 1, 203 + 6, 16, generator=generator)
    program = load_program(text).with_values(dense_layers=0)
    found = [decode(program, qs, ks, vs, 203, backend=backend)[1] for backend in ("reference", "cpu")]
    assert torch.equal(*found)
    assert not isinstance(tape(text), InTorch)


def test_tensors_elsewhere_are_refused():
    x = torch.empty(1, 1, 32, 16, device="meta")
    with pytest.raises(ValueError, match=r"backend 'cpu' reads memory.*they are on meta"):
        attend(load_program(zoo.text("centroid")), x[:, :, 0], x, x, torch.tensor([32]), backend="cpu")


def test_what_is_compiled_at_the_start_of_an_engine_is_what_runs():
    get_ready()
    assert same_choice(load_program(zoo.text("quest")).with_values(page_size=16, pages=3))
    assert len(machine.run.signatures) == 1


def test_a_minute_of_compiling_is_told_before_it_begins(monkeypatch):
    told = []
    monkeypatch.setattr(logging.getLogger("vllm"), "info", lambda text, *values: told.append(text % values))
    monkeypatch.setattr("vortex_dsl.backends.tape.machine.run", lambda *_: told.append("run"))
    get_ready.__wrapped__()
    assert [each.split(" for ")[0] for each in told] == ["Vortex: getting the loops", "run", "Vortex: the loops"]
