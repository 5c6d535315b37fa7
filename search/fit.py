"""A rule at a declared cost: with the largest budget at which dense attention reads so many times its bytes.

Programs are compared at equal cost, so a text with its values is a rule, and what is measured of it is the rule with a
budget that the platform fits (see `docs/language.md`). Costs are the cost model's, over all layers of the model.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from search.records import Record, Stage, Status
from vortex_dsl import ProgramError, Shape, load_program, trace
from vortex_dsl.analysis.cost import cost_of
from vortex_dsl.tunables import BUDGET, Choice, Int

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl.frontend.program import Program
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.tunables import Float, Value

    Values = tuple[tuple[str, Value], ...]

NUM_STEPS = 1000  # into which the range of a budget that is no whole number is cut
MAX_GUESSES = 6  # before a search goes on by halves
DIGITS = 4  # significant ones of such a budget


@dataclass(frozen=True)
class Terms:
    """On what costs are compared: the shape and the number of layers of the model, and every length that is judged."""

    shape: Shape
    num_layers: int
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Fitted:
    """A rule with its budget fitted to a cost ratio, and the digest of that program.

    `cost_ratios`: by length, how many times the program's bytes dense attention reads, over all layers. Where the rule
    cannot reach the ratio, `refusal` says why, values and digest are those that were given, and budget and cost ratios
    those that come nearest. `budget` is None where the program has none.
    """

    values: Values
    digest: str
    budget: float | None
    cost_ratios: tuple[tuple[int, float], ...]
    refusal: str = ""

    @property
    def cost_ratio(self) -> float:
        """The least cost ratio of all lengths."""
        return min(ratio for _, ratio in self.cost_ratios)


@lru_cache(maxsize=64)
def traced(text: str, values: Values, shape: Shape) -> tuple[Program, Graph]:
    """Load and trace a text with values, whether or not it looks like the path of a file. Raises ProgramError."""
    program = _loaded(text).with_values(**dict(values))
    return program, trace(program, shape)


@lru_cache(maxsize=64)
def _loaded(text: str) -> Program:
    """Load a text: once for all budgets that it is fitted with, so that lists of numbers are made once too."""
    return load_program(text if "\n" in text else text + "\n")


@lru_cache(maxsize=4096)
def fit(text: str, values: Values, terms: Terms, ratio: float) -> Fitted:
    """Fit a rule's budget to a cost ratio, 0 for none: then it is judged as written. Raises ProgramError.

    Of all budgets that reach the ratio at every length it is the one that reads most, where more of it always reads
    more (or always less); else one that reaches the ratio beside one that does not.
    """
    program, graph = traced(text, values, terms.shape)
    name = program.budget if ratio else None
    if name is None:
        return _as_written(program, graph, terms, ratio)
    return _Search(program, name, terms, ratio).fitted(values, graph.digest)


def _as_written(program: Program, graph: Graph, terms: Terms, ratio: float) -> Fitted:
    costs, name = _cost_ratios(program, terms), program.budget
    budget = None if name is None else float(program.values[name])
    told = Fitted(program.overrides, graph.digest, budget, costs)
    if told.cost_ratio >= ratio:
        return told
    remedy = f"it has no budget that could be fitted: call a number '{BUDGET}', or declare one by budget=True"
    return replace(told, refusal=f"{_falls_short(program, costs, ratio)}; {remedy}")


def _falls_short(program: Program, costs: Sequence[tuple[int, float]], ratio: float) -> str:
    length, found = min(costs, key=lambda cost: cost[1])
    return (
        f"'{program.name}' is not judged at a cost ratio of {ratio:g}: at {length:,} tokens dense attention reads "
        f"{found:.3g} times its bytes"
    )


def at_ratio(record: Record, ratio: float) -> Record:
    """Give a candidate as it was measured at a cost ratio: with the budget that its check tells, and those evaluations.

    Raises LookupError where it was not.
    """
    checked = record.evaluation(Stage.CHECK, ratio)
    if checked is None or checked.status is not Status.OK:
        raise LookupError(f"candidate {record.candidate.id} was not measured at a cost ratio of {ratio:g}")
    proposal, budget = record.candidate.proposal, checked.value("budget")
    program = load_program(proposal.text).with_values(**dict(proposal.values))
    if ratio and program.budget and budget is not None:
        whole = isinstance(program.tunables[program.budget], Int)
        program = program.with_values(**{program.budget: int(budget) if whole else budget})
    proposal = replace(proposal, values=program.overrides)
    candidate = replace(record.candidate, proposal=proposal, program_digest=checked.key.program_digest)
    return Record(candidate, tuple(each for each in record.evaluations if each.ratio == ratio))


class _Search:
    """Looks for the value of a budget in its range, between one that reaches the ratio and one that does not."""

    def __init__(self, program: Program, name: str, terms: Terms, ratio: float) -> None:
        self._program, self._name, self._terms, self._ratio = program, name, terms, ratio
        self._values = _range(program, name)

    def fitted(self, values: Values, digest: str) -> Fitted:
        """Give the rule with the value that was found, or as it was given with the reason why there is none."""
        first, last = 0, len(self._values) - 1
        ends = sorted((first, last), key=self._reads)
        if self._reaches(ends[1]):  # what reads most reaches the ratio
            return self._told(ends[1])
        if self._reaches(ends[0]):
            return self._told(self._between(*ends))
        nearest = self._costs(ends[0])
        if not nearest:
            raise ProgramError(f"'{self._program.name}' is refused at both ends of its budget '{self._name}'")
        short = _falls_short(self._program, nearest, self._ratio)
        budget = float(self._values[ends[0]])
        return Fitted(values, digest, budget, nearest, f"{short} even with {self._name}={budget:g}")

    def _between(self, reaching: int, missing: int) -> int:
        """Find the last that reaches the ratio, by the slope where bytes grow evenly with the budget, or by halves."""
        way = 1 if missing > reaching else -1
        guess = reaching + way
        for i in itertools.count():
            if abs(missing - reaching) <= 1:
                return reaching
            slope = (self._reads(guess) - self._reads(reaching)) / abs(guess - reaching)
            if self._reaches(guess):
                reaching = guess
            else:
                missing = guess
            room = abs(missing - reaching) - 1
            even = i < MAX_GUESSES and 0 < slope < math.inf
            jump = int((1 / self._ratio - self._reads(reaching)) / slope) if even else (room + 1) // 2
            guess = reaching + way * min(max(jump, 1), max(room, 1))
        raise AssertionError("what lies between two numbers comes to an end")

    def _told(self, at: int) -> Fitted:
        program = self._at(at)
        graph = trace(program, self._terms.shape)
        return Fitted(program.overrides, graph.digest, float(self._values[at]), self._costs(at))

    def _at(self, at: int) -> Program:
        return self._program.with_values(**{self._name: self._values[at]})

    def _costs(self, at: int) -> tuple[tuple[int, float], ...]:
        """Give the cost ratios at one value; none where the language refuses the program with it."""
        try:
            return _cost_ratios(self._at(at), self._terms)
        except ProgramError:
            return ()

    def _reads(self, at: int) -> float:
        return max((1 / ratio for _, ratio in self._costs(at)), default=math.inf)

    def _reaches(self, at: int) -> bool:
        costs = self._costs(at)
        return bool(costs) and all(ratio >= self._ratio for _, ratio in costs)


@lru_cache(maxsize=4096)
def _cost_ratios(program: Program, terms: Terms) -> tuple[tuple[int, float], ...]:
    graph = trace(program, terms.shape)
    return tuple((length, cost_of(graph, length, terms.num_layers).ratio) for length in sorted(set(terms.lengths)))


def _range(program: Program, name: str) -> Sequence[Value]:
    """Give the values that a budget may have, in order."""
    tunable = program.tunables[name]
    assert not isinstance(tunable, Choice), "a budget is a number"
    if isinstance(tunable, Int):
        return range(tunable.low, tunable.high + 1)
    inner = (float(f"{_between(tunable, i / NUM_STEPS):.{DIGITS}g}") for i in range(1, NUM_STEPS))
    return sorted({tunable.low, tunable.high, *(each for each in inner if tunable.low < each < tunable.high)})


def _between(tunable: Float, share: float) -> float:
    """Give the value so far up the range, on the scale that the tunable names."""
    if tunable.log:
        return tunable.low * (tunable.high / tunable.low) ** share
    return tunable.low + share * (tunable.high - tunable.low)
