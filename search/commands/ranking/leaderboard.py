"""`vortex leaderboard`: who stands where, each circumstance by itself."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options, plotting
from search.commands.database import campaign_of, existing
from search.commands.output import print_data, print_json
from search.commands.programs.completing import of_fields

if TYPE_CHECKING:
    from search.ranking.front import Section

Top = Annotated[
    int | None, typer.Option("--top", metavar="N", min=1, max=options.LARGEST, help="Show the best N only.")
]
Everyone = Annotated[
    int | None,
    typer.Option("--campaign", metavar="ID", max=options.LARGEST, help="Show one campaign; all of them when left out."),
]
Ratio = Annotated[
    float | None,
    typer.Option("--ratio", metavar="R", min=0.0, help="Show one cost ratio; 0: programs as they were written."),
]
OfModel = Annotated[
    str, typer.Option("--model", metavar="NAME", help="Show one model, by its name or the beginning of its digest.")
]
Device = Annotated[str, typer.Option("--device", metavar="TEXT", help="Show devices whose name holds this.")]
Where = Annotated[
    str, typer.Option("--where", metavar="CONDITION", help="Show rows like 'kl < .1 and speedup_low > 1'.")
]
Sort = Annotated[
    str,
    typer.Option(
        "--sort", metavar="FIELD", help="List by a field of --json, best first; -FIELD: worst first.",
        autocompletion=of_fields,
    ),
]  # fmt: skip
Everything = Annotated[bool, typer.Option("--all", help="List what others beat as well, and why rows have no figure.")]


def leaderboard(
    top: Top = None,
    campaign: Everyone = None,
    ratio: Ratio = None,
    model: OfModel = "",
    device: Device = "",
    where: Where = "",
    sort: Sort = "",
    everything: Everything = False,
    plot: plotting.OfRows = None,
    db: options.Database = options.DATABASE_URL,
    as_json: options.Json = False,
) -> None:
    """Rank what was found: at each cost ratio the front of fidelity, retrieval and speed, beside the references."""
    from search.ranking.front import sections
    from search.records import Choice

    plotting.check_drawable(plot)
    listed = everything or bool(where or sort)
    # The front is one of all rows: only a list may be cut off where it is read.
    limit = top if listed and not as_json and plot is None else None  # a figure is one of all rows too
    with existing(db) as ledger:
        if campaign is not None:
            campaign_of(ledger, campaign)
        standings = ledger.standings(campaign, limit, Choice(ratio, model, device, where, sort))
    is_cut = listed and not as_json and top is not None  # of such a list nobody can say who is on the front
    divided = sections(standings[:top] if is_cut else standings)
    if plot is not None:
        plotting.draw_standings(standings, ratio, plot)
    if as_json:
        front = {id(each) for section in divided for each in section.front}
        print_json([asdict(each) | {"front": id(each) in front} for each in standings[:top]])
        return
    from search.ranking.leaderboard import board

    shown = divided if listed else [_best(each, top) for each in divided]
    print_data(board(shown, everything=listed, marked=not is_cut))


def _best(section: Section, top: int | None) -> Section:
    """Keep the first of a front; the others join what is not shown."""
    if top is None:
        return section
    return replace(section, front=section.front[:top], folded=(*section.front[top:], *section.folded))
