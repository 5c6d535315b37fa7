"""Hypotheses and notes in a real database of each kind: as they were written, and before anything is measured."""

import dataclasses
from contextlib import closing

import pytest
from sqlalchemy import create_engine, inspect, text

from search.journal.entries import Hypothesis, Note
from search.records import Candidate, Proposal, Status, StoredCampaign
from search.store import schema
from search.store.ledger import SqlLedger

CAMPAIGN = StoredCampaign(seed=1, num_candidates=9, proposers=("llm",), model="probe")
HYPOTHESES = (
    Hypothesis("signs keep order", "kl < parent at 8"),
    Hypothesis("\0'); DROP TABLE note; --\ud800 π", "x" * 999),
)
NOTES = (Note("stop", "larger budgets"), Note("holds", "signs \U0001f600"))
PROPOSAL = Proposal("class A: ...", "llm", "reflect", hypotheses=HYPOTHESES, notes=NOTES)


class EntriesContract:
    """Subclasses give a fixture `url` of an empty database."""

    @pytest.fixture
    def ledger(self, url):
        with closing(SqlLedger(url)) as ledger:
            yield ledger

    @pytest.fixture
    def campaign(self, ledger):
        return ledger.create_campaign(CAMPAIGN)

    def test_they_come_back_with_their_candidate(self, ledger, campaign):
        plain = ledger.add_candidate(Candidate(campaign.id, 0, Proposal("b", "grammar", "random"), Status.DUPLICATE))
        stored = ledger.add_candidate(Candidate(campaign.id, 1, PROPOSAL, Status.OK, "", "p1", "A"))
        assert stored.proposal == PROPOSAL
        assert ledger.candidate(stored.id).candidate == stored
        assert ledger.find("p1").candidate == stored
        assert [record.candidate for record in ledger.records(campaign.id)] == [plain, stored]
        assert plain.proposal.hypotheses == plain.proposal.notes == ()

    def test_a_refused_program_keeps_them(self, ledger, campaign):
        stored = ledger.add_candidate(Candidate(campaign.id, 0, PROPOSAL, Status.PROGRAM_ERROR, "no"))
        assert ledger.candidate(stored.id).candidate.proposal.notes == NOTES

    def test_what_was_registered_is_never_replaced(self, ledger, campaign):
        """A step that is there already stays as it is: nobody predicts again once numbers are known."""
        first = ledger.add_candidate(Candidate(campaign.id, 0, PROPOSAL, Status.OK, "", "p0", "A"))
        wiser = dataclasses.replace(PROPOSAL, hypotheses=(Hypothesis("I knew it", "kl < 1"),), notes=())
        assert ledger.add_candidate(Candidate(campaign.id, 0, wiser, Status.OK, "", "p0", "A")) == first
        assert ledger.candidate(first.id).candidate.proposal.hypotheses == HYPOTHESES

    def test_other_campaigns_are_left_out(self, ledger, campaign):
        ledger.add_candidate(Candidate(campaign.id, 0, PROPOSAL, Status.OK, "", "p0", "A"))
        other = ledger.create_campaign(CAMPAIGN)
        ledger.add_candidate(Candidate(other.id, 0, Proposal("c", "llm", "explore"), Status.OK, "", "p1", "B"))
        (record,) = ledger.records(other.id)
        assert record.candidate.proposal.hypotheses == ()

    def test_an_older_database_gets_the_tables_and_loses_them_again(self, url, ledger, campaign):
        from alembic import command

        def tables(connection):
            return {"hypothesis", "note"} & set(inspect(connection).get_table_names())

        older = ledger.add_candidate(
            Candidate(campaign.id, 0, Proposal("b", "llm", "explore"), Status.OK, "", "p", "B")
        )
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            command.downgrade(schema.configuration(connection), "0006")
            assert tables(connection) == set()
        with closing(SqlLedger(url)) as opened:
            assert opened.candidate(older.id).candidate == older
            newer = opened.add_candidate(Candidate(campaign.id, 1, PROPOSAL, Status.OK, "", "p1", "A"))
            assert opened.candidate(newer.id).candidate.proposal == PROPOSAL
        with engine.begin() as connection:
            assert tables(connection) == {"hypothesis", "note"}
            rows = connection.execute(text("SELECT candidate_id, position, kind FROM note ORDER BY position")).all()
        assert [tuple(row) for row in rows] == [(newer.id, 0, "stop"), (newer.id, 1, "holds")]
        engine.dispose()


class TestSqlite(EntriesContract):
    @pytest.fixture
    def url(self, sqlite_url):
        return sqlite_url


class TestPostgresql(EntriesContract):
    @pytest.fixture
    def url(self, postgresql_url):
        return postgresql_url
