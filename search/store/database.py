"""Connections to SQLite and PostgreSQL: how transactions begin, what time it is, inserts that may come second."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import Double, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from search.store.errors import AwayError, NoDatabaseError, StoreError
from search.telling.addresses import port_wanted
from search.telling.passwords import without_passwords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy.engine import Connection

    from search.store.models import Base

BUSY_TIMEOUT_S = 1.0  # within SQLite, where no signal is heard: `Patience` goes on from there
WAL_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10
# A server's host that dies says nothing: after 30 s without a word it is asked, and after 30 more without an answer,
# or with what was sent to it unheard for a minute, it counts as away. Without these a driver waits for hours.
UNHEARD = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
RETRY_S = 0.01
# PostgreSQL's for what passes: connections, shutting down and starting, deadlocks and crossed transactions, no room
# for one more connection, or on a disk, where somebody makes some.
PASSING = ("08", "57P01", "57P02", "57P03", "40001", "40P01", "53100", "53300", "55P03")
# What a server's owner can mend, whatever class the driver has for it: rights, logins, no such database, a server that
# only reads, no memory or disk, limits, damage.
FAULTS = ("25006", "28", "3D", "3F", "42501", "53", "54", "57", "58", "XX")
STEADY = "steady_s"  # the function that tells SQLite the time
# Of a connection that only reads. What is mapped counts as memory: all of a large file, for answers a fifth sooner.
CACHE_KIB, MMAP_BYTES = 65_536, 1 << 26
MOST_KEPT = 100_000  # rows that are remembered to be there
NO_RIGHT = "42501"
PASSING_SQLITE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)
CANNOT_WRITE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY_CANTINIT, sqlite3.SQLITE_READONLY_DIRECTORY)
RECOVERY = "; keep a copy of the file, and try what `sqlite3 FILE .recover` can read of it"
REMEDY = "Give --db as a path, sqlite:///FILE or postgresql://USER@HOST/NAME."
IS_URL = re.compile(r"\w+(\+\w+)?://|(sqlite|postgresql|postgres):")  # what is none is a path


class Clock(FunctionElement[float]):
    """Seconds by the one clock that all who share a database read: leases must not hang on the clocks of many hosts.

    PostgreSQL's is that of its server, since 1970. Whoever shares a file of SQLite is on one machine, whose steady
    clock counts from its start and never jumps. Leases that are kept from before then end at no time that can be meant:
    see `search.store.lease`.
    """

    type = Double()
    name = "clock"
    inherit_cache = True


@compiles(Clock, "sqlite")
def _clock_sqlite(element: Clock, compiler: Any, **_: Any) -> str:  # noqa: ARG001
    return f"{STEADY}()"


@compiles(Clock, "postgresql")
def _clock_postgresql(element: Clock, compiler: Any, **_: Any) -> str:  # noqa: ARG001
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def connect(place: str, *, read_only: bool = False) -> Engine:
    """Give an engine for a URL, or for the path of an SQLite file; `read_only`: one that cannot and need not write.

    Raises StoreError where it names no database of a kind that we know, and where there is no file to read.
    """
    parsed = _parse(place)
    if parsed.get_backend_name() == "sqlite":
        return _connect_sqlite(parsed, read_only=read_only)
    arguments = {"connect_timeout": CONNECT_TIMEOUT_S, **UNHEARD}
    engine = create_engine(parsed, connect_args=arguments, pool_pre_ping=True)
    return reader(engine) if read_only else engine


def name_of(engine: Engine) -> str:
    """Give a database's URL as it may be told: SQLAlchemy hides a login's password, and none among the options."""
    return without_passwords(engine.url.render_as_string(hide_password=True))


def check_named(place: str) -> None:
    """Raise NoDatabaseError for what names no database, StoreError for one without its driver; looks for none."""
    file_of(place)


def file_of(place: str) -> Path | None:
    """Give the file of an SQLite database, None for one on a server. Raises StoreError as `connect` does."""
    parsed = _parse(place)
    return _file_of(parsed) if parsed.get_backend_name() == "sqlite" else None


def _expanded(file: str) -> Path:
    try:
        return Path(file).expanduser()
    except RuntimeError as error:
        raise NoDatabaseError(f"{file!r} lies in the home of a user who is not known here. {REMEDY}") from error


def _parse(place: str) -> URL:
    if place and not IS_URL.match(place):
        return URL.create("sqlite", database=str(_expanded(place)))
    if not place.startswith("sqlite") and any(map(str.isspace, place)):  # within a password, nobody would know its end
        raise NoDatabaseError(f"The database's URL has white space in it, which is written as %20. {REMEDY}")
    try:
        parsed = make_url(place)
        backend = parsed.get_backend_name()
        if backend == "postgresql":
            parsed.get_dialect().import_dbapi()
        else:
            parsed.get_dialect()
    except ModuleNotFoundError as error:
        raise StoreError(f"PostgreSQL needs {error.name}: pip install 'vortex-search[postgres]'.") from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise NoDatabaseError(f"{without_passwords(place)!r} names no database. {REMEDY}") from error
    if backend not in ("sqlite", "postgresql"):
        raise NoDatabaseError(f"{backend} is not a database that the ledger knows. {REMEDY}")
    if wrong := _wrong_of_file(parsed) if backend == "sqlite" else _wrong_of_server(parsed):
        raise NoDatabaseError(f"{without_passwords(place)!r} {wrong}")
    return parsed


def _wrong_of_file(url: URL) -> str:
    if url.host or url.username:
        return f"names a host, and a file has none: write three slashes. {REMEDY}"
    if url.drivername not in ("sqlite", "sqlite+pysqlite"):
        return f"asks for a driver that the ledger does not use for files. {REMEDY}"
    if url.query:  # SQLAlchemy would ignore them, and warn of that
        return "has options of its own behind the '?'; leave them out: the ledger sets them itself."
    return ""


def _wrong_of_server(url: URL) -> str:
    if url.port is not None and (wanted := port_wanted(url.port)):
        return f"names the port {url.port}: give {wanted}, or none for 5432."
    if "@" in (url.host or ""):
        return "names no host: write @ as %40 in a password, or put it into ~/.pgpass."
    return ""


def _connect_sqlite(url: URL, *, read_only: bool) -> Engine:
    file = _file_of(url)
    named = without_passwords(str(file))
    if read_only:
        if not file.is_file():
            raise StoreError(f"There is no database {named}. {REMEDY}")
        engine = create_engine(url.set(database=str(file)), creator=lambda: _open_to_read(file))
        event.listen(engine, "begin", _begin_sqlite)
        return reader(engine)
    if not file.parent.is_dir():
        folder = without_passwords(str(file.parent))
        raise StoreError(f"The database {named} cannot be made: the folder {folder} does not exist.")
    if file.exists() and not file.is_file():
        kind = "a folder" if file.is_dir() else "no regular file"
        raise StoreError(f"The database {named} cannot be made: that is {kind}. {REMEDY}")
    engine = create_engine(url.set(database=str(file)), connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _file_of(url: URL) -> Path:
    if url.database in (None, "", ":memory:"):
        told = url.database or "sqlite://"
        raise NoDatabaseError(f"{told!r} is a database in memory, which processes cannot share. {REMEDY}")
    return Path(url.database or "").absolute()


def damage_of(file: Path) -> str:
    """Say what is wrong within an SQLite file, read whole once; nothing where it is sound. It need not be a ledger."""
    try:
        with closing(_open_to_read(file)) as connection:
            told = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.Error as error:
        told = [str(error)]
    wrong = "; ".join(" ".join(each.split()) for each in told if each != "ok")
    return f"{file} is damaged: {wrong}{RECOVERY}" if wrong else ""


def _open_to_read(file: Path) -> sqlite3.Connection:
    """Open a file that somebody may be writing to, or that lies where nobody may write.

    Readers of a write-ahead log leave a file beside it. Where that cannot be made nobody can be writing either, and
    whatever is not in a log is in the database itself.
    """
    name = quote(str(file))
    try:
        return _readable(f"file:{name}?mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in CANNOT_WRITE or not file.is_file():
            raise
        log = file.with_name(f"{file.name}-wal")
        if log.exists() and log.stat().st_size:
            told = f"{error}; {log.name} beside it holds more of it, so copy both into a folder where you may write"
            raise sqlite3.OperationalError(told) from error
    return _readable(f"file:{name}?mode=ro&immutable=1")


def _readable(uri: str) -> sqlite3.Connection:
    """Open a file for reading, and keep what is read often at hand."""
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").close()  # nothing is opened before something is read
        for pragma in ("query_only = ON", f"cache_size = -{CACHE_KIB}", f"mmap_size = {MMAP_BYTES}"):
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
    _tell_the_time(connection)
    return connection


def _tell_the_time(connection: Any) -> None:
    connection.create_function(STEADY, 0, time.monotonic)


def _prepare_sqlite(connection: Any, record: object) -> None:  # noqa: ARG001
    """Take transactions into our own hands (the driver would begin them late), and set what holds per connection."""
    connection.isolation_level = None
    _tell_the_time(connection)
    _write_ahead(connection)
    for pragma in ("synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _write_ahead(connection: Any) -> None:
    """Switch to WAL. For that alone SQLite does not wait: of several who open a new file, some find it locked."""
    deadline = time.monotonic() + WAL_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    """Lock at once for writing: a read that turns into a write fails when somebody wrote in between."""
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def reader(engine: Engine) -> Engine:
    """Give the same engine for transactions that only read: they see one moment and wait for no writer."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(reading=True)
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


