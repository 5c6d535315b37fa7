"""Readers need no lock and no right to write."""

import gc
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from fake_measurements import CAMPAIGN, measure, propose, task
from sqlalchemy import event

from search.commands.database import existing
from search.store import schema
from search.store.database import connect
from search.store.errors import StoreError
from search.store.ledger import SqlLedger
from search.store.rows import Uncollected
from tests.search.store.test_database import unprivileged

AT_ONCE_S = 0.9  # less than SQLite waits for a lock
READ = "from search.store.ledger import SqlLedger; print(len(SqlLedger({url!r}, read_only=True).standings()))"


@pytest.fixture
def file(tmp_path):
    """Give a ledger of one row, which nobody has open."""
    folder = tmp_path / "kept"
    folder.mkdir()
    file = folder / "results.db"
    with closing(SqlLedger(f"sqlite:///{file}")) as ledger:
        campaign = ledger.create_campaign(CAMPAIGN)
        measure(ledger, ledger.add_candidate(propose(campaign, 0)), task(), accuracy=0.5)
    return file


@pytest.mark.parametrize("read_only", [True, False])
def test_opening_waits_for_no_writer(file, read_only):
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with closing(SqlLedger(f"sqlite:///{file}", read_only=read_only)) as ledger:
            assert len(ledger.standings()) == 1
        assert time.monotonic() - began < AT_ONCE_S


def test_reader_sees_what_is_written_meanwhile(file):
    with (
        closing(SqlLedger(f"sqlite:///{file}", read_only=True)) as reader,
        closing(SqlLedger(f"sqlite:///{file}")) as ledger,
    ):
        ledger.add_candidate(propose(ledger.campaign(), 1))
        assert len(reader.standings()) == 2


def test_reader_changes_nothing(file):
    before = file.read_bytes()
    with closing(SqlLedger(f"sqlite:///{file}", read_only=True)) as ledger:
        with pytest.raises(StoreError, match="readonly"):
            ledger.create_campaign(CAMPAIGN)
        assert len(ledger.campaigns()) == 1
    assert file.read_bytes() == before


def unwritable(file):
    """Read it as somebody who may write neither the file nor its folder, as on a read-only mount."""
    for each in file.parent.iterdir():
        each.chmod(0o444)
    file.parent.chmod(0o555)
    command = [*unprivileged(file.parent), sys.executable, "-c", READ.format(url=f"sqlite:///{file}")]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        file.parent.chmod(0o755)
        for each in file.parent.iterdir():
            each.chmod(0o644)


def test_read_only_folder_can_be_read(file):
    done = unwritable(file)
    assert done.stdout.strip() == "1", done.stderr
    assert [each.name for each in file.parent.iterdir()] == ["results.db"]


def test_name_of_a_file_may_be_any(file):
    other = file.with_name("50 % of #1 & more.db")
    file.rename(other)
    with closing(SqlLedger(f"sqlite:///{other}", read_only=True)) as ledger:
        assert len(ledger.standings()) == 1


def test_log_that_nobody_may_read_is_told(file):
    """What a writer that died left in its log cannot be read where no file can be made beside it."""
    code = (
        "import os; from search.store.ledger import SqlLedger; from tests.fakes.fake_measurements import propose; "
        f"l = SqlLedger('sqlite:///{file}'); l.add_candidate(propose(l.campaign(), 1)); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    file.with_name("results.db-shm").unlink()
    done = unwritable(file)
    assert f"sqlite:///{file} cannot be used" in done.stderr
    assert "copy both into a folder where you may write" in done.stderr
    with closing(SqlLedger(f"sqlite:///{file}", read_only=True)) as ledger:
        assert len(ledger.standings()) == 2


def test_command_that_reads_brings_an_old_ledger_to_head(file):
    from alembic import command

    engine = connect(f"sqlite:///{file}")
    with engine.begin() as connection:
        command.downgrade(schema.configuration(connection), "0008")
    engine.dispose()
    done = unwritable(file)
    assert "SchemaError" in done.stderr
    with existing(str(file)) as ledger:
        assert [row.accuracy for row in ledger.standings()] == [0.5]


@pytest.mark.postgres
def test_reader_cannot_write_to_a_server_either(postgresql_url):
    SqlLedger(postgresql_url).close()
    with closing(SqlLedger(postgresql_url, read_only=True)) as ledger:
        with pytest.raises(Exception, match="read-only transaction"):
            ledger.create_campaign(CAMPAIGN)
        assert ledger.campaigns() == []


def test_no_garbage_is_sought_while_much_is_read(file):
    with closing(SqlLedger(f"sqlite:///{file}", read_only=True)) as ledger:
        sought = []
        event.listen(ledger._engine, "before_cursor_execute", lambda *_: sought.append(gc.isenabled()))
        for read in (lambda: ledger.records(1), ledger.standings, lambda: ledger.spent(1)):
            read()
            assert sought.pop() is False
            assert gc.isenabled()


def test_the_last_to_leave_lets_garbage_be_sought_again():
    uncollected = Uncollected()
    with uncollected:
        with uncollected:
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected:
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
