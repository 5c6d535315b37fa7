"""`vortex report`: what became of a campaign, as Markdown and as one HTML page."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.database import campaign_of, existing
from search.commands.exits import CommandError, ExitCode
from search.commands.output import note, print_json, print_line

if TYPE_CHECKING:
    from collections.abc import Iterator

Folder = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", parser=options.path, help="Where to write it; report_ID when left out."),
]
MARKDOWN, PAGE = "report.md", "report.html"


def report(
    campaign: options.CampaignArgument = None,
    out: Folder = None,
    db: options.Database = options.DATABASE_URL,
    as_json: options.Json = False,
) -> None:
    """Tell what became of a campaign: whether anything beats the published rules, the fronts, lineages and costs."""
    from search.report.markdown import markdown, pictures
    from search.report.material import gather
    from search.report.page import page
    from search.report.report import report as reported
    from search.store.rows import UNCOLLECTED

    # A process that answers once and ends: what it makes of a large ledger is no garbage until then.
    with existing(db) as ledger, UNCOLLECTED:
        found = campaign_of(ledger, campaign)
        folder = out or Path(f"report_{found.id}")
        with _explained(folder):  # before what takes long
            folder.mkdir(parents=True, exist_ok=True)
        told = reported(gather(ledger, found))
    files = {MARKDOWN: markdown(told).encode(), PAGE: page(told).encode()}
    files |= {f"{each.name}.svg": each.svg for each in pictures(told)}
    _write(folder, files)
    if as_json:
        places = {"markdown": str(folder / MARKDOWN), "html": str(folder / PAGE)}
        print_json({"campaign": found.id, **places, "headline": told.headline, "answers": told.answers})
        return
    note(told.headline.text)
    for name in (MARKDOWN, PAGE):
        print_line(str(folder / name))


def _write(folder: Path, files: dict[str, bytes]) -> None:
    from search.evaluator.scratch.files import publish

    with _explained(folder):
        for name, content in files.items():
            publish(folder / name, content)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say what is wrong with a folder in which nothing can be written."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise CommandError(f"--out {folder} is a file, or lies in one; name a folder") from error
    except OSError as error:
        told = f"--out {folder} cannot be written to: {error.strerror}; name another folder"
        raise CommandError(told, ExitCode.INFRASTRUCTURE) from error
