"""The witness is sound: the torch backend equals the reference, and nothing unused can be seen through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from search.evaluator.oracle.steps import differing, make_steps, remembers
from search.records import Measurement
from vortex_dsl import Int, ProgramError, attend, load_program, trace, zoo
from vortex_dsl.analysis.layout import Layout
from vortex_dsl.tunables import PLATFORM_TUNABLES

if TYPE_CHECKING:
    from search.evaluator.oracle.steps import Steps
    from vortex_dsl import Program
    from vortex_dsl.backends.contract import BackendName
    from vortex_dsl.graph.graph import Graph

NUM_KV_HEADS = 2
SHORT, MANY = 13, 72  # complete pages; MANY exceeds the default budget of 64 and the reserved ones
LAYER, NUM_LAYERS = 2, 5
TOLERANCE = 2e-5
ROUNDING = 1e-5  # relative; a choice that moves with the inputs' rounding is left to either backend
NUM_PERTURBATIONS = 4
GARBAGE = 1e30


class Mismatch(Exception):  # noqa: N818 - what it is
    """Two computations that must agree do not. The message says which, and in which case."""


@dataclass(frozen=True)
class _Case:
    """Random inputs of one batch. q: [batch, num_q_heads, dim]; k, v: [batch, num_kv_heads, tokens, dim]."""

    name: str
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    lengths: torch.Tensor

    def run(self, program: Program, backend: BackendName) -> tuple[torch.Tensor, torch.Tensor]:
        """Give out [batch, num_kv_heads, head, dim] and attended [batch, num_kv_heads, page]."""
        out, attended = attend(
            program, self.q, self.k, self.v, self.lengths, layer=LAYER, num_layers=NUM_LAYERS, backend=backend
        )
        return out.unflatten(1, (NUM_KV_HEADS, -1)), attended

    def soiled(self) -> _Case:
        """Give the case with NaN or garbage, by turns over the rows, beyond each sequence's length."""
        turn = torch.arange(len(self.lengths))[:, None] + torch.arange(NUM_KV_HEADS)
        filling = torch.where(turn % 2 == 0, float("nan"), GARBAGE)[..., None, None]
        beyond = (torch.arange(self.k.shape[2]) >= self.lengths[:, None])[:, None, :, None]
        return _Case(
            self.name, self.q, torch.where(beyond, filling, self.k), torch.where(beyond, filling, self.v), self.lengths
        )

    def perturbed(self, generator: torch.Generator) -> _Case:
        """Give the case with inputs that differ by about a rounding error."""
        q, k, v = (x * (1 + ROUNDING * torch.randn(x.shape, generator=generator)) for x in (self.q, self.k, self.v))
        return _Case(self.name, q, k, v, self.lengths)

    def row(self, at: torch.Tensor) -> str:
        """Say where a row [sequence, KV head] lies."""
        sequence, head = at.tolist()
        return f"{self.name}, length {int(self.lengths[sequence])}, KV head {head}"


def check(program: Program, graph: Graph, seed: int) -> list[Measurement]:
    """Compare the torch backend with the reference, with every_page and with itself over other garbage.

    On random ragged batches (an empty sequence, partial pages, more pages than the default budget) with the model's
    group, for the program's own integers as they are and at their lowest (so that there is a choice to make): both
    choose the same pages, with outputs within `TOLERANCE`; where reserved and chosen pages cover a sequence the
    output is bit for bit that of every_page; NaN and garbage beyond the lengths change no bit. A row whose choice
    moves with the rounding of its inputs counts in `unstable` and is not compared. A program that remembers, or shares
    choices between layers, is also decoded over several steps and layers by both, at its lowest.
    Gives rows compared, unstable rows, rows over poisoned memory, largest error, bytes per page. Raises Mismatch.
    """
    generator = torch.Generator().manual_seed(seed)
    every_page = load_program(zoo.text("dense")).with_values(page_size=graph.page_size)
    num_rows, num_unstable, num_poisoned, error = 0, 0, 0, 0.0
    variants = (program, *smallest(program, graph))
    for case in _cases(graph, generator):
        dense = case.run(every_page, "torch")
        for variant in variants:
            served = case.run(variant, "torch")
            unstable, worst = _equals_reference(variant, case, served, generator)
            _equals_every_page(case, served, dense)
            num_poisoned += _ignores_unused(variant, case, served)
            num_rows += served[1].shape[0] * NUM_KV_HEADS
            num_unstable, error = num_unstable + unstable, max(error, worst)
    _full_budget(program, every_page, _batch("full budget", graph, [SHORT, 5], generator))
    if remembers(graph):
        remembering = make_steps(graph, NUM_KV_HEADS, generator)
        num_rows += remembering.qs.shape[2] * NUM_KV_HEADS
        num_unstable += _equals_over_steps(variants[-1], remembering, generator)
    return [
        Measurement("rows", float(num_rows), num_samples=num_rows),
        Measurement("unstable", float(num_unstable), num_samples=num_rows),
        Measurement("poisoned", float(num_poisoned), num_samples=num_poisoned),
        Measurement("max_error", error, num_samples=num_rows),
        Measurement("bytes_per_page", float(Layout(graph).bytes_per_page)),
    ]


