"""A database that is away for a while: locked, restarted, or cut off in the middle of a word."""

import itertools
import os
import socket
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_measurements import CAMPAIGN, ENVIRONMENT, MINUTE, MOMENT, measure, propose, result, task
from sqlalchemy import event

from benchmarks.store.server import is_installed, server
from search.contracts import Claim
from search.records import Status
from search.store import patience
from search.store.database import BUSY_TIMEOUT_S
from search.store.errors import AwayError
from search.store.ledger import SqlLedger
from tests.search.store.relay import Relay

LOCKED_S = 1.5  # longer than SQLite itself waits
AWAY_S = 2.0
SOON_S = 5.0
MOMENT_S = 0.5
LARGEST_FILE = 1 << 30  # in pages


@contextmanager
def locked(file, for_s):
    """Let somebody else hold the lock for so long, or to the end of the block."""
    held = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    held.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(for_s, held.rollback)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        held.close()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "results.db"


@pytest.fixture
def ledger(file, sqlite_url):
    with closing(SqlLedger(sqlite_url, patience_s=MINUTE)) as opened:
        yield opened


WRITES = {
    "claim": lambda ledger, _: ledger.claim(task(), "me", MINUTE),
    "heartbeat": lambda ledger, _: ledger.heartbeat([task("held").key], "me", MINUTE),
    "begin": lambda ledger, _: ledger.begin([task("held").key], "me"),
    "finish": lambda ledger, _: ledger.finish(result(task("held")), "me", ENVIRONMENT),
    "release": lambda ledger, _: ledger.release([task("held").key], "me"),
    "add_candidate": lambda ledger, campaign: ledger.add_candidate(propose(campaign, 0)),
    "create_campaign": lambda ledger, _: ledger.create_campaign(CAMPAIGN),
    "assign": lambda ledger, campaign: ledger.assign(campaign.id, 0),
}


