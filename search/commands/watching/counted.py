"""What `vortex status` tells of a campaign: what was counted, and where the time of its workers goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.asking.owing import bound_told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from search.records import Progress, StoredCampaign, Took


def counts(campaign: StoredCampaign, progress: Progress, campaigns: Sequence[int]) -> dict[str, object]:
    """Give it for machines; `campaigns` are the ids of all that there are."""
    stages: dict[str, dict[str, int]] = {}
    for stage, status, number in progress.evaluations:
        stages.setdefault(stage, {})[status] = number
    return {
        **_facts(campaign, progress),
        "candidates": {str(name): count for name, count in progress.statuses},
        "stages": stages,
        "took": progress.took,
        "dollars": {name: {"spent": spent, "programs": number} for name, spent, number in progress.proposers},
        "owing": progress.owing,
        "campaigns": list(campaigns),
    }


def drawn_counts(campaign: StoredCampaign, progress: Progress, campaigns: Sequence[int]) -> RenderableType:
    """Draw it for people."""
    from rich.console import Group
    from rich.table import Table

    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(campaign, progress).items():
        facts.add_row(name, ", ".join(value) if isinstance(value, list) else str(value))
    for name, spent, number in progress.proposers:
        bound = bound_told(each for each in progress.owing if each.proposer == name)
        facts.add_row(f"dollars of {name}", ", ".join(filter(None, (_priced(spent, number), bound))))
    facts.add_row("campaigns here", ", ".join(map(str, campaigns)))
    return Group(facts, _drawn_outcomes(progress), *_drawn_seconds(progress.took))


def _facts(campaign: StoredCampaign, progress: Progress) -> dict[str, object]:
    return {
        "campaign": campaign.id,
        "seed": campaign.seed,
        "model": campaign.model,
        "proposers": list(dict.fromkeys(campaign.proposers)),
        "num_candidates": campaign.num_candidates,
        "num_steps": progress.num_steps,
        "num_running": progress.num_running,
    }


def _priced(spent: float, programs: int) -> str:
    if not programs:
        return f"{spent:.4f}, and no program was admitted"
    return f"{spent:.4f}, {spent / programs:.4f} for each program that was admitted ({programs:,})"


def _drawn_outcomes(progress: Progress) -> Table:
    from rich.table import Table

    drawn = Table("stage", "status")
    drawn.add_column("number", justify="right")
    told: dict[str, dict[str, int]] = {"proposed": {str(status): number for status, number in progress.statuses}}
    for stage, status, number in progress.evaluations:
        told.setdefault(stage, {})[status] = number
    for heading, statuses in told.items():
        for i, (name, number) in enumerate(sorted(statuses.items())):
            drawn.add_row("" if i else heading, name, str(number))
        drawn.add_section()
    return drawn


def _drawn_seconds(took: Sequence[Took]) -> Iterator[Table]:
    """Draw what each stage took, its cost ratios together; nothing before anything has ended."""
    from rich.table import Table

    divided: dict[str, list[Took]] = {}
    for each in took:
        divided.setdefault(each.name, []).append(each)
    total = _seconds(took)
    if not total:
        return
    drawn = Table("stage")
    for heading in ("evaluations", "seconds of workers", "share"):
        drawn.add_column(heading, justify="right")
    for name, mine in divided.items():
        seconds = _seconds(mine)
        drawn.add_row(name, f"{sum(each.num_ran for each in mine):,}", f"{seconds:,.1f}", f"{seconds / total:.1%}")
    yield drawn


def _seconds(took: Iterable[Took]) -> float:
    return sum(each.seconds for each in took)
