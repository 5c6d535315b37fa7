"""What was tried before and what came of it: by family, by kind of change, what is under way, and what failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from search.agents.shown.figures import at, idea, passed
from search.agents.shown.section import Section
from search.archive.families import families as archived
from search.archive.moves import JOINT
from search.parents import BEFORE_ENGINES, has_failed
from search.records import Record, Status
from search.report.wording import cut
from search.telling.rationale import reasons_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from search.archive.families import Family
    from search.records import Candidate, Context

NUM_FAMILIES, NUM_MOVES, NUM_PENDING = 20, 12, 8
NUM_OWN, NUM_OTHERS = 3, 4  # failures
MOST_READ = 2_000  # of the newest records, so that a question takes no longer the longer a campaign is
MAX_MESSAGE, MAX_CHANGE = 240, 60  # characters
FAMILIES = "Ideas that were tried, by family"
FAMILIES_PRIORITY, MOVES_PRIORITY, PENDING_PRIORITY, FAILURES_PRIORITY = 3, 6, 5, 2


def families(context: Context) -> Section:
    """List the families of programs that were tried, with how many there are and the best that came of each."""
    ratios = context.ratios or context.archive.ratios
    told = [(each, _masses(each, ratios)) for each in archived(_newest(context), ratios) if _was_admitted(each)]
    ordered = sorted(told, key=lambda pair: _order(*pair))
    lines = [f"* {each.name}: {_outcome(each, masses)}" for each, masses in ordered[:NUM_FAMILIES]]
    rest = [each.name for each, _ in ordered[NUM_FAMILIES:]]
    lines += [f"* and {len(rest)} that did worse: {cut(', '.join(rest), 400)}"] if rest else []
    return Section(FAMILIES, "\n".join(lines), FAMILIES_PRIORITY)


def _was_admitted(each: Family) -> bool:
    return any(record.candidate.status is Status.OK for record in each.records)


def _masses(each: Family, ratios: Sequence[float]) -> dict[float, float]:
    """Give the most mass that a program of a family keeps at each cost ratio."""
    told = {ratio: [mass for r in each.records if (mass := _mass(r, ratio)) is not None] for ratio in ratios}
    return {ratio: max(masses) for ratio, masses in sorted(told.items()) if masses}


def _order(each: Family, masses: Mapping[float, float]) -> tuple[float, float]:
    """Order by the least loss at any cost ratio, then by the most mass: what was in no engine comes last."""
    return min((lost for lost, _ in each.best.values()), default=float("inf")), -max(masses.values(), default=0.0)


def _newest(context: Context) -> Sequence[Record]:
    return context.records[max(0, len(context.records) - MOST_READ) :]


def _outcome(each: Family, masses: Mapping[float, float]) -> str:
    failed = f", {each.num_failed} failed" if each.num_failed else ""
    told = [
        f"{at(ratio)} {lost:.4f}" + (f" by {name}" if name != each.name else "")
        for ratio, (lost, name) in each.best.items()
    ]
    kept = [f"{at(ratio)} {mass:.3f}" for ratio, mass in masses.items()]
    losses = f"least loss {', '.join(told)}" if told else "none was in an engine"
    most = f"; most mass {', '.join(kept)}" if kept and not told else ""
    return f"{len(each.records)} tried{failed}; {losses}{most}"


def _mass(record: Record, ratio: float) -> float | None:
    """Give the mass that a program keeps, by the dearest stage that tells it."""
    told = (passed(record, stage, ratio, "mass") for stage in BEFORE_ENGINES)
    return next((mass.value for mass in told if mass), None)


@dataclass
class _Move:
    """What a kind of change did to the mass that its parents keep; `best`: the largest gain, and by which change."""

    gains: list[tuple[float, str]] = field(default_factory=list)
    num: int = 0


def moves(context: Context) -> Section:
    """List the kinds of change with how often they let a program keep more of the mass than its parent, at one cost."""
    ratios = context.ratios or context.archive.ratios
    records = _newest(context)
    by_digest = {r.candidate.program_digest: r for r in records if r.candidate.status is Status.OK}
    found: dict[str, _Move] = {}
    for record in records:
        proposal = record.candidate.proposal
        parent = by_digest.get(proposal.parents[0]) if len(proposal.parents) == 1 else None
        if parent is None or record.candidate.status is not Status.OK or JOINT in proposal.operator:
            continue
        move = found.setdefault(proposal.operator, _Move())
        move.num += 1
        reasons = cut(reasons_in(proposal.rationale), MAX_CHANGE)
        changed = f"{reasons}, " if reasons else ""
        move.gains += [
            (gain, f"{changed}of {parent.candidate.name} {at(ratio)}")
            for ratio in ratios
            if (gain := _gain(record, parent, ratio)) is not None
        ]
    ordered = sorted(found.items(), key=lambda each: (-len(each[1].gains), each[0]))[:NUM_MOVES]
    return Section("What changes did", "\n".join(_told(*each) for each in ordered), MOVES_PRIORITY)


def _gain(record: Record, parent: Record, ratio: float) -> float | None:
    """Give how much more mass a candidate keeps than its parent, by the dearest stage that measured both."""
    for stage in BEFORE_ENGINES:
        own, before = (passed(each, stage, ratio, "mass") for each in (record, parent))
        if own and before:
            return own.value - before.value
    return None


def _told(name: str, move: _Move) -> str:
    if not move.gains:
        return f"* {name}: {move.num} tried, none compared with its parent"
    better = sum(gain > 0 for gain, _ in move.gains)
    (most, best), (least, worst) = max(move.gains), min(move.gains)
    told = f"* {name}: {move.num} tried, more mass than the parent in {better} of {len(move.gains)} comparisons; best "
    told += f"{most:+.3f} ({best})"
    return told if len(move.gains) == 1 else f"{told}, worst {least:+.3f} ({worst})"


def pending(context: Context) -> Section:
    """Say what is under way and not measured yet, as far as this step may know it."""
    number = context.step - len(context.records)
    if number <= 0:
        return Section(_UNDER_WAY, "", PENDING_PRIORITY)
    first = f"{number} programs, of steps {len(context.records)} to {context.step - 1}, are not measured yet"
    known = [each for each in context.pending if each.status is Status.OK][-NUM_PENDING:]
    if not known:
        return Section(_UNDER_WAY, f"{first}; what they are is not known here.", PENDING_PRIORITY)
    lines = [f"* {_proposed(each)}" for each in known]
    return Section(_UNDER_WAY, "\n".join((f"{first}. The latest:", "", *lines)), PENDING_PRIORITY)


_UNDER_WAY = "Under way"


def _proposed(candidate: Candidate) -> str:
    return f"{candidate.name}: {idea(Record(candidate))}"


def failures(context: Context, name: str) -> Section:
    """Tell what failed lately of this proposer's programs, and how often which of all others' did."""
    failed = [record for record in _newest(context) if _is_failure(record)]
    own = list(islice((record for record in reversed(failed) if _is_of(record, name)), NUM_OWN))
    others = [record for record in failed if not _is_of(record, name)]
    lines = [f"* {_failure(record)}" for record in reversed(own)]
    parts = ["\n".join(("Of your earlier programs these failed:", "", *lines))] if lines else []
    counted = list(_counted(others))
    parts += ["\n".join(("Of other proposers' programs:", "", *counted))] if counted else []
    return Section("What failed", "\n\n".join(parts), FAILURES_PRIORITY)


def _is_of(record: Record, name: str) -> bool:
    return record.candidate.proposal.proposer == name


def _is_failure(record: Record) -> bool:
    """Whether it was refused or did not behave; who only went no further than others has not failed."""
    refused = record.candidate.status is not Status.OK
    return refused or has_failed(record) or bool(record.evaluations and _is_closed(record))


def _is_closed(record: Record) -> bool:
    """Whether it was brought to no cost ratio at all."""
    return all(each.status is not Status.OK for each in record.evaluations)


def _failure(record: Record) -> str:
    message = next((e.message for e in record.evaluations if e.status is not Status.OK), record.candidate.message)
    return f"{record.candidate.name or 'refused'}: {record.status}: {cut(message, MAX_MESSAGE)}"


def _counted(records: Sequence[Record]) -> Iterator[str]:
    numbers = Counter(record.status for record in records)
    for status, number in numbers.most_common(NUM_OTHERS):
        latest = next(record for record in reversed(records) if record.status is status)
        yield f"* {status}, {number} times, the latest: {_failure(latest)}"