def test_every_write_outlasts_a_lock(ledger, file):
    campaign = ledger.create_campaign(CAMPAIGN)
    ledger.claim(task("held"), "me", MINUTE)
    ledger._engine.dispose()
    told = {}
    with locked(file, LOCKED_S):
        threads = [
            threading.Thread(target=lambda name=name, write=write: told.update({name: write(ledger, campaign)}))
            for name, write in WRITES.items()
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join(MINUTE)
    assert told.keys() == WRITES.keys()
    assert told["claim"] is Claim.TAKEN


def test_patience_ends_with_the_reason(sqlite_url, file):
    with closing(SqlLedger(sqlite_url, patience_s=0.1)) as ledger, locked(file, MINUTE), pytest.raises(AwayError):
        ledger.create_campaign(CAMPAIGN)


def test_who_waited_in_vain_has_no_more_patience_until_it_is_back(sqlite_url, file):
    with closing(SqlLedger(sqlite_url, patience_s=LOCKED_S)) as ledger:
        with locked(file, MINUTE):
            with pytest.raises(AwayError):
                ledger.create_campaign(CAMPAIGN)
            began = time.monotonic()
            with pytest.raises(AwayError):
                ledger.release([task().key], "me")
            assert time.monotonic() - began < BUSY_TIMEOUT_S + MOMENT_S
        ledger.create_campaign(CAMPAIGN)
        with locked(file, LOCKED_S / 2):
            ledger.create_campaign(CAMPAIGN)


def test_who_gives_up_waits_no_more(ledger, file):
    with locked(file, MINUTE):
        threading.Timer(0.2, ledger.give_up).start()
        began = time.monotonic()
        with pytest.raises(AwayError):
            ledger.create_campaign(CAMPAIGN)
        assert time.monotonic() - began < SOON_S


def test_a_long_absence_is_told_once_and_so_is_its_end(sqlite_url, file, monkeypatch):
    monkeypatch.setattr(patience, "TOLD_S", 0.0)
    told = []
    with closing(SqlLedger(sqlite_url, patience_s=MINUTE, told=told.append)) as ledger, locked(file, LOCKED_S):
        ledger.create_campaign(CAMPAIGN)
    assert len(told) == 2
    assert "locked" in told[0]
    assert "back" in told[1]


def test_a_full_disk_is_waited_for_until_somebody_makes_room(ledger, monkeypatch):
    monkeypatch.setattr(patience, "TOLD_S", 0.0)
    told, most_pages = [], [1]
    ledger._patience._told = told.append
    event.listen(ledger._engine, "begin", lambda each: each.exec_driver_sql(f"PRAGMA max_page_count = {most_pages[0]}"))

    timer = threading.Timer(MOMENT_S, most_pages.__setitem__, [0, LARGEST_FILE])
    timer.start()
    campaigns = [ledger.create_campaign(CAMPAIGN) for _ in range(200)]
    timer.join()
    assert ledger.campaigns() == campaigns
    assert "is full" in told[0]
    assert "back" in told[1]


def test_nobody_is_blamed_for_a_lease_that_could_not_be_prolonged(ledger, file):
    """The lock ends all leases at once; whoever comes first after it leaves the others time to say that they live."""
    for _ in range(4):
        ledger.claim(task(), "alive", MINUTE)
        ledger.begin([task().key], "alive")
        ledger.heartbeat([task().key], "alive", 0.5)
        with locked(file, LOCKED_S):
            assert ledger.claim(task(), "other", MINUTE) is Claim.BUSY
        ledger.heartbeat([task().key], "alive", MINUTE)
    ledger.finish(result(task(), accuracy=0.5), "alive", ENVIRONMENT)
    assert ledger.claim(task(), "other", MINUTE).status is Status.OK


@pytest.fixture(scope="module")
def own_server():
    """Start a server that these tests may stop."""
    if not is_installed():
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    with server("fsync=off", "max_connections=20", "shared_buffers=16MB") as started:
        yield started


@pytest.fixture
def schema(own_server):
    """Give the URL of an empty schema in it."""
    import psycopg

    name = f"own_{next(NUMBERS)}"
    with psycopg.connect(own_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"options=-csearch_path%3D{name}"


NUMBERS = itertools.count()


@pytest.mark.postgres
def test_nobody_is_blamed_for_a_lease_that_a_restart_cut_off(own_server, schema):
    """Owners that are gone when the server is back, or not patient enough, have not died of what they measured."""
    for _ in range(4):
        with closing(SqlLedger(f"{own_server.url}&{schema}")) as ledger:
            assert ledger.claim(task(), "me", MOMENT) is Claim.TAKEN
            ledger.begin([task().key], "me")
        own_server.stop()
        time.sleep(MOMENT)
        own_server.start()


@pytest.mark.postgres
def test_a_restarted_server_is_waited_for(own_server, schema):
    with closing(SqlLedger(f"{own_server.url}&{schema}", patience_s=MINUTE)) as ledger:
        campaign = ledger.create_campaign(CAMPAIGN)
        candidate = ledger.add_candidate(propose(campaign, 0))
        ledger.claim(task(), "me", MINUTE, candidate.id)
        ledger.begin([task().key], "me")
        own_server.stop()
        starting = threading.Timer(AWAY_S, own_server.start)
        starting.start()
        ledger.heartbeat([task().key], "me", MINUTE)
        starting.join()
        assert ledger.claim(task(), "you", MINUTE, candidate.id) is Claim.BUSY
        own_server.stop()
        starting = threading.Timer(0.1, own_server.start)
        starting.start()
        ledger.finish(result(task(), accuracy=0.5), "me", ENVIRONMENT)
        starting.join()
        (record,) = ledger.records(campaign.id)
        assert [each.value("accuracy") for each in record.evaluations] == [0.5]


@pytest.mark.postgres
def test_a_server_that_is_not_there_at_first_is_not_waited_for(tmp_path):
    began = time.monotonic()
    with pytest.raises(AwayError):
        SqlLedger(f"postgresql://vortex@/results?host={tmp_path}", patience_s=MINUTE)
    assert time.monotonic() - began < SOON_S


@pytest.fixture
def relay(own_server):
    folder = parse_qs(urlsplit(own_server.url).query)["host"][0]
    opened = Relay(Path(folder, ".s.PGSQL.5432"))
    yield opened
    opened.close()


@pytest.fixture
def remote(relay, schema):
    with closing(
        SqlLedger(f"postgresql://vortex@127.0.0.1:{relay.port}/postgres?{schema}", patience_s=MINUTE)
    ) as opened:
        yield opened


@pytest.mark.postgres
def test_what_was_committed_before_the_connection_broke_is_not_done_twice(relay, remote):
    def cut_while_committing(write, *given):
        before = relay.num_cut
        relay.cut_at(b"COMMIT")
        found = write(*given)
        assert relay.num_cut == before + 1
        return found

    campaign = cut_while_committing(remote.create_campaign, CAMPAIGN)
    candidate = cut_while_committing(remote.add_candidate, propose(campaign, 0))
    assert cut_while_committing(remote.claim, task(), "me", MINUTE, candidate.id) is Claim.TAKEN
    assert remote.claim(task(), "me", MINUTE) is Claim.BUSY
    cut_while_committing(remote.begin, [task().key], "me")
    cut_while_committing(remote.finish, result(task(), accuracy=0.5), "me", ENVIRONMENT)
    assert remote.campaigns() == [campaign]
    (record,) = remote.records(campaign.id)
    assert [each.value("accuracy") for each in record.evaluations] == [0.5]
    (counted,) = remote.progress(campaign.id).evaluations
    assert counted[2] == 1


@pytest.mark.postgres
def test_a_server_that_falls_silent_counts_as_away_within_a_minute(remote):
    """A host that loses its power ends no connection: the kernel has to ask, and to give up on what nobody hears."""
    with (
        remote._engine.connect() as connection,
        socket.socket(fileno=os.dup(connection.connection.driver_connection.fileno())) as end,
    ):
        assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT
        idle_s, between_s, number, unheard_ms = (end.getsockopt(socket.IPPROTO_TCP, each) for each in options)
    assert idle_s + between_s * number <= MINUTE
    assert unheard_ms <= 1000 * MINUTE


@pytest.mark.postgres
def test_readers_come_back_too(relay, remote):
    campaign = remote.create_campaign(CAMPAIGN)
    measure(remote, remote.add_candidate(propose(campaign, 0)), task(), accuracy=0.5)
    relay.cut()
    assert [row.accuracy for row in remote.standings()] == [0.5]
    relay.cut()
    assert len(remote.records(campaign.id)) == 1
