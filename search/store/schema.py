"""The schema's version: brought to head when a database is opened, refused when it is not ours."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Column, Integer, MetaData, Table, Text, false, inspect, select, text, update
from sqlalchemy.schema import CreateTable

from search.store.database import connect, explained, name_of, reader
from search.store.errors import SchemaError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.config import Config
    from sqlalchemy.engine import Connection, Engine

HEAD = "0013"
# Not Alembic's own name for it: Optuna, for one, keeps its versions under that.
VERSION_TABLE = "vortex_schema"
ANOTHER = "give an empty or new database with --db"
TRIAL = "vortex_doctor"  # a table that is never there
LOCK = 0x766F72746578  # any number that no other application locks


def prepare(engine: Engine, *, read_only: bool) -> None:
    """Bring a database to head, or refuse an older one that is only read. Raises StoreError for any that fails."""
    with explained(engine):
        require_head(engine) if read_only else bring_to_head(engine)


def bring_to_head(engine: Engine) -> None:
    """Make or migrate the tables unless they are at head already. Several processes may do so at once.

    Raises StoreError for a database that is not a ledger, or of a version that this code does not know.
    """
    # Alembic costs 0.7 s to import, so the usual case is found without it, and without waiting for who writes.
    with reader(engine).begin() as connection:
        if _version(connection) == HEAD:
            return
    with engine.begin() as connection:
        _lock(connection)
        current = _version(connection)
        if current != HEAD:
            _upgrade(connection, current)


def require_head(engine: Engine) -> None:
    """Refuse a database whose tables are not at head. Raises SchemaError, which says what to do."""
    with reader(engine).begin() as connection:
        current = _version(connection)
        if current != HEAD:
            raise SchemaError(
                f"{_name(connection)} has the schema {current!r}, and is only read here, where {HEAD!r} is needed: "
                "`vortex db upgrade` brings it up to date."
            )


def _version(connection: Connection) -> str | None:
    tables = inspect(connection).get_table_names()
    if VERSION_TABLE in tables:
        version_num = Column("version_num", Text)
        found: str | None = connection.execute(select(Table(VERSION_TABLE, MetaData(), version_num))).scalar()
        if found is None and len(tables) > 1:
            raise StoreError(f"{_name(connection)} does not say which schema it has: {ANOTHER}.")
        return found
    if tables:
        raise StoreError(
            f"{_name(connection)} holds something else (tables {', '.join(sorted(tables)[:3])}): {ANOTHER}."
        )
    return None


def _lock(connection: Connection) -> None:
    """Wait for whoever else migrates. On SQLite the transaction's beginning has done so."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))


def _upgrade(connection: Connection, current: str | None) -> None:
    from alembic import command

    config = configuration(connection)
    _require_known(connection, current, config)
    command.upgrade(config, "head")
    if current is not None:
        _rebuild(connection)


def _require_known(connection: Connection, current: str | None, config: Config) -> None:
    """Raise StoreError for a schema of a newer version."""
    if current is not None and not _is_known(config, current):
        raise StoreError(
            f"{_name(connection)} has the schema {current!r}, which this version does not know (its own is {HEAD!r}): "
            "upgrade vortex-search, or give another database with --db."
        )


def check(place: str) -> None:
    """See that a ledger can be kept in a database, changing nothing in it. Raises StoreError."""
    with _looking(place, read_only=True) as connection:
        is_server, current = connection.dialect.name == "postgresql", _version(connection)
        if current == HEAD:
            _require_tables(connection)
        else:
            _require_known(connection, current, configuration(connection))
    if is_server:  # whoever may look need not be who may write; of a file its own rights tell
        with _looking(place, read_only=False) as connection:
            _try_to_write(connection, current)


@contextmanager
def _looking(place: str, *, read_only: bool) -> Iterator[Connection]:
    """Give a connection whose transaction comes to nothing."""
    engine = connect(place, read_only=read_only)
    try:
        with explained(engine), engine.connect() as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()
    finally:
        engine.dispose()


def _require_tables(connection: Connection) -> None:
    from search.store.models import Base

    if missing := sorted(set(Base.metadata.tables) - set(inspect(connection).get_table_names())):
        raise StoreError(f"{_name(connection)} lacks the tables {', '.join(missing)}: take a copy of it that has them.")


def _try_to_write(connection: Connection, current: str | None) -> None:
    """Do what a ledger does first."""
    from search.store.models import Base

    if current == HEAD:
        connection.execute(update(Base.metadata.tables["campaign"]).where(false()).values(seed=0))
    else:
        connection.execute(CreateTable(Table(TRIAL, MetaData(), Column("number", Integer))))


def _rebuild(connection: Connection) -> None:
    """Write what is derived anew, from evaluations that an older version made."""
    from sqlalchemy.orm import Session

    from search.store.derived import refreshing, tally

    with Session(connection) as session, session.begin():
        refreshing.rebuild(session)
        tally.rebuild(session)


def configuration(connection: Connection) -> Config:
    """Give Alembic's settings for this database: its migrations run inside the connection's transaction."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "search.store:migrations")
    config.attributes["connection"] = connection
    return config


def _is_known(config: Config, version: str) -> bool:
    from alembic.script import ScriptDirectory

    return version in {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}


def _name(connection: Connection) -> str:
    return f"The database {name_of(connection.engine)}"
