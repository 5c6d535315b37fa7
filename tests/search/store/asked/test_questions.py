"""Dollars of questions between what is kept back for them and the candidate that pays: each once, whatever dies."""

import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from search.asking.owing import Owing, Reserved, bound_told, owing_told
from search.records import Candidate, Proposal, Status, StoredCampaign
from search.store.ledger import SqlLedger

FOLDER = Path(__file__).parent
MINUTE = 60.0


def asked(campaign, dollars, name="a", step=0):
    return Reserved(name, campaign.id, step, "big", "m", dollars)


def answered(campaign, step, dollars, *names):
    proposal = Proposal("x", "big", "mutate", dollars=dollars, questions=names)
    return Candidate(campaign.id, step, proposal, Status.PROGRAM_ERROR)


def spent(ledger, campaign):
    return {name: dollars for name, dollars, _ in ledger.progress(campaign.id).proposers}


class QuestionsContract:
    """Subclasses give a fixture `url`."""

    @pytest.fixture
    def ledger(self, url):
        with closing(SqlLedger(url)) as opened:
            yield opened

    @pytest.fixture
    def campaign(self, ledger):
        return ledger.create_campaign(StoredCampaign(0, 1, ("big",), "probe"))

    def test_what_is_reserved_counts_until_a_candidate_has_paid(self, ledger, campaign):
        assert ledger.owing(campaign.id) == []
        assert ledger.reserve(asked(campaign, 0.5), 1.0) is None
        assert ledger.progress(campaign.id).owing == (Owing("big", 0.0, 0.5, 1),)
        assert spent(ledger, campaign) == {"big": 0.5}
        ledger.settle("a", 0.125)
        assert ledger.owing() == [Owing("big", 0.125, 0.0, 0)]
        ledger.add_candidate(answered(campaign, 0, 0.125, "a"))
        assert ledger.owing() == []
        assert spent(ledger, campaign) == {"big": 0.125}

    def test_what_is_not_covered_is_told_with_all_that_counts(self, ledger, campaign):
        ledger.add_candidate(answered(campaign, 0, 0.25))
        assert ledger.reserve(asked(campaign, 0.5), 1.0) is None
        assert ledger.reserve(asked(campaign, 0.5, "b"), 1.0) == 0.75
        assert ledger.reserve(asked(campaign, 0.25, "b"), 1.0) is None
        assert ledger.reserve(asked(campaign, 0.5, "b"), 1.0) == 0.75  # what it has itself aside
        assert [each.dollars for each in ledger.owing()] == [0.75]

    def test_a_question_that_is_written_twice_is_one(self, ledger, campaign):
        for _ in range(2):
            assert ledger.reserve(asked(campaign, 0.5), 1.0) is None
        assert ledger.reserve(asked(campaign, 0.75), 1.0) is None  # it is sent again
        assert ledger.owing() == [Owing("big", 0.0, 0.75, 1)]

    def test_campaigns_do_not_pay_for_each_other(self, ledger, campaign):
        other = ledger.create_campaign(StoredCampaign(0, 1, ("big",), "probe"))
        assert ledger.reserve(asked(campaign, 1.0), 1.0) is None
        assert ledger.reserve(asked(other, 1.0, "b"), 1.0) is None
        assert ledger.owing(other.id) == [Owing("big", 0.0, 1.0, 1)]
        assert ledger.owing() == [Owing("big", 0.0, 2.0, 2)]
        with pytest.raises(LookupError, match="no campaign 99"):
            ledger.reserve(dataclasses.replace(asked(other, 1.0, "c"), campaign_id=99), 1.0)

    def test_who_comes_second_to_a_step_still_owes_what_it_asked(self, ledger, campaign):
        for name in ("a", "b"):
            ledger.reserve(asked(campaign, 0.5, name), 9.0)
            ledger.settle(name, 0.125)
        ledger.add_candidate(answered(campaign, 0, 0.125, "a"))
        for _ in range(2):
            ledger.add_candidate(answered(campaign, 0, 0.125, "b"))
        assert ledger.owing() == [Owing("big", 0.125, 0.0, 0)]
        assert spent(ledger, campaign) == {"big": 0.25}

    def test_two_drivers_never_keep_back_more_than_there_is(self, url, ledger, campaign):
        def ask(i):
            with closing(SqlLedger(url)) as mine:
                return mine.reserve(asked(campaign, 0.25, f"q{i}"), 1.0)

        with ThreadPoolExecutor(8) as pool:
            refused = [each for each in pool.map(ask, range(12)) if each is not None]
        assert refused == [1.0] * 8
        assert ledger.owing() == [Owing("big", 0.0, 1.0, 4)]

    def test_dollars_are_never_between_two_stools(self, url, ledger, campaign):
        """Whoever reserves sees those of a candidate that is stored meanwhile: as owed or as paid."""
        for i in range(30):
            ledger.reserve(asked(campaign, 1.0, f"q{i}"), 99.0)

        def record(i):
            with closing(SqlLedger(url)) as mine:
                mine.add_candidate(answered(campaign, i, 1.0, f"q{i}"))

        with ThreadPoolExecutor(2) as pool:
            work = [pool.submit(record, i) for i in range(30)]
            seen = {ledger.reserve(asked(campaign, 1.0, "mine"), 1.0) for _ in range(60)}
            for each in work:
                each.result(timeout=MINUTE)
        assert seen == {30.0}
        assert spent(ledger, campaign) == {"big": 30.0}

    def test_a_commit_whose_end_nobody_heard_counts_once(self, ledger, campaign):
        broken = []

        def cut(connection):
            if not broken:
                broken.append(connection.connection.dbapi_connection)
                connection.connection.dbapi_connection.commit() if connection.dialect.name != "sqlite" else None
                raise_cut_off(connection)

        def raise_cut_off(connection):
            import sqlite3

            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("COMMIT")
                locked = sqlite3.OperationalError("database is locked")
                locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise OperationalError("COMMIT", None, locked)
            import psycopg

            raise OperationalError("COMMIT", None, psycopg.OperationalError("the connection is lost"))

        def once(act):
            broken.clear()
            event.listen(ledger._engine, "commit", cut)
            try:
                act()
            finally:
                event.remove(ledger._engine, "commit", cut)
            assert broken

        once(lambda: ledger.reserve(asked(campaign, 0.5), 1.0))
        assert ledger.owing() == [Owing("big", 0.0, 0.5, 1)]
        once(lambda: ledger.settle("a", 0.25))
        assert ledger.owing() == [Owing("big", 0.25, 0.0, 0)]
        once(lambda: ledger.add_candidate(answered(campaign, 0, 0.25, "a")))
        assert ledger.owing() == []
        assert spent(ledger, campaign) == {"big": 0.25}

    def test_a_driver_killed_before_its_commit_has_reserved_nothing_and_sent_nothing(self, url, ledger, campaign):
        command = [sys.executable, FOLDER / "die_reserving.py", url, str(campaign.id)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
            assert [driver.stdout.readline().strip() for _ in range(2)] == ["reserved", "written, not committed"]
            driver.kill()
        assert ledger.owing() == [Owing("big", 0.0, 0.5, 1)]
        assert ledger.reserve(asked(campaign, 0.5, "c"), 1.0) is None


class TestSqlite(QuestionsContract):
    @pytest.fixture
    def url(self, sqlite_url):
        return sqlite_url


@pytest.mark.postgres
class TestPostgresql(QuestionsContract):
    @pytest.fixture
    def url(self, postgresql_url):
        return postgresql_url


def test_a_bound_is_told_as_such():
    heard, one, two = Owing("a", 0.5), Owing("b", 0.0, 0.25, 1), Owing("c", 0.25, 0.5, 2)
    assert (owing_told([]), bound_told([heard])) == ("", "")
    assert owing_told([heard]) == "language models cost $0.5000 more, for what is no program on record"
    assert bound_told([one]) == "of which at most $0.2500 for 1 question whose answer was not heard"
    assert owing_told([heard, one, two]) == (
        "language models cost $1.5000 more, for what is no program on record, "
        "of which at most $0.7500 for 3 questions whose answers were not heard"
    )
