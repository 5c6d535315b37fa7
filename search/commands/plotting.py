"""`--plot FILE`: what a command tells, drawn as well."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.commands import options
from search.commands.exits import CommandError, ExitCode
from search.commands.output import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from search.contracts import Ledger
    from search.ranking.standing import Standing
    from search.records import Record

FORMATS = (".png", ".svg")

OfRows = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", parser=options.path,
        help="Draw it too, as .png or .svg: the front at one cost ratio, as --ratio says, or the best over all.",
    ),
]  # fmt: skip
OfAttention = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        parser=options.path,
        help="Draw which pages it attends to, beside an oracle's, as .png or .svg.",
    ),
]


def check_drawable(file: Path | None) -> None:
    """Raise CommandError, before anything takes time, for a file that no figure can be written to."""
    if file is not None and file.suffix.lower() not in FORMATS:
        raise CommandError(f"--plot {file} ends with neither .png nor .svg; call the figure's file so")
    if file is not None and not file.absolute().parent.is_dir():
        raise CommandError(f"--plot {file} lies in no folder that is there; make it first")


def draw_standings(rows: Iterable[tuple[Standing, bool]], ratio: float | None, file: Path) -> None:
    """Draw the front at a cost ratio, or the best over all; `rows`: each with whether it is on the front."""

    def drawn() -> Any:
        from search.plots import standings

        return standings(rows, ratio)

    _save(drawn, file)


def draw_attention(ledger: Ledger, record: Record, ratio: float | None, to: Path) -> None:
    """Draw what a candidate attends to, with the budget that it has at a cost ratio: the lowest if None is given."""
    from search.campaigns.machines import recording_behind, scratch
    from search.campaigns.saying import said
    from search.contracts import LookError
    from search.evaluator.recall.looker import RecordedLooker
    from search.fit import at_ratio

    known = sorted({each.ratio for each in record.evaluations if each.ratio})
    at = known[0] if ratio is None and known else ratio or 0.0
    if at and at not in known:
        shown = ", ".join(f"{each:g}" for each in known) or "none"
        raise CommandError(f"candidate {record.candidate.id} was not judged at a cost ratio of {at:g}; it has {shown}")
    try:
        proposal = at_ratio(record, at).candidate.proposal
    except LookupError as error:
        raise CommandError(f"there is no picture: {error.args[0]}", ExitCode.REFUSED) from error
    try:
        file = recording_behind(ledger, record, at, scratch())
        with said("picturing what it attends to"), closing(RecordedLooker(lambda: file, scratch())) as looker:
            picture = looker.picture(proposal.text, proposal.values)
    except LookError as error:
        raise CommandError(f"there is no picture: {error}; `vortex eval` records it", ExitCode.REFUSED) from error

    def drawn() -> Any:
        from search.plots import attention

        return attention(picture)

    _save(drawn, to)


def _save(drawn: Callable[[], Any], file: Path) -> None:
    """Write what `drawn` gives, a figure."""
    from search.plots import PlotError, save

    try:
        save(drawn(), file)
    except PlotError as error:
        raise CommandError(str(error)) from error
    note(f"wrote {file}")
