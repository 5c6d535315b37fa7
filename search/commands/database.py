"""Opening the ledger, and finding things in it by what people type."""

from __future__ import annotations

from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from search.commands.exits import CommandError
from search.commands.output import note
from search.store.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search.contracts import Ledger
    from search.records import Campaign, Record

SQLITE = "sqlite:///"


@contextmanager
def opened(url: str, max_outage: float = PATIENCE_S) -> Iterator[Ledger]:
    """Open the ledger for a command's duration, making it if need be. Raises StoreError.

    `max_outage`: the seconds for which a database that is away, or locked, is asked again.
    """
    from search.store.ledger import SqlLedger

    with closing(SqlLedger(url, patience_s=max_outage, told=note)) as ledger:
        yield ledger


@contextmanager
def existing(url: str, max_outage: float | None = None) -> Iterator[Ledger]:
    """Open a ledger that must be there: a file that is not is an error, not an empty database.

    It is opened to look something up, which needs no right to write, unless `max_outage` says how long a writer waits.
    """
    from search.store.ledger import SqlLedger

    file = url.removeprefix(SQLITE)
    if file != url and not Path(file).is_file():
        raise CommandError(f"there is no database {file}; `vortex run` makes one, --db names another")
    reading = max_outage is None
    with closing(SqlLedger(url, reading=reading, patience_s=max_outage or PATIENCE_S, told=note)) as ledger:
        yield ledger


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
