"""Reference = torch = Triton = the compiled loops of a CPU, for programs drawn from the grammar and for the zoo.

`VORTEX_DIFFERENTIAL=300 pytest -s tests/vortex_dsl/backends/test_differential.py` draws 300 programs, not NUM_PROGRAMS.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from vortex_dsl import Shape, attend, decode, load_program, trace, zoo
from vortex_dsl.backends.contract import BACKENDS
from vortex_dsl.backends.reference import Place, attention
from vortex_dsl.tunables import Float

if TYPE_CHECKING:
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.graph.graph import Graph


def beside(name: str) -> Any:
    """Import a file that lies beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


drawn, judging = beside("drawn"), beside("judge")
NUM_PROGRAMS = int(os.environ.get("VORTEX_DIFFERENTIAL", "80"))
SCALE = 0.25  # a power of two, so that products with it are exact
OUT_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
seen: Counter[str] = Counter()


def prepared(program: Program, page_size: int) -> Program:
    """Give few pages, the page size, and numbers with few bits to a program's tunables."""
    values: dict[str, Any] = {"page_size": page_size}
    for name, tunable in program.tunables.items():
        if isinstance(tunable, Float):
            values[name] = min(max(round(float(program.values[name]) * 8) / 8, tunable.low), tunable.high)
    if "pages" in program.tunables:
        values["pages"] = min(int(program.values["pages"]), 3)
    return program.with_values(**values)


def compare(program: Program, case: Any) -> None:
    """Run a program on every backend, and hold each to the choice that its scores in float64 allow."""
    program = prepared(program, case.page_size)
    graph = trace(program, case.shape)
    compare_step(program, graph, case)
    if graph.states or graph.share_layers > 1 or graph.refresh_steps > 1:
        compare_steps(program, graph, case)


def compare_step(program: Program, graph: Graph, case: Any) -> None:
    """Compare `attend`."""
    q, k, v, lengths = case.tensors(whole=judging.is_exact(graph))
    grouped = q.float().unflatten(1, (case.num_kv_heads, -1))
    where = {"scale": SCALE, "layer": case.layer, "num_layers": case.num_layers}
    results = {backend: attend(program, q, k, v, lengths, **where, backend=backend) for backend in BACKENDS}
    for (i, length), head in itertools.product(enumerate(case.lengths), range(case.num_kv_heads)):
        place = Place(case.layer, case.num_layers, head, SCALE)
        row = judging.Row(grouped[i, head], k[i, head, :length].float(), v[i, head, :length].float(), place)
        verdict = judging.judge(graph, row)
        choices = {name: pages[i, head] for name, (_, pages) in results.items()}
        hold(graph, verdict, choices, length, f"sequence {i}, KV head {head}")
        for out, pages in results.values():
            check_output(out.unflatten(1, (case.num_kv_heads, -1))[i, head], row, pages[i, head], graph.page_size)


def compare_steps(program: Program, graph: Graph, case: Any) -> None:
    """Compare `decode` over a few steps and layers."""
    qs, ks, vs, prompt_tokens = case.steps(whole=judging.is_exact(graph))
    results = {backend: decode(program, qs, ks, vs, prompt_tokens, SCALE, backend=backend) for backend in BACKENDS}
    verdicts = judging.judge_steps(graph, qs.float(), ks.float(), vs.float(), prompt_tokens, SCALE)
    for at, verdict in verdicts.items():
        choices = {name: pages[at] for name, (_, pages) in results.items()}
        length = prompt_tokens + at[0] + 1
        if verdict is None:
            assert all(bool(pages[: -(-length // case.page_size)].all()) for pages in choices.values())
        else:
            hold(graph, verdict, choices, length, "step {}, layer {}, sequence {}, KV head {}".format(*at))


def hold(graph: Graph, verdict: Any, choices: dict[str, torch.Tensor], length: int, where: str) -> None:
    """Hold every backend's pages, bool [max_pages], to a verdict, and count those that are chosen otherwise."""
    num_pages = -(-length // graph.page_size)
    rounded = "exact" if verdict.exact else "rounded"
    seen[f"{rounded} rows"] += 1
    for backend, pages in choices.items():
        objection = verdict.objection(graph, pages[:num_pages])
        assert not objection, f"{backend}, {where}, length {length}, {rounded}: {objection}"
        differing = int((pages != choices["reference"])[:num_pages].sum())
        seen[f"pages beside the cut that {backend} chose otherwise"] += differing


def check_output(out: torch.Tensor, row: Any, pages: torch.Tensor, page_size: int) -> None:
    """Compare an output [head, dim] with attention to the pages that the backend chose itself."""
    attended = pages[: -(-row.k.shape[0] // page_size)]
    expected = attention(row.q, row.k, row.v, attended, page_size, row.place.scale)
    tolerance = OUT_TOLERANCE[out.dtype]
    torch.testing.assert_close(out.float(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.timeout(1200)  # shrinking a counterexample takes minutes
@settings(
    max_examples=NUM_PROGRAMS, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(st.data())
def test_a_program_of_the_grammar_means_the_same_everywhere(data: st.DataObject) -> None:
    case = data.draw(drawn.cases(), label="case")
    text = data.draw(drawn.texts(case.shape), label="program")
    note(text)
    compare(load_program(text), case)
    seen["programs"] += 1


@pytest.mark.parametrize("name", zoo.names())
def test_a_program_of_the_zoo_means_the_same_everywhere(name: str) -> None:
    compare(load_program(zoo.text(name)), drawn.Case(Shape(3, 24), 1, 16, (121,), 2, 5, torch.float32, seed=1))
    seen["programs"] += 1


def test_what_was_compared_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\n" + "; ".join(f"{number} {what}" for what, number in sorted(seen.items())))
    assert seen["exact rows"] >= seen["programs"] // 10
    assert seen["rounded rows"] >= seen["programs"] // 10
