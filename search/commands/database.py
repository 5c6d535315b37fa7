"""Opening the ledger, and finding things in it by what people type."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from search.commands.exits import CommandError, explain
from search.commands.options import DATABASE_VARIABLE
from search.commands.output import note
from search.store.errors import SchemaError, StoreError
from search.store.patience import PATIENCE_S
from search.telling.passwords import without_passwords
from vortex_dsl.errors import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search.contracts import Ledger
    from search.records import Record, StoredCampaign
    from search.store.ledger import SqlLedger


@contextmanager
def opened(place: str, max_outage: float = PATIENCE_S) -> Iterator[SqlLedger]:
    """Open the ledger for a command's duration, making it if need be. Raises StoreError.

    `max_outage`: the seconds for which a database that is away, or locked, is asked again.
    """
    from search.store.ledger import SqlLedger

    with closing(SqlLedger(place, patience_s=max_outage, told=note)) as ledger, _looked_into(place, ledger):
        yield ledger


@contextmanager
def _looked_into(place: str, ledger: SqlLedger) -> Iterator[None]:
    """Where something fails that nobody foresaw, see whether a row of the database is to blame. Raises StoreError."""
    try:
        yield
    except Exception as error:  # told as ever where no row is odd
        if isinstance(error, OSError) or explain(error) is not None:
            raise
        if found := _odd_row(ledger):
            raise StoreError(
                f"The database {without_passwords(place)!r} holds what no version of vortex-search writes: {found}. "
                "Mend that row, or take a copy of the database from before it was edited or damaged."
            ) from error
        raise


def _odd_row(ledger: SqlLedger) -> str:
    from search.store.shown.odd import odd_row

    with ledger.engine.begin() as connection:
        return odd_row(connection)


@contextmanager
def existing(place: str, max_outage: float | None = None) -> Iterator[SqlLedger]:
    """Open a ledger that must be there: a file that is not is an error, not an empty database.

    It is opened to look something up, which needs no right to write, unless `max_outage` says how long a writer waits.
    """
    check_there(place)
    if max_outage is None:
        with closing(_to_read(place)) as ledger, _looked_into(place, ledger):
            yield ledger
    else:
        with opened(place, max_outage) as ledger:
            yield ledger


def _to_read(place: str) -> SqlLedger:
    """Open a ledger that is only read; one of an older version is brought to head first."""
    from search.store.ledger import SqlLedger

    try:
        return SqlLedger(place, read_only=True, told=note)
    except SchemaError:
        with opened(place):
            pass
        return SqlLedger(place, read_only=True, told=note)


def check_there(place: str) -> None:
    """Raise CommandError for a file that is not there."""
    from search.store.database import file_of

    file = file_of(place)
    if file is not None and file.is_dir():
        raise CommandError(f"{without_passwords(str(file))} is a folder; name the database's file in it with --db")
    if file is not None and file.exists() and not file.is_file():
        told = without_passwords(str(file))
        raise CommandError(f"{told} is no regular file; name a database's file with --db")
    if file is not None and not file.is_file():
        named = without_passwords(place.removeprefix("sqlite:///"))
        raise CommandError(
            f"there is no database {named}; `vortex run` makes one, --db or {DATABASE_VARIABLE} names another"
        )


def campaign_of(ledger: Ledger, campaign_id: int | None) -> StoredCampaign:
    """Give a campaign, the newest without an id."""
    try:
        return ledger.campaign(campaign_id)
    except LookupError as error:
        if campaign_id is None:
            raise CommandError("the database holds no campaign; `vortex run` starts one") from error
        known = listed(str(each.id) for each in ledger.campaigns()) or "none; `vortex run` starts one"
        raise CommandError(f"the database holds no campaign {campaign_id}; it has {known}") from error


def candidate_of(ledger: Ledger, name: str) -> Record:
    """Give a candidate by its id or the beginning of its program's digest."""
    if not name:  # every digest begins so
        raise CommandError("the name of a candidate is empty; give its id, as `vortex leaderboard` lists them")
    try:
        return ledger.find(name)
    except KeyError:  # of what a row should hold, not of a name
        raise
    except LookupError as error:
        told = f"{error.args[0]}; `vortex leaderboard` lists ids, --db names another database"
        raise CommandError(told) from error
