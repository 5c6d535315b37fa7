"""A dashboard over ledgers that were drawn."""

import sqlite3
from contextlib import closing

import pytest
from starlette.testclient import TestClient

from benchmarks.dash.made import Size, make
from search.dash.app import build
from search.store.ledger import SqlLedger

HERE = "http://127.0.0.1:8787"


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    """Give a ledger of three campaigns that nobody writes into."""
    made = tmp_path_factory.mktemp("dash") / "made.db"
    make(f"sqlite:///{made}", Size(600, 3))
    return made


@pytest.fixture(scope="session")
def ledger(file):
    with closing(SqlLedger(f"sqlite:///{file}", read_only=True)) as opened:
        yield opened


@pytest.fixture(scope="session")
def site(ledger):
    """Give a client of the dashboard."""
    with TestClient(build(ledger), base_url=HERE) as client:
        yield client


@pytest.fixture(scope="session")
def ask(file):
    """Give a function that asks the file itself."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        yield lambda query, *values: connection.execute(query, values).fetchall()


@pytest.fixture
def writable(tmp_path):
    """Give the URL of a small ledger that a test may write into."""
    url = f"sqlite:///{tmp_path / 'own.db'}"
    make(url, Size(6, 1))
    return url


@pytest.fixture
def changed(writable):
    """Give a function that changes that ledger by SQL, and gives a client of its dashboard."""

    def change(*statements):
        with closing(sqlite3.connect(writable.removeprefix("sqlite:///"))) as connection, connection:
            for each in statements:
                connection.execute(each)
        return TestClient(build(SqlLedger(writable, read_only=True)), base_url=HERE)

    return change
