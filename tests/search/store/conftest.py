"""An empty database of each kind. PostgreSQL is a real server, started once, on a socket in its own folder."""

import itertools

import pytest

from benchmarks.store.server import is_installed, server

NUMBERS = itertools.count()
SETTINGS = ("fsync=off", "max_connections=60", "shared_buffers=16MB")


@pytest.fixture(scope="session")
def postgresql():
    """Start PostgreSQL."""
    if not is_installed():
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    with server(*SETTINGS) as started:
        yield started


@pytest.fixture
def postgresql_url(postgresql):
    """Give the URL of an empty schema: as good as a database, and cheaper to make and to throw away."""
    import psycopg

    name = f"ledger_{next(NUMBERS)}"
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{postgresql.url}&options=-csearch_path%3D{name}"


@pytest.fixture
def sqlite_url(tmp_path):
    """Give the URL of a database that does not exist yet."""
    return f"sqlite:///{tmp_path}/results.db"
