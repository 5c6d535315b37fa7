"""Fronts of sections: what a ledger tells of them is what reading all rows would tell."""

import itertools
import random
from contextlib import closing
from dataclasses import fields

import pytest
from sqlalchemy import select

from benchmarks.dash.made import Size, make
from search.ranking.conditions import ConditionError
from search.ranking.front import Front, sections
from search.records import Choice
from search.store import models
from search.store.derived import tally
from search.store.derived.place import place
from search.store.ledger import SqlLedger
from tests.search.ranking.test_front import fronts_of
from tests.search.store.test_board import plans

SIZE = Size(rules=120, campaigns=3)
FIGURES = ("kl", "retrieval_loss", "accuracy", "recall", "speedup", "speedup_low", "modelled_speedup")
CHOICES = (
    Choice(),
    Choice(ratio=8.0),
    Choice(ratio=0.0),
    Choice(ratio=5.0),
    Choice(model="smollm2"),
    Choice(model="a-model", device="h200"),
    Choice(device="EPYC"),
    Choice(device="none like it"),
)
NARROWED = (
    Choice(where="kl < 1.2 and origin != 'zoo/seed'"),
    Choice(where="model == 'a-model'", sort="-speedup"),
    Choice(ratio=8.0, sort="kl"),
    Choice(where="id < 40", sort="name"),
    Choice(where="id < 0"),
)
NOT_MEASURED = {"ratio": 0.0, "lengths": "", "model_digest": "", "environment_digest": "", "evaluator_version": "",
                "device": "", "dtype": "", "cost_ratio": None, **dict.fromkeys(FIGURES)}  # fmt: skip


def vary(row, drawn):
    """Let a row lack figures, be stopped, be only a reference, be confirmed, be of other texts or not measured."""
    for name in FIGURES:  # few values, so that some rows are equal
        setattr(row, name, drawn.choice((None, None, 0.5, 1.0, 1.5)))
    row.target = drawn.choice(("H100", "H200"))
    row.status = drawn.choice(("ok", "ok", "ok", "crashed", "below_gate"))
    row.cost_ratio = drawn.choice((None, 1.0, row.ratio, row.ratio))
    row.confirmed = drawn.random() < 0.2
    row.device = drawn.choice((row.device, row.device, ""))  # as of rows with nothing but what was held out
    row.workload = drawn.choice(("w" * 16, "w" * 16, "v" * 16))
    if row.ratio == 4.0 and drawn.random() < 0.3:
        for name, value in NOT_MEASURED.items():
            setattr(row, name, value)
    row.place = place({column.key: getattr(row, column.key) for column in models.Standing.__table__.columns})


def fill(url):
    """Draw a ledger whose rows are all that rows may be."""
    make(url, SIZE)
    ledger, drawn = SqlLedger(url), random.Random(0)
    with ledger._writing() as session:
        session.get_one(models.Campaign, 3).model = "smollm2 by another name"
        for candidate in session.scalars(select(models.Candidate).order_by(models.Candidate.id)):
            candidate.proposer = drawn.choice(("zoo", "grammar", "llm"))
            candidate.prompt_tokens, candidate.dollars = drawn.choice(((0, 0.0), (9, 0.0), (9, 0.25)))
        for row in session.scalars(select(models.Standing).order_by(models.Standing.id)):
            vary(row, drawn)
    with ledger._writing() as session:
        tally.rebuild(session)
    return ledger


class FrontsContract:
    """Subclasses give a fixture `url` of an empty database, and the sizes from which sections are large."""

    MOST_SORTED = (2000,)

    @pytest.fixture
    def ledger(self, url):
        with closing(fill(url)) as opened:
            yield opened

    def test_fronts_are_those_of_all_rows(self, ledger, monkeypatch):
        seen = []
        for campaign, choice in itertools.product((None, 1, 2, 99), CHOICES):
            rows, published = ledger.standings(campaign, choice=choice), campaign in (None, 1)
            known = fronts_of(rows, published=published)
            for most in self.MOST_SORTED:
                monkeypatch.setattr("search.store.shown.sections.MOST_SORTED", most)
                assert ledger.fronts(campaign, choice, published=published) == known
            seen += known
        told = {each.name for front in seen for each in fields(Front) if getattr(front, each.name)}
        assert told == {each.name for each in fields(Front)}

    def test_rows_one_after_the_other_are_those_of_the_leaderboard_with_the_front_of_them(self, ledger, monkeypatch):
        monkeypatch.setattr("search.store.shown.listing.BATCH", 7)
        for campaign, choice in itertools.product((None, 2, 99), (*CHOICES, *NARROWED)):
            rows = ledger.standings(campaign, choice=choice)
            front = {id(each) for section in sections(rows) for each in section.front}
            assert list(ledger.listed(campaign, choice)) == [(each, id(each) in front) for each in rows]
        with pytest.raises(ConditionError):
            ledger.listed(None, Choice(where="nothing < 1"))
        some = list(itertools.islice(ledger.listed(), 3))
        assert [each for each, _ in some] == ledger.standings(limit=3)

    def test_records_are_the_same_however_many_are_read_at_a_time(self, ledger, monkeypatch):
        whole = ledger.records(2)
        assert len(whole) > 20
        assert any(each.evaluations for each in whole)
        monkeypatch.setattr("search.store.shown.candidates.MOST_STEPS", 7)
        assert ledger.records(2) == whole
        assert ledger.records(2, range(3, 19)) == whole[3:19]
        assert ledger.records(2, range(len(whole) - 9, 2**62)) == whole[-9:]
        assert ledger.records(2, range(len(whole), 2**62)) == ledger.records(99) == []


class TestSqlite(FrontsContract):
    MOST_SORTED = (0, 2000)

    @pytest.fixture
    def url(self, sqlite_url):
        return sqlite_url

    @pytest.mark.parametrize(("campaign", "scanned"), [(1, []), (None, ["SCAN candidate", "SCAN tally"])])
    def test_the_leaderboard_is_not_read_whole(self, ledger, campaign, scanned, monkeypatch):
        monkeypatch.setattr("search.store.shown.sections.MOST_SORTED", 0)
        told = plans(ledger, lambda: ledger.fronts(campaign, published=True))
        lines = [line for plan in told for line in plan.splitlines()]
        for index in ("ratio_kl_place", "campaign_id_place" if campaign else "place", "candidate_id"):
            assert any(f"SEARCH standing USING INDEX ix_standing_{index} " in line for line in lines), index
        assert [line for line in lines if line.startswith("SCAN") and "USING COVERING INDEX" not in line] == scanned


@pytest.mark.postgres
class TestPostgresql(FrontsContract):
    @pytest.fixture
    def url(self, postgresql_url):
        return postgresql_url


def test_conditions_and_orders_choose_among_rows_not_among_fronts(sqlite_url):
    with closing(SqlLedger(sqlite_url)) as ledger:
        assert ledger.fronts() == []
        for choice in (Choice(where="kl < 1"), Choice(sort="kl")):
            with pytest.raises(ValueError, match="no condition and no order"):
                ledger.fronts(None, choice)
