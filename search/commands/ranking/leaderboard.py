"""`vortex leaderboard`: who stands where, each circumstance by itself."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options, plotting
from search.commands.database import campaign_of, existing
from search.commands.output import note, print_data, print_json_list
from search.commands.programs.completing import of_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from search.contracts import Ledger
    from search.ranking.front import Front
    from search.ranking.standing import Standing
    from search.records import Choice

MOST_IN_A_TABLE = 5000  # rows

Top = Annotated[
    int | None, typer.Option("--top", metavar="N", min=1, callback=options.storable, help="Show the best N only.")
]
Everyone = Annotated[
    int | None,
    typer.Option(
        "--campaign", metavar="ID", callback=options.storable, help="Show one campaign; all of them when left out."
    ),
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
    from search.asking.owing import owing_told
    from search.records import Choice

    plotting.check_drawable(plot)
    asked = Choice(ratio, model, device, where, sort)
    is_listed = everything or bool(where or sort)
    with existing(db) as ledger:
        if not as_json or campaign is not None:
            campaign_of(ledger, campaign)
        if plot is not None:
            plotting.draw_standings(ledger.listed(campaign, asked), ratio, plot)
        if as_json:
            print_json_list(_told(*each) for each in islice(ledger.listed(campaign, asked), top))
        elif is_listed:
            _print_list(ledger.listed(campaign, asked) if top is None else _first(ledger, campaign, top, asked))
        else:
            _print_fronts(ledger, campaign, found := ledger.fronts(campaign, asked), top)
            if not found:
                _note_what_there_is(ledger.fronts(campaign))
        owing = "" if as_json else owing_told(ledger.owing(campaign))
    if owing:
        note(owing)


def _told(row: Standing, is_on_front: bool) -> dict[str, object]:
    """Give a row's fields by name: `asdict` would copy all that is in them, a third of a long list's time."""
    return {each.name: getattr(row, each.name) for each in fields(row)} | {"front": is_on_front}


def _first(ledger: Ledger, campaign: int | None, top: int, asked: Choice) -> Iterator[tuple[Standing, bool]]:
    """Give the first rows. Whether one is on the front cannot be said without all of them."""
    return ((each, False) for each in ledger.standings(campaign, top, asked))


def _print_list(rows: Iterator[tuple[Standing, bool]]) -> None:
    """Write tables of as many rows as a table should have, since all of a table is held until it is drawn."""
    from search.ranking.leaderboard import listed

    drawn = list(islice(rows, MOST_IN_A_TABLE))
    print_data(listed(drawn))
    while drawn := list(islice(rows, MOST_IN_A_TABLE)):
        print_data(listed(drawn))


def _note_what_there_is(fronts: Sequence[Front]) -> None:
    """Say of which models, devices and cost ratios there are rows, where none is like what was asked for."""
    firsts = [each.first for each in fronts]
    if firsts:
        models, devices = (", ".join(sorted({getattr(row, name) for row in firsts})) for name in ("model", "device"))
        ratios = ", ".join(f"{ratio:g}" for ratio in sorted({row.ratio for row in firsts}))
        note(f"there are rows of the models {models}, on {devices}, at cost ratios of {ratios}")


def _print_fronts(ledger: Ledger, campaign: int | None, fronts: Sequence[Front], top: int | None) -> None:
    from search.commands.ranking.recalled import recalled
    from search.ranking.leaderboard import board

    by_recall = partial(recalled, ledger, campaign, most=top)
    print_data(board([each.cut(top) for each in fronts], recalled=by_recall))
