"""What a figure of losses shows of rows that come one after the other: the best few of each kind, and how many more.

However many rows there are, so few are held. Rows of several circumstances may not be compared: they are divided, and
those of the one in which most rules have a loss are shown.
"""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Generic, TypeVar

from search.plots.errors import PlotError
from search.ranking.front import circumstance
from search.report.merit import MERITS, is_found

if TYPE_CHECKING:
    from collections.abc import Hashable

    from search.ranking.standing import Standing
    from search.report.merit import Merit

MAX_MARKS = 400  # of a kind, best first
MODELLED = "modelled_speedup"
SPEEDS = ("speedup", MODELLED, "bytes_per_page")  # what is drawn from left to right

Rules = TypeVar("Rules", bound="Ranked")


class Best:
    """The best `MAX_MARKS` of some rows by a merit; of equals the older, then whichever came first."""

    def __init__(self, merit: Merit) -> None:
        self._merit = merit
        self._kept: list[tuple[float, int, int, Standing]] = []  # a heap, the worst first

    def add(self, row: Standing, number: int) -> None:
        """Keep a row that has the figure, if it is among the best so far; `number`: which of all rows it is."""
        entry = -rank(self._merit, row), -row.id, -number, row
        if len(self._kept) < MAX_MARKS:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    @property
    def rows(self) -> list[Standing]:
        """Give them, best first."""
        return [row for *_, row in sorted(self._kept, key=lambda each: each[:3], reverse=True)]


def rank(merit: Merit, row: Standing) -> float:
    """Give a row's figure so that less is better."""
    value = merit.value(row)
    assert value is not None, "only rows with the figure are ranked"
    return value if merit.is_loss else -value


class Ranked(ABC):
    """Rules of one circumstance that have a merit's figure. Subclasses keep of them what their figure shows."""

    def __init__(self, merit: Merit) -> None:
        self.merit, self.num_rules = merit, 0

    @abstractmethod
    def add(self, row: Standing, *, is_on_front: bool) -> None:
        """Take in a rule that was not stopped."""


class AtRatio(Ranked):
    """Rules at one cost ratio: how many have each speed, and the best that have it, by kind and whether on the front.

    A speed that is modelled for one device is another than that for another one: see `of_device`.
    """

    def __init__(self, merit: Merit) -> None:
        super().__init__(merit)
        self.numbers: Counter[str] = Counter()
        self._best: dict[tuple[str, bool, bool], Best] = defaultdict(lambda: Best(merit))

    def add(self, row: Standing, *, is_on_front: bool) -> None:
        """Take in a rule that was not stopped."""
        self.num_rules += 1
        for field in SPEEDS:
            value = getattr(row, field)
            if value is not None and math.isfinite(value):
                speed = of_device(row.target) if field == MODELLED else field
                self.numbers[speed] += 1
                self._best[speed, is_found(row), is_on_front].add(row, self.num_rules)

    @property
    def target(self) -> str:
        """Give the device that most speeds are modelled for, nothing where none is."""
        known = {each.removeprefix(of_device("")): number for each, number in self.numbers.items()
                 if each.startswith(of_device("")) and each != of_device("")}  # fmt: skip
        return max(sorted(known), key=lambda device: known[device], default="")

    def best(self, speed: str, *, found: bool, on_front: bool) -> list[Standing]:
        """Give the best that have a speed: found or published rules, on the front or behind it."""
        return self._best[speed, found, on_front].rows

    def leading(self, speed: str) -> list[Standing]:
        """Give the best on the front, of both kinds."""
        both = (row for kind in (True, False) for row in self.best(speed, found=kind, on_front=True))
        return sorted(both, key=lambda row: (rank(self.merit, row), row.id))


def of_device(target: str) -> str:
    """Name the speed that is modelled for a device."""
    return f"{MODELLED} {target}"


