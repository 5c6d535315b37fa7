"""What each proposer and each move earned, and which families of ideas came of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.archive.families import ancestor
from search.archive.moves import moves_of
from search.parents import REFERENCE, SEED
from search.ranking.leaderboard import NOTHING
from search.records import Stage, Status
from search.report.blocks import Block, Column, Grid
from search.report.merit import merit_of
from search.report.parts.lineage import by_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from search.records import Candidate, Record
    from search.report.material import Material, Place
    from search.report.merit import Merit

ENGINE = tuple(stage for stage in Stage if stage not in (Stage.CHECK, Stage.RECALL, Stage.SCREEN))
MAX_FAMILIES = 20


@dataclass(frozen=True)
class Earned:
    """What came of some candidates, in numbers of them; `best`: their best figure at each cost ratio.

    `num_errors`: refused for any other reason than being a duplicate; `num_entered`: came to a stage in an engine.
    """

    name: str
    num_proposed: int
    num_duplicates: int
    num_errors: int
    passed: tuple[tuple[str, int], ...]
    num_entered: int
    num_front: int
    best: tuple[tuple[float, float | None], ...]
    seconds: float


def credit(material: Material, place: Place | None) -> list[Block]:
    """Tell what each proposer and each move earned at one place, or of campaigns that were measured nowhere."""
    ledger = _Books(material, place)
    return [
        ledger.grid("By proposer", ledger.earned(lambda c: (c.proposal.proposer,)), ""),
        ledger.grid("By move", ledger.earned(moves), "A program that several moves made counts for each of them. "),
    ]


def families(material: Material, place: Place) -> list[Block]:
    """Tell what became of each family: programs by their oldest ancestor, on their first parents' side."""
    people = by_digest(place)
    books = _Books(material, place)
    earned = books.earned(lambda c: (_family(place.seen[c.id], people),) if c.proposal.operator != SEED else ())
    note = "A family is what descends from one program, which published rules began, or a draw of its own. "
    grid = books.grid("Families of ideas", earned[:MAX_FAMILIES], note, len(earned) - MAX_FAMILIES)
    return [grid]


def moves(candidate: Candidate) -> tuple[str, ...]:
    """Give the moves that made a candidate, each once."""
    return moves_of(candidate.proposal.operator) or (NOTHING,)


def _family(record: Record, people: Mapping[str, Record]) -> str:
    record = ancestor(record, people)
    is_drawn = not record.candidate.proposal.parents and record.candidate.proposal.operator != SEED
    return "drawn anew" if is_drawn else record.candidate.name or NOTHING


class _Books:
    """Counts over one campaign at one place."""

    def __init__(self, material: Material, place: Place | None) -> None:
        self._material, self._place = material, place
        self._stages = [name for name in material.stages if name]
        sections = place.at if place else {}
        self._ratios = [ratio for ratio in (place.ratios if place else ()) if merit_of(sections[ratio].rows)]
        self._merits: dict[float, Merit] = {
            ratio: merit for ratio in self._ratios if (merit := merit_of(sections[ratio].rows))
        }
        self._front = {s.id for section in sections.values() for s in section.front}
        self._best: dict[float, dict[int, float]] = {
            ratio: {s.id: value for s in sections[ratio].rows if (value := merit.value(s)) is not None}
            for ratio, merit in self._merits.items()
        }

    def earned(self, keys: Callable[[Candidate], Iterable[str]]) -> list[Earned]:
        """Count candidates by their keys, yardsticks aside; who has most on a front first, then who proposed most."""
        divided: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in self._material.candidates:
            if candidate.proposal.operator != REFERENCE:
                for key in keys(candidate):
                    divided[key].append(candidate)
        found = [self._earned(name, own) for name, own in divided.items()]
        return sorted(found, key=lambda e: (-e.num_front, -e.num_proposed, e.name))

    def _earned(self, name: str, own: Sequence[Candidate]) -> Earned:
        records = [self._place.seen[c.id] for c in own] if self._place else []
        ended = [{e.key.stage for e in r.evaluations if e.status is Status.OK} for r in records]
        entered = sum(any(e.key.stage in ENGINE for e in r.evaluations) for r in records)
        return Earned(
            name,
            len(own),
            sum(c.status is Status.DUPLICATE for c in own),
            sum(c.status not in (Status.OK, Status.DUPLICATE) for c in own),
            tuple((stage, sum(stage in each for each in ended)) for stage in self._stages),
            entered,
            sum(c.id in self._front for c in own),
            tuple((ratio, self._best_of(own, ratio)) for ratio in self._ratios),
            sum(c.proposal.elapsed_s for c in own) + sum(e.elapsed_s for r in records for e in r.evaluations),
        )

    def _best_of(self, own: Iterable[Candidate], ratio: float) -> float | None:
        found = [self._best[ratio][c.id] for c in own if c.id in self._best[ratio]]
        choose = min if self._merits[ratio].is_loss else max
        return choose(found, default=None)

    def grid(self, title: str, earned: Sequence[Earned], note: str, num_more: int = 0) -> Grid:
        """Draw what was counted."""
        bests = [f"best {m.field.replace('_', ' ')} at {r:g}" if r else f"best {m.field}, as written"
                 for r, m in self._merits.items()]  # fmt: skip
        names = ("proposed", "duplicates", "errors", *(f"passed {s}" for s in self._stages), "entered engine",
                 "on a front", *bests, "seconds")  # fmt: skip
        rows = tuple(_cells(each) for each in earned)
        told = f"{note}Seconds: of all its evaluations, shared ones too, and of its proposer."
        return Grid(
            title,
            (Column("of"), *(Column(name, True) for name in names)),
            rows,
            told,
            max(num_more, 0),
            tuple(i for i, e in enumerate(earned) if e.num_front),
            "Nothing was proposed.",
        )


def _cells(e: Earned) -> tuple[str, ...]:
    counts = (e.num_proposed, e.num_duplicates, e.num_errors, *(n for _, n in e.passed), e.num_entered, e.num_front)
    bests = (NOTHING if value is None else f"{value:.4g}" for _, value in e.best)
    return (e.name, *(f"{n:,}" if n else "·" for n in counts), *bests, f"{e.seconds:,.0f}")
