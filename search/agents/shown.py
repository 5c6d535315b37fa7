"""Records and the language as Markdown, for prompts."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from prompts import prompt
from search.parents import accuracy, cost_ratio, speedup
from search.records import Stage, Status
from vortex_dsl.ops import OPS
from vortex_dsl.ops.op import OpKind
from vortex_dsl.tunables import PLATFORM_TUNABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records import Context, Record

NUM_SHOWN, NUM_FAILURES = 8, 3
KINDS = ((OpKind.OPERATOR, "Operators"), (OpKind.FUNCTION, "Functions"), (OpKind.METHOD, "Methods"))


def language() -> str:
    """Tell the language: the text that docs/language.md begins with, and the operation table."""
    return prompt("language", platform=platform_tunables(), operations=operations()).strip()


def platform_tunables() -> str:
    """List the tunables of every program."""
    return "\n".join(f"* `{name} = {tunable}`" for name, tunable in PLATFORM_TUNABLES.items())


def operations() -> str:
    """List the operation table."""
    parts = []
    for kind, title in (*KINDS, (OpKind.SELECTION, "Selections")):
        table = [op for op in OPS.values() if op.kind is kind]
        if kind is OpKind.OPERATOR:
            parts.append(f"{title}: " + "; ".join(f"`{op.doc}`" for op in table))
        else:
            parts.append("\n".join((f"{title}:", *(f"* `{op.signature}`: {op.doc}" for op in table))))
    return "\n\n".join(parts)


def leaderboard(context: Context) -> str:
    """List the Pareto fronts, the most accurate first, with ideas and figures."""
    points = sorted(itertools.chain.from_iterable(context.archive.fronts.values()), key=lambda p: (p.loss, p.step))
    members = list(dict.fromkeys(point.step for point in points))[:NUM_SHOWN]
    return "\n".join(f"* {measured(context.records[step])}" for step in members) or "(nothing has been measured yet)"


def measured(record: Record) -> str:
    """Say a candidate's name, idea and figures in one line, those of each cost ratio after its name."""
    ratios = sorted({evaluation.ratio for evaluation in record.evaluations if evaluation.key.stage is Stage.CHECK})
    parts = [f"{f'at {ratio:g}x ' if ratio else ''}{_figures(record, ratio)}" for ratio in ratios]
    known = "; ".join(parts)
    rationale = " ".join(record.candidate.proposal.rationale.split())[:160]
    return f"{record.candidate.name} ({rationale}): {known}"


def _figures(record: Record, ratio: float) -> str:
    figures = (
        ("distance from dense in nats", record.value(Stage.FIDELITY, "kl", ratio), ".4f"),
        ("answers", record.value(Stage.RETRIEVAL, "accuracy", ratio), ".3f"),
        ("accuracy", accuracy(record, ratio), ".3f"),
        ("attention kept", _kept(record, ratio), ".3f"),
        ("pages attended", record.value(Stage.PROBE, "pages_attended", ratio), ".1f"),
        ("bytes of fields per page", record.value(Stage.CHECK, "bytes_per_page", ratio), ".0f"),
        ("bytes that dense reads per byte of it", cost_ratio(record, ratio), ".1f"),
        ("throughput, dense = 1", speedup(record, ratio), ".2f"),
    )
    return ", ".join(f"{name} {value:{form}}" for name, value, form in figures if value is not None)


def _kept(record: Record, ratio: float) -> float | None:
    """Give the share of the attention that is kept: all of recall's, else the screen's part of it."""
    found = (record.value(stage, "mass", ratio) for stage in (Stage.RECALL, Stage.SCREEN))
    return next((value for value in found if value is not None), None)


def failures(records: Sequence[Record], name: str) -> str:
    """List what this proposer's latest failures were."""
    own = (r for r in reversed(records) if r.candidate.proposal.proposer == name and r.status is not Status.OK)
    last = reversed(list(itertools.islice(own, NUM_FAILURES)))
    lines = [f"* {r.candidate.name or 'refused'}: {r.status}: {_message(r)}" for r in last]
    return "\n".join(("Of your earlier programs these failed:", "", *lines)) if lines else ""


def _message(record: Record) -> str:
    message = record.evaluations[-1].message if record.evaluations else record.candidate.message
    return " ".join(message.split())[:200]