class OverRatios(Ranked):
    """Rules at all cost ratios: the best of each kind at each, and the best of the others."""

    def __init__(self, merit: Merit) -> None:
        super().__init__(merit)
        self.ratios: set[float] = set()
        self._bests: dict[bool, dict[float, tuple[Standing, int]]] = defaultdict(dict)
        self._others: dict[bool, Best] = defaultdict(lambda: Best(merit))

    def add(self, row: Standing, *, is_on_front: bool) -> None:  # noqa: ARG002 - a curve shows no front
        """Take in a rule that was not stopped."""
        self.num_rules += 1
        self.ratios.add(row.ratio)
        kind, other = is_found(row), (row, self.num_rules)
        best = self._bests[kind].get(row.ratio)
        if best is None or self._order(row) < self._order(best[0]):
            self._bests[kind][row.ratio] = other
            if best is None:
                return
            other = best
        self._others[kind].add(*other)

    def bests(self, *, found: bool) -> list[Standing]:
        """Give the best at each cost ratio, ascending."""
        return [row for _, (row, _) in sorted(self._bests[found].items(), key=lambda each: each[0])]

    def others(self, *, found: bool) -> list[Standing]:
        """Give the best of the others."""
        return self._others[found].rows

    def _order(self, row: Standing) -> tuple[float, int]:
        return rank(self.merit, row), row.id


class Group(Generic[Rules]):
    """Rows of one circumstance, the first of which says where they were measured."""

    def __init__(self, first: Standing, kind: type[Rules]) -> None:
        self.first, self.num_rows = first, 0
        self._by_merit = [kind(merit) for merit in MERITS]
        self._are_known = [False] * len(MERITS)

    def add(self, row: Standing, *, is_on_front: bool) -> None:
        """Take in a row."""
        self.num_rows += 1
        for i, ranked in enumerate(self._by_merit):
            if not row.reference and ranked.merit.is_drawable(row):
                self._are_known[i] = True
                if row.status == "ok":
                    ranked.add(row, is_on_front=is_on_front)

    @property
    def rules(self) -> Rules | None:
        """Give the rules by the figure that tells them apart (`search.report.merit.merit_of`), None without one."""
        return next((each for each, known in zip(self._by_merit, self._are_known, strict=True) if known), None)

    @property
    def num_known(self) -> int:
        """Give how many rules have it."""
        return self.rules.num_rules if self.rules else 0


class Gathered(Generic[Rules]):
    """Rows as they come, divided by all of their circumstance but the cost ratio."""

    def __init__(self, kind: type[Rules]) -> None:
        self._kind = kind
        self._groups: dict[Hashable, Group[Rules]] = {}
        self._num_rows = 0

    def add(self, row: Standing, *, is_on_front: bool = False) -> None:
        """Take in the next row."""
        where = circumstance(row)[1:]
        group = self._groups.get(where)
        if group is None:
            group = self._groups[where] = Group(row, self._kind)
        group.add(row, is_on_front=is_on_front)
        self._num_rows += 1

    def fullest(self, where: str) -> tuple[Group[Rules], Rules, str]:
        """Give the circumstance with most losses, its rules, and in words how many rows are left out.

        Raises PlotError where no rule has a finite loss; `where` says in words which rows these are.
        """
        group = max(self._groups.values(), key=lambda each: each.num_known, default=None)
        if group is None:
            raise PlotError(f"no row {where} is like what was asked for; `vortex leaderboard` lists what there is")
        if group.rules is None or not group.num_known:
            remedy = "let the campaign go on until fidelity has been measured there"
            raise PlotError(f"no rule has a finite loss {where}: {remedy}")
        num_other = self._num_rows - group.num_rows
        told = f"{num_other:,} rows of other circumstances are not drawn" if num_other else ""
        return group, group.rules, told


class OverAll:
    """Rows of all cost ratios as a curve shows them, with the references beside them that are judged as written."""

    def __init__(self) -> None:
        self.at_ratios = Gathered(OverRatios)
        self._references: dict[Hashable, list[Standing]] = defaultdict(list)

    def add(self, row: Standing) -> None:
        """Take in the next row."""
        if row.ratio:
            self.at_ratios.add(row)
        elif row.reference:
            self._references[_place(row)].append(row)

    def references(self, row: Standing) -> list[Standing]:
        """Give the references that were asked the same as a row, at the same place."""
        return self._references.get(_place(row), [])


def _place(row: Standing) -> Hashable:
    return row.model_digest, row.environment, row.evaluator_version, row.workload
