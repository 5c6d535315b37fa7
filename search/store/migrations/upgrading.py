"""Which schema a database has, and its way to the newest one, for whoever wants to be told of it."""

from __future__ import annotations

from pathlib import Path

from alembic.migration import MigrationContext

from search.store.database import connect, explained, reader
from search.store.schema import HEAD, VERSION_TABLE, bring_to_head


def upgrade(url: str) -> tuple[str | None, str]:
    """Bring a database to the newest schema; give the version it had, None for none, and the one that it has now.

    Opening a ledger does the same without a word. All of it is one transaction: what fails changes nothing.

    Raises:
        StoreError: a database that is not ours, is newer than this code, or cannot be written.
        FileNotFoundError: there is no such file.

    """
    engine = connect(url)
    try:
        if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").is_file():
            raise FileNotFoundError(engine.url.database)
        with explained(engine):
            with reader(engine).connect() as connection:
                context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
                before = context.get_current_revision()
            bring_to_head(engine)
    finally:
        engine.dispose()
    return before, HEAD
