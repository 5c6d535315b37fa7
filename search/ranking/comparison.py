"""Candidates side by side: differences of what was measured in pairs, under one circumstance.

Questions are paired one by one, and drawn with the passage that they are asked about
(`right_<kind>_<length>_prompt_<i>`); texts by `kl_text_<i>`, layers by `recall_layer_<i>`. Speeds are paired with dense
attention only, so that between two programs the intervals of both count.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import TYPE_CHECKING

from search.evaluator import intervals
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from search.evaluator.intervals import Interval
    from search.records import Candidate, Environment, Evaluation, EvaluationKey, Record, Workload

OF_QUESTIONS = (Stage.RETRIEVAL, Stage.PROBE, Stage.TASK)
TEXT = re.compile(r"kl_text_(\d+)")
LAYER = re.compile(r"(recall|mass|output_error)_layer_(\d+)")
PASSAGE = re.compile(r"right_(?P<kind>.+)_(?P<length>\d+)_prompt_\d+")
MEASURED = (Status.OK, Status.BELOW_GATE)


class IncomparableError(ValueError):
    """These candidates cannot be compared. The message says why."""


@dataclass(frozen=True)
class Difference:
    """One figure of two candidates under one circumstance; `difference` is b - a, for speed b / a.

    `part`: of which questions, texts or layers, empty for all; `machine`: on which both were measured, in words. No
    interval where there is one pair only.
    """

    a: int
    b: int
    stage: Stage
    split: str
    ratio: float
    figure: str
    part: str
    value_a: float
    value_b: float
    difference: float
    low: float | None
    high: float | None
    num_pairs: int
    machine: str


@dataclass(frozen=True)
class Circumstances:
    """What the digests of keys stand for."""

    workloads: Mapping[str, Workload]
    environments: Mapping[str, Environment]


def compare(records: Sequence[Record], known: Circumstances) -> list[Difference]:
    """Compare every candidate with the first.

    Raises IncomparableError where two are one and the same rule, or have nothing in common.
    """
    if len(records) < 2:
        raise IncomparableError("one candidate cannot be compared; give two or more")
    for a, b in combinations(records, 2):
        _check_distinct(a.candidate, b.candidate)
    return [each for other in records[1:] for each in _pair(records[0], other, known)]


def _check_distinct(a: Candidate, b: Candidate) -> None:
    """Raise IncomparableError for one rule that is given twice: all differences would be 0, and prove nothing."""
    remedy = "there is nothing to compare; give two rules that differ, `vortex leaderboard` lists them"
    if a.id == b.id:
        raise IncomparableError(f"candidate {a.id} is given twice: {remedy}")
    is_one_graph = a.program_digest and a.program_digest == b.program_digest
    if is_one_graph or _made(a) == _made(b):
        raise IncomparableError(f"candidates {a.id} and {b.id} are one and the same rule: {remedy}")


def _made(candidate: Candidate) -> tuple[object, ...]:
    """Give what a rule was made of and how: a published one has another graph in each version of the language."""
    made = candidate.proposal
    return made.text, made.values, made.operator, made.parents


def _pair(a: Record, b: Record, known: Circumstances) -> list[Difference]:
    ours, theirs = _by_circumstance(a), _by_circumstance(b)
    found: list[Difference] = []
    for where in ours:
        if where in theirs:
            found += _differences(a, b, (ours[where], theirs[where]), known)
    if not found:
        raise IncomparableError(_nothing_common(a, b, known))
    if all(ours[where].key == theirs[where].key for where in ours.keys() & theirs.keys()):
        raise IncomparableError(
            f"candidates {a.candidate.id} and {b.candidate.id} differ in nothing but the budget, and are one and the "
            "same rule at each cost ratio at which both were measured: there is nothing to compare"
        )
    return found


def _by_circumstance(record: Record) -> dict[tuple[object, ...], Evaluation]:
    return {circumstance(e.key): e for e in record.evaluations if e.status in MEASURED}


def circumstance(key: EvaluationKey) -> tuple[object, ...]:
    """Give all of a key but the program: figures of two programs are compared where it is the same."""
    return (
        key.stage, key.workload_digest, key.model_digest, key.environment_digest, key.evaluator_version, key.seed,
        key.repeat,
    )  # fmt: skip


def _differences(
    a: Record, b: Record, pair: tuple[Evaluation, Evaluation], known: Circumstances
) -> Iterator[Difference]:
    stage, workload = pair[0].key.stage, known.workloads[pair[0].key.workload_digest]
    machine = _device(pair[0].key.environment_digest, known)
    for figure, part, values, interval in _figures(stage, pair, workload):
        yield Difference(
            a.candidate.id, b.candidate.id, stage, workload.split, pair[0].ratio, figure, part, *values,
            interval.value, interval.low, interval.high, interval.num_samples, machine,
        )  # fmt: skip


Found = tuple[str, str, tuple[float, float], "Interval"]
Passages = list[tuple[dict[str, str], range]]  # what each asks for, and which of all questions are its own


def _figures(stage: Stage, pair: tuple[Evaluation, Evaluation], workload: Workload) -> Iterator[Found]:
    if stage in OF_QUESTIONS:
        yield from _questions(pair, workload)
    elif stage is Stage.FIDELITY:
        yield from _texts(pair, workload)
    elif stage in (Stage.SCREEN, Stage.RECALL):
        yield from _layers(pair)
    elif stage is Stage.SERVE:
        yield from _speed(pair)


def _questions(pair: tuple[Evaluation, Evaluation], workload: Workload) -> Iterator[Found]:
    """Compare answers question by question. Those that share a passage are drawn together."""
    a, b = ([int(mark) for mark in each.correct] for each in pair)
    if not a or len(a) != len(b):
        return
    passages = _passages(pair[0]) or _evenly(len(a), workload.num_sequences)
    groups: dict[str, list[range]] = {"": [questions for _, questions in passages]}
    for by in ("kind", "length"):
        for names, questions in passages:
            if by in names:
                groups.setdefault(f"{by} {names[by]}", []).append(questions)
    for part, chosen in groups.items():
        mine, theirs = ([[marks[i] for i in questions] for questions in chosen] for marks in (a, b))
        yield "accuracy", part, _means([*chain(*mine)], [*chain(*theirs)]), _clustered(mine, theirs)


def _passages(evaluation: Evaluation) -> Passages:
    """Give the passages, in the questions' order.

    Nothing where there are no such figures, or they are not what the questions come to.
    """
    found: Passages = []
    start = 0
    for measurement in evaluation.measurements:
        named = PASSAGE.fullmatch(measurement.name)
        if not named:
            continue
        questions = range(start, start + measurement.num_samples)
        marks = evaluation.correct[questions.start : questions.stop]
        if not marks or abs(marks.count("1") / len(marks) - measurement.value) > 1e-6:
            return []
        found.append((named.groupdict(), questions))
        start = questions.stop
    return found if start == len(evaluation.correct) else []


def _evenly(num_questions: int, num_passages: int) -> Passages:
    """Share questions out where each passage has as many; else each is drawn alone."""
    each = num_questions // num_passages if num_passages and num_questions % num_passages == 0 else 1
    return [({}, range(i, i + each)) for i in range(0, num_questions, each)]


def _texts(pair: tuple[Evaluation, Evaluation], workload: Workload) -> Iterator[Found]:
    """Compare the distance from dense attention text by text, which have the workload's lengths in turn."""
    values = [numbered(each, TEXT) for each in pair]
    common = sorted(values[0].keys() & values[1].keys())
    if not common:
        return
    lengths = workload.all_lengths
    groups = {"": common}
    if len(lengths) > 1:
        groups |= {f"length {n}": [i for i in common if lengths[i % len(lengths)] == n] for n in sorted(set(lengths))}
    for part, chosen in groups.items():
        if chosen:
            a, b = ([each[i] for i in chosen] for each in values)
            yield "kl", part, _means(a, b), _of_texts([i // len(lengths) for i in chosen], a, b)


def _of_texts(documents: Sequence[int], a: Sequence[float], b: Sequence[float]) -> Interval:
    """Give the mean difference over texts, whose documents are drawn where there are enough of them.

    See `search.evaluator.fidelity.figures`.
    """
    apart = of_documents(documents, [theirs - mine for mine, theirs in zip(a, b, strict=True)])
    return _mean_difference(a, b) if len(apart) == len(a) else _over(apart)


def of_documents(documents: Sequence[int], values: Sequence[float]) -> list[list[float]]:
    """Group values of texts by their documents where there are enough of them; else each stands alone."""
    if len(set(documents)) < intervals.LEAST_DRAWN:
        return [[value] for value in values]
    found: dict[int, list[float]] = defaultdict(list)
    for document, value in zip(documents, values, strict=True):
        found[document].append(value)
    return list(found.values())


def _over(apart: Sequence[Sequence[float]]) -> Interval:
    """Give the mean of differences with an interval over whole groups of them; as many pairs are told."""
    return replace(intervals.clustered_mean(apart), num_samples=len(apart))


def numbered(evaluation: Evaluation, pattern: re.Pattern[str]) -> dict[int, float]:
    """Give the measurements whose names a pattern fits, by the number that it finds there."""
    named = ((pattern.fullmatch(m.name), m.value) for m in evaluation.measurements)
    return {int(found.group(1)): value for found, value in named if found}


def _layers(pair: tuple[Evaluation, Evaluation]) -> Iterator[Found]:
    """Compare what each layer keeps; over all layers the layers are the pairs."""
    for name in ("recall", "mass", "output_error"):
        values = [_of_layers(each, name) for each in pair]
        common = sorted(values[0].keys() & values[1].keys())
        if not common:
            continue
        a, b = ([each[i] for i in common] for each in values)
        yield name, "over layers", _means(a, b), _mean_difference(a, b)
        for layer, mine, theirs in zip(common, a, b, strict=True):
            yield name, f"layer {layer}", (mine, theirs), _mean_difference([mine], [theirs])


def _of_layers(evaluation: Evaluation, name: str) -> dict[int, float]:
    named = ((LAYER.fullmatch(m.name), m.value) for m in evaluation.measurements)
    return {int(found.group(2)): value for found, value in named if found and found.group(1) == name}


def _speed(pair: tuple[Evaluation, Evaluation]) -> Iterator[Found]:
    a, b = (each.measurement("speedup") for each in pair)
    if a is None or b is None or not (a.value > 0 and b.value > 0):
        return
    ratio, halves = b.value / a.value, []
    for each in (a, b):
        if each.low is None or each.high is None or not 0 < each.low <= each.high < math.inf:
            yield "speedup", "", (a.value, b.value), intervals.Interval(ratio, None, None, 1)
            return
        halves.append(math.log(each.high / each.low) / 2)
    factor = math.exp(math.hypot(*halves))
    samples = min(a.num_samples, b.num_samples)
    yield "speedup", "", (a.value, b.value), intervals.Interval(ratio, ratio / factor, ratio * factor, samples)


def _means(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    return sum(a) / len(a), sum(b) / len(b)


def _mean_difference(a: Sequence[float], b: Sequence[float]) -> Interval:
    return intervals.mean([theirs - mine for mine, theirs in zip(a, b, strict=True)])


def _clustered(a: Sequence[Sequence[int]], b: Sequence[Sequence[int]]) -> Interval:
    """Give the mean difference of marks with an interval over passages.

    It is no narrower than one for which a few equal answers prove nothing (`intervals.paired_shares`).
    """
    apart = [[theirs - mine for mine, theirs in zip(*each, strict=True)] for each in zip(a, b, strict=True)]
    every = [*chain(*apart)]
    ends = intervals.paired_shares(every.count(1), every.count(-1), len(every))
    return intervals.wider(_over(apart), *ends)


def _nothing_common(a: Record, b: Record, known: Circumstances) -> str:
    """Say in which circumstance two candidates differ, the widest first."""
    names = f"candidates {a.candidate.id} and {b.candidate.id}"
    keys = [[e.key for e in record.evaluations if e.status in MEASURED] for record in (a, b)]
    for record, theirs in zip((a, b), keys, strict=True):
        if not theirs:
            return f"candidate {record.candidate.id} has no figures; `vortex show {record.candidate.id}` says why"
    places = (
        ("model", lambda key: key.model_digest),
        ("device, dtype and versions", lambda key: _device(key.environment_digest, known)),
        ("evaluator's version", lambda key: key.evaluator_version),
    )
    for what, of in places:
        mine, others = ({of(key) for key in each} for each in keys)
        if not mine & others:
            told = " against ".join(", ".join(sorted(each)) for each in (mine, others))
            return f"{names} were never measured with the same {what} ({told}), so their figures are not compared"
    return f"{names} share no stage with paired figures on the same workload, so there is nothing to compare"


def _device(digest: str, known: Circumstances) -> str:
    where = known.environments.get(digest)
    return f"{where.device}, {where.dtype or 'unknown dtype'} [{digest[:8]}]" if where else digest
