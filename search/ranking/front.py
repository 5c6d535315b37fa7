"""Who stands on the front: standings of one circumstance compared in fidelity, retrieval and speed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from search.ranking.standing import Standing


class Figures(Protocol):
    """What one row may beat another by: those of a standing, or of whatever else was read of one."""

    @property
    def kl(self) -> float | None: ...  # noqa: D102 - see Standing
    @property
    def retrieval_loss(self) -> float | None: ...  # noqa: D102
    @property
    def accuracy(self) -> float | None: ...  # noqa: D102
    @property
    def speedup(self) -> float | None: ...  # noqa: D102
    @property
    def speedup_low(self) -> float | None: ...  # noqa: D102
    @property
    def modelled_speedup(self) -> float | None: ...  # noqa: D102
    @property
    def target(self) -> str: ...  # noqa: D102


Row = TypeVar("Row", bound=Figures)


@dataclass(frozen=True)
class Section:
    """Standings that may be compared: of one ratio, lengths, model, machine, evaluator's version and workload.

    `rows`: all of them as they came; `front`: what nothing beats; `folded`: what something does; `unranked`: without
    a loss, or stopped on the way, each with its reason; `references`: dense attention, the oracles and whatever else
    saves too little to be a rule.
    """

    rows: tuple[Standing, ...]
    front: tuple[Standing, ...]
    folded: tuple[Standing, ...]
    unranked: tuple[Standing, ...]
    references: tuple[Standing, ...]


@dataclass(frozen=True)
class Front:
    """The front of a section, and what is told beside it: whoever needs no more need not read all rows.

    `first`: the best row of all, which says where they were measured; `members`: what nothing beats; `behind`: of what
    something does, the published rules and the confirmed ones, where they were asked for; `references`: as in a
    section, those with a figure. All of these best first. `num_beaten` counts who is `behind` too; `num_asked`: how
    many of all rows are of programs that an endpoint was asked for, and `dollars` what these cost.
    """

    first: Standing
    members: tuple[Standing, ...]
    behind: tuple[Standing, ...] = ()
    references: tuple[Standing, ...] = ()
    num_beaten: int = 0
    num_unranked: int = 0
    num_asked: int = 0
    dollars: float = 0.0

    def cut(self, most: int | None) -> Front:
        """Keep the first of its members; the others count among those that are beaten."""
        kept = self.members[:most]
        return replace(self, members=kept, num_beaten=self.num_beaten + len(self.members) - len(kept))


def circumstance(standing: Standing) -> tuple[object, ...]:
    """Give what two rows must share to be compared."""
    s = standing
    return s.ratio, s.model_digest, s.environment, s.evaluator_version, s.lengths, s.workload


def sections(standings: Iterable[Standing]) -> list[Section]:
    """Divide standings by circumstance, in the order in which they come, and find the front of each."""
    divided: dict[tuple[object, ...], list[Standing]] = {}
    for standing in standings:
        divided.setdefault(circumstance(standing), []).append(standing)
    return [_section(rows) for rows in divided.values()]


def has_figure(standing: Standing) -> bool:
    """Say whether anything was measured of a row that the table shows."""
    return has_loss(standing) or standing.recall is not None or standing.speedup is not None


def has_loss(standing: Standing) -> bool:
    """Say whether anything is known of a row's accuracy."""
    return any(each is not None for each in (standing.kl, standing.retrieval_loss, standing.accuracy))


def is_faster(standing: Standing) -> bool:
    """Say whether a row was served faster than dense attention beyond its interval."""
    return standing.speedup_low is not None and standing.speedup_low > 1.0


def front_of(ranked: Sequence[Row]) -> list[Row]:
    """Give those of some rows with a loss that none of the others beats, in the order in which they came."""
    best: list[Row] = []  # whoever beat a row last stands first: most rows are beaten by the same few
    beaten: list[tuple[Row, Row | None]] = []  # each with one that beats it
    for row in ranked:
        place = next((place for place, other in enumerate(best) if beats(other, row)), None)
        if place is None:
            best = [other for other in best if not beats(row, other)] + [row]
        elif place:
            best.insert(0, best.pop(place))
        beaten.append((row, None if place is None else best[0]))
    # What only a row that was beaten later had beaten comes back: with figures missing, beating is not transitive.
    kept = {id(row) for row in best}
    return [row for row, by in beaten if id(by) not in kept and not any(beats(other, row) for other in best)]


def _section(rows: Sequence[Standing]) -> Section:
    rules = [row for row in rows if not row.reference]
    ranked = [row for row in rules if row.status == "ok" and has_loss(row)]
    front = front_of(ranked)
    kept, compared = {id(row) for row in front}, {id(row) for row in ranked}
    return Section(
        tuple(rows),
        tuple(front),
        tuple(row for row in ranked if id(row) not in kept),
        tuple(row for row in rules if id(row) not in compared),
        tuple(row for row in rows if row.reference),
    )


def beats(one: Figures, other: Figures) -> bool:
    """Say whether one is at least as good as the other in every figure, and better in one.

    Speed is the measured lower bound where both were served, else what is modelled of both. A figure that only one
    has speaks for it; accuracy on the probe counts where neither has a loss.
    """
    is_better = False
    for mine, theirs in _pairs(one, other):
        if not _at_least(mine, theirs):
            return False
        is_better = is_better or not _at_least(theirs, mine)
    return is_better


def _pairs(one: Figures, other: Figures) -> Iterator[tuple[float | None, float | None]]:
    """Give what is compared, more is better: one after the other, as the first often decides."""
    yield _negative(one.kl), _negative(other.kl)
    yield _negative(one.retrieval_loss), _negative(other.retrieval_loss)
    yield _speeds(one, other)
    if one.kl is other.kl is one.retrieval_loss is other.retrieval_loss is None:
        yield one.accuracy, other.accuracy


def _at_least(one: float | None, other: float | None) -> bool:
    return other is None or (one is not None and one >= other)


def _negative(loss: float | None) -> float | None:
    return None if loss is None else -loss


def _speeds(one: Figures, other: Figures) -> tuple[float | None, float | None]:
    measured = _measured(one), _measured(other)
    modelled = one.modelled_speedup, other.modelled_speedup
    if measured == (None, None) or (None in measured and None not in modelled and one.target == other.target):
        return modelled
    return measured


def _measured(standing: Figures) -> float | None:
    """Give the lower bound of the speed-up; a single pair of rounds has none but itself."""
    return standing.speedup if standing.speedup_low is None else standing.speedup_low
