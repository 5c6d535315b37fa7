"""What came of the questions, beside what dense attention makes of the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.evaluator import intervals
from search.evaluator.outcomes import measured
from search.records import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.evaluator.intervals import Interval

FLOOR = 0.8  # of dense: a kind that dense attention does not answer says nothing about sparse attention


@dataclass(frozen=True)
class Judged:
    """One question: the number of its prompt, its kind and length, and the share of its answer that is right."""

    prompt: int
    kind: str
    length: int
    share: float

    @property
    def right(self) -> bool:
        """Whether all of it is right."""
        return self.share == 1.0


def judged_of(rows: Iterable[Sequence[Any]]) -> list[Judged]:
    """Read an engine's reply."""
    return [Judged(int(prompt), str(kind), int(length), float(share)) for prompt, kind, length, share in rows]


def cells(judged: Sequence[Judged]) -> dict[tuple[str, int], list[Judged]]:
    """Group questions by kind and length, in the order in which they stand."""
    found: dict[tuple[str, int], list[Judged]] = {}
    for each in judged:
        found.setdefault((each.kind, each.length), []).append(each)
    return found


def answered(dense: Sequence[Judged]) -> list[Judged]:
    """Give the questions of kinds and lengths of which dense attention answers at least `FLOOR`."""
    kept = {cell for cell, asked in cells(dense).items() if _share(asked) >= FLOOR}
    return [each for each in dense if (each.kind, each.length) in kept]


def dropped(dense: Sequence[Judged]) -> list[str]:
    """Name kinds and lengths that dense attention answers too rarely, each with its figure."""
    return [
        f"{kind} at {length} ({_share(asked):.0%})"
        for (kind, length), asked in cells(dense).items()
        if _share(asked) < FLOOR
    ]


def dense_measurements(dense: Sequence[Judged]) -> list[Measurement]:
    """Tell what dense attention answers of each kind at each length, of the dropped ones too."""
    return [
        Measurement(f"dense_accuracy_{kind}_{length}", _share(asked), num_samples=len(asked))
        for (kind, length), asked in cells(dense).items()
    ]


def paired_measurements(sparse: Sequence[Judged], dense: Sequence[Judged]) -> list[Measurement]:
    """Compare the same questions, answered by both; both in the same order.

    `accuracy`: share of questions that are wholly right; `partial`: mean share of each that is; `loss`: dense accuracy
    less the program's, above 0 where the program is worse. Intervals are over whole prompts, and never of no width.
    """
    found = [
        _accuracy("accuracy", sparse),
        _accuracy("dense_accuracy", dense),
        measured("partial", _over_prompts(sparse, [each.share for each in sparse])),
        _loss(sparse, dense),
    ]
    for names in (list(dict.fromkeys(each.kind for each in sparse)), sorted({each.length for each in sparse})):
        for name in names:
            both = [(s, d) for s, d in zip(sparse, dense, strict=True) if name in {s.kind, s.length}]
            found.append(_accuracy(f"accuracy_{name}", [s for s, _ in both]))
            found.append(_accuracy(f"dense_accuracy_{name}", [d for _, d in both]))
    return [*found, *_by_prompt(sparse)]


def _by_prompt(judged: Sequence[Judged]) -> list[Measurement]:
    """Tell what is answered of each prompt, in the order of the questions: whoever compares programs draws prompts."""
    groups: dict[tuple[str, int, int], list[Judged]] = {}
    for each in judged:
        groups.setdefault((each.kind, each.length, each.prompt), []).append(each)
    return [
        Measurement(f"right_{kind}_{length}_prompt_{prompt}", _share(asked), num_samples=len(asked))
        for (kind, length, prompt), asked in groups.items()
    ]


def _accuracy(name: str, judged: Sequence[Judged]) -> Measurement:
    """Give the share of right answers with the wider of Wilson's interval and one over whole prompts."""
    return measured(name, intervals.clustered_share(_over_prompts(judged, [float(each.right) for each in judged])))


def _loss(sparse: Sequence[Judged], dense: Sequence[Judged]) -> Measurement:
    """Give what is lost with the wider of an interval over whole prompts and one that answers alike have too."""
    lost = [float(d.right) - s.right for s, d in zip(sparse, dense, strict=True)]
    ends = intervals.paired_shares(lost.count(1.0), lost.count(-1.0), len(lost))
    return measured("loss", intervals.wider(_over_prompts(sparse, lost), *ends))


def _over_prompts(judged: Sequence[Judged], values: Sequence[float]) -> Interval:
    """Give the mean of values, with an interval that draws whole prompts."""
    groups: dict[int, list[float]] = {}
    for each, value in zip(judged, values, strict=True):
        groups.setdefault(each.prompt, []).append(value)
    return intervals.clustered_mean(list(groups.values()))


def _share(judged: Sequence[Judged]) -> float:
    return sum(each.right for each in judged) / len(judged)
