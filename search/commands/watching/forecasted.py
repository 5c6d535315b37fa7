"""What `vortex run --dry-run` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.report.wording import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from search.campaigns.forecast import Forecast


def drawn(told: Forecast) -> RenderableType:
    """Draw the plan: what is judged, by which stages, and what it is expected to take."""
    from rich.console import Group

    ratios = ", ".join(f"{ratio:g}" for ratio in told.ratios)
    at = f"at cost ratio{'s' if len(told.ratios) > 1 else ''} {ratios}" if ratios else "as written"
    turns = {name: told.round.count(name) for name in dict.fromkeys(told.round)}
    lines = [
        f"{told.candidates:,} candidates on {told.model} {at}, after {len(told.seeds)} seeds: " + ", ".join(told.seeds),
        "a round of proposers: " + ", ".join(f"{name} {number}" for name, number in turns.items()),
    ]
    lines += [
        f"{each.name}: {each.num_proposals:,} proposals, {each.prompt_tokens:,} tokens read and "
        f"{each.completion_tokens:,} written for each (from {each.from_what}), ${each.dollars:,.2f}"
        for each in told.agents
    ]
    lines += [
        f"{each.kind} too, {each.workers} worker{'s' * (each.workers > 1)}: about {each.num_evaluations:,} evaluations "
        f"of what is timed on the first kind, {duration(each.seconds)} ({duration(each.worker_seconds)} of one; "
        f"seconds of each: {each.from_what})"
        for each in told.further
    ]
    lines += [f"it ends earlier once {limit}" for limit in told.limits]
    end = (
        f"about {duration(told.seconds)} with {told.workers} busy worker{'s' if told.workers > 1 else ''} "
        f"({duration(told.worker_seconds)} of one), ${told.dollars:,.2f}, {told.disk_bytes / 1e6:,.0f} MB of disk; "
        "starting engines and recording once come on top, what is measured already comes off"
    )
    return Group("\n".join(lines), _stages(told), end)


def _stages(told: Forecast) -> RenderableType:
    from rich.box import SIMPLE
    from rich.table import Table

    from search.report.columns import Fitted

    table = Table(box=SIMPLE, pad_edge=False)
    for name in ("stage", "runs on", "evaluations", "seconds each", "from", "in all"):
        is_text = name in ("stage", "runs on", "from")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text)
    asked = {workload.stage: workload for workload in told.workloads}
    for each in told.stages:
        workload = asked[each.stage]
        split = f"{workload.num_sequences} x {workload.num_tokens:,} tokens"
        row = (each.stage.value, split, f"{each.num_evaluations:,}", f"{each.seconds_each:.3g}", each.from_what)
        table.add_row(*row, duration(each.seconds))
    return Fitted(table, ("from", "runs on", "seconds each"))