@contextmanager
def explained(engine: Engine) -> Iterator[None]:
    """Turn what a driver says when a database is unwritable, full, damaged, locked or away into a StoreError.

    AwayError is what passes.
    """
    try:
        yield
    except DBAPIError as error:
        if not _is_fault(engine, error.orig):
            raise
        name = name_of(engine)
        reason = _reason(error.orig)
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
            reason += RECOVERY
        kind = AwayError if _passes(error.orig) else StoreError
        raise kind(f"The database {name} cannot be used: {reason}.") from error


def _reason(error: BaseException | None) -> str:
    """Give what a driver says, without the statement that a server repeats."""
    said = getattr(getattr(error, "diag", None), "message_primary", None)
    if said and getattr(error, "sqlstate", "") == NO_RIGHT:
        said += "; its owner can GRANT that to this user, or make a schema for him"
    return " ".join(str(said or error).split())


def _is_fault(engine: Engine, error: BaseException | None) -> bool:
    """Tell a fault of the surroundings from a bug of ours. SQLite has no class of its own for "not a database"."""
    driver = engine.dialect.loaded_dbapi
    is_named = (getattr(error, "sqlstate", "") or "").startswith(FAULTS)
    kinds = isinstance(error, driver.OperationalError) or type(error) is driver.DatabaseError
    return _passes(error) or is_named or kinds


