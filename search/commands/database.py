"""Opening the ledger, and finding things in it by what people type."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from search.commands.exits import CommandError
from search.commands.options import DATABASE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search.contracts import Ledger
    from search.records import Campaign, Record


@contextmanager
def opened(place: str) -> Iterator[Ledger]:
    """Open the ledger for a command's duration, making it if need be. Raises StoreError."""
    from search.store.ledger import SqlLedger

    with closing(SqlLedger(place)) as ledger:
        yield ledger


@contextmanager
def existing(place: str) -> Iterator[Ledger]:
    """Open a ledger to look something up: a file that is not there is an error, not an empty database."""
    check_there(place)
    with opened(place) as ledger:
        yield ledger


def check_there(place: str) -> None:
    """Raise CommandError for a file that is not there."""
    from search.store.database import file_of

    file = file_of(place)
    if file is not None and file.is_dir():
        raise CommandError(f"{file} is a folder; name the database's file in it with --db")
    if file is not None and not file.is_file():
        named = place.removeprefix("sqlite:///")
        raise CommandError(
            f"there is no database {named}; `vortex run` makes one, --db or {DATABASE_VARIABLE} names another"
        )


def campaign_of(ledger: Ledger, campaign_id: int | None) -> Campaign:
    """Give a campaign, the newest without an id."""
    try:
        return ledger.campaign(campaign_id)
    except LookupError as error:
        wanted = "no campaign" if campaign_id is None else f"no campaign {campaign_id}"
        raise CommandError(
            f"the database holds {wanted}; `vortex status` counts them, `vortex run` starts one"
        ) from error


def candidate_of(ledger: Ledger, name: str) -> Record:
    """Give a candidate by its id or the beginning of its program's digest."""
    try:
        return ledger.find(name)
    except LookupError as error:
        raise CommandError(
            f"{_sentence(error)}; `vortex leaderboard` lists ids, --db names another database"
        ) from error


def _sentence(error: LookupError) -> str:
    """Give a lookup error's own words (str of a KeyError would be quoted)."""
    return str(error.args[0]).rstrip(".") if error.args else "nothing of that name is there"