def _equals_over_steps(program: Program, steps: Steps, generator: torch.Generator) -> int:
    """Compare what is remembered and shared over steps and layers, and give the number of unstable rows."""
    reference, served = steps.run(program, "reference"), steps.run(program, "torch")
    different = differing(served, reference)
    stable = different.clone()
    for _ in range(NUM_PERTURBATIONS if different.any() else 0):
        again = steps.perturbed(ROUNDING, generator).run(program, "reference")
        stable &= ~differing(again, reference)
    if stable.any():
        sequence, head = stable.nonzero()[0].tolist()
        step, layer = (served != reference)[:, :, sequence, head].any(-1).nonzero()[0].tolist()
        raise Mismatch(
            f"decode step {step}, layer {layer}, sequence {sequence}, KV head {head}: the torch backend attends to "
            "other pages than the reference"
        )
    return int(different.sum())


def smallest(program: Program, graph: Graph) -> list[Program]:
    """Give the program with its own integers at their lowest, if that is another program and a sound one."""
    own = {name: each for name, each in program.tunables.items() if name not in PLATFORM_TUNABLES}
    try:
        smallest = program.with_values(**{name: each.low for name, each in own.items() if isinstance(each, Int)})
        trace(smallest, graph.shape)
    except ProgramError:
        return []
    return [] if smallest == program else [smallest]


def _cases(graph: Graph, generator: torch.Generator) -> list[_Case]:
    return [
        _batch("ragged batch", graph, [0, 0, 1, 3, SHORT], generator),
        _batch("whole pages only", graph, [SHORT], generator, partial=False),
        _batch("more pages than the default budget", graph, [MANY], generator),
    ]


def _batch(name: str, graph: Graph, pages: list[int], generator: torch.Generator, partial: bool = True) -> _Case:
    """Draw sequences of this many complete pages each and a partial one; a first 0 is an empty sequence."""
    extra = torch.randint(1, graph.page_size, (len(pages),), generator=generator) if partial else 0
    lengths = torch.tensor(pages) * graph.page_size + extra
    if not pages[0]:
        lengths[0] = 0
    tokens, dim = int(lengths.max()) + 3, graph.shape.head_dim

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(len(pages), *shape, dim, generator=generator)

    q = normal(NUM_KV_HEADS * graph.shape.group)
    return _Case(name, q, normal(NUM_KV_HEADS, tokens), normal(NUM_KV_HEADS, tokens), lengths)


def _equals_reference(
    program: Program, case: _Case, served: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator
) -> tuple[int, float]:
    """Give the number of unstable rows and the largest error of the others."""
    out, attended = case.run(program, "reference")
    stable = torch.ones(attended.shape[:2], dtype=torch.bool)
    different = (served[1] != attended).any(-1)
    if different.any():
        stable = _stable_rows(program, case, attended, generator)
    if (different & stable).any():
        at = (different & stable).nonzero()[0]
        ours, reference = (x[tuple(at)].nonzero()[:, 0].tolist() for x in (served[1], attended))
        raise Mismatch(f"{case.row(at)}: the torch backend attends to pages {ours}, the reference to {reference}")
    distance = (served[0] - out).abs().amax((-1, -2))
    far = ~(distance <= TOLERANCE) & ~different
    if far.any():
        at = far.nonzero()[0]
        raise Mismatch(f"{case.row(at)}: the torch backend's output is {distance[tuple(at)]:.3g} from the reference's")
    return int(different.sum()), float(distance[~different].max()) if (~different).any() else 0.0


def _stable_rows(program: Program, case: _Case, attended: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Give the rows on which the reference keeps its choice under rounding: bool [batch, num_kv_heads]."""
    stable = torch.ones(attended.shape[:2], dtype=torch.bool)
    for _ in range(NUM_PERTURBATIONS):
        stable &= (case.perturbed(generator).run(program, "reference")[1] == attended).all(-1)
    return stable


def _equals_every_page(
    case: _Case, served: tuple[torch.Tensor, torch.Tensor], dense: tuple[torch.Tensor, torch.Tensor]
) -> None:
    covered = (served[1] == dense[1]).all(-1)
    odd = covered & (served[0] != dense[0]).flatten(2).any(-1)
    if odd.any():
        raise Mismatch(f"{case.row(odd.nonzero()[0])}: all pages are attended, but the output is not every_page's")


def _full_budget(program: Program, every_page: Program, case: _Case) -> None:
    """Reserve every page by the widest window: the same code must then give every_page's bits."""
    ranges = {name: program.tunables[name] for name in ("window", "sink")}
    widest = program.with_values(**{name: each.high for name, each in ranges.items() if isinstance(each, Int)})
    served, dense = case.run(widest, "torch"), case.run(every_page, "torch")
    num_reserved = int(widest.values["window"]) + int(widest.values["sink"])
    fits = -(-case.lengths // int(widest.values["page_size"])) <= num_reserved
    missing = (served[1] != dense[1]).any(-1) & fits[:, None]
    if missing.any():
        raise Mismatch(f"{case.row(missing.nonzero()[0])}: the widest window leaves pages unattended")
    _equals_every_page(case, served, dense)


def _ignores_unused(program: Program, case: _Case, served: tuple[torch.Tensor, torch.Tensor]) -> int:
    """Put NaN and garbage where nothing may be read, and give the number of rows that did not change by a bit."""
    out, attended = case.soiled().run(program, "torch")
    odd = (attended != served[1]).any(-1) | (out != served[0]).flatten(2).any(-1)
    if odd.any():
        raise Mismatch(f"{case.row(odd.nonzero()[0])}: NaN or garbage beyond the sequence's end changes the result")
    return odd.numel()