def _passes(error: BaseException | None) -> bool:
    """Tell what passes: a lock of SQLite, a full disk, a server that is away, ends, starts or is in a knot."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in PASSING_SQLITE
    state = getattr(error, "sqlstate", "")
    is_cut_off = state is None and type(error).__name__ == "OperationalError"  # no server says anything of it
    return state.startswith(PASSING) if state else is_cut_off


class Transaction(Session):
    """A session within a connection's transaction: whoever needs no objects asks that connection and pays for no more.

    The transaction is its maker's to end, who flushes the session before.
    """

    def __init__(self, connection: Connection, info: dict[str, Any]) -> None:
        super().__init__(connection, info=info)
        self._within = connection

    def connection(
        self,
        bind_arguments: Any | None = None,  # noqa: ARG002 - the session's signature
        execution_options: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Connection:
        """Give the transaction's connection."""
        return self._within


@cache
def inserting(dialect: str, model: type[Base]) -> sqlite.Insert | postgresql.Insert:
    """Give the statement that inserts a row unless its unique key is taken: building it costs more than the insert."""
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return insert(model).on_conflict_do_nothing()


@cache
def _counted(dialect: str, model: type[Base]) -> Any:
    return inserting(dialect, model).inline().execution_options(preserve_rowcount=True)


def insert_new(session: Session, model: type[Base], **values: Any) -> bool:
    """Insert a row unless its unique key is taken; say whether it was inserted."""
    connection = session.connection()
    return connection.execute(_counted(connection.dialect.name, model), values).rowcount == 1


class Kept:
    """Rows of a database that are there for good, by table and digest: those of its own kind are never removed.

    One for each transaction, in `Session.info`; `committed` is what transactions before it have stored or seen.
    """

    def __init__(self, committed: set[tuple[type[Base], str]]) -> None:
        self._committed = committed
        self._new: set[tuple[type[Base], str]] = set()

    def has(self, model: type[Base], digest: str) -> bool:
        """Say whether a row is known to be there; it may be there without that."""
        return (model, digest) in self._committed or (model, digest) in self._new

    def add(self, model: type[Base], digest: str) -> None:
        """Note a row that this transaction has inserted or found."""
        self._new.add((model, digest))

    def commit(self) -> None:
        """Tell the transactions that come; what was rolled back is told to nobody."""
        if len(self._committed) > MOST_KEPT:
            self._committed.clear()
        self._committed |= self._new


def keep(session: Session, model: type[Base], digest: str, columns: Callable[[], dict[str, Any]]) -> None:
    """Insert a row with a digest of its own unless it is there; only where it may not be its columns are asked for."""
    kept: Kept = session.info["kept"]
    if not kept.has(model, digest):
        insert_new(session, model, digest=digest, **columns())
        kept.add(model, digest)
