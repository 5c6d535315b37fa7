"""Who stands on the front: standings of one circumstance compared in fidelity, retrieval and speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    best: list[Row] = []
    beaten: list[tuple[Row, Row | None]] = []  # each with one that beats it
    for row in ranked:
        by = next((other for other in best if beats(other, row)), None)
        if by is None:
            best = [other for other in best if not beats(row, other)] + [row]
        beaten.append((row, by))
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
    pairs = [
        (_negative(one.kl), _negative(other.kl)),
        (_negative(one.retrieval_loss), _negative(other.retrieval_loss)),
        _speeds(one, other),
    ]
    if all(each is None for pair in pairs[:2] for each in pair):
        pairs.append((one.accuracy, other.accuracy))
    known = [pair for pair in pairs if pair != (None, None)]
    return all(_at_least(*pair) for pair in known) and any(not _at_least(b, a) for a, b in known)


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
