"""The leaderboard at any size: places, pages and counts, and the indexes that answer for them."""

import dataclasses
import itertools
import math
import random
from collections import Counter
from contextlib import closing

import pytest
from fake_measurements import (
    CAMPAIGN,
    ELSEWHERE,
    ENVIRONMENT,
    LENGTHS,
    MINUTE,
    measure,
    propose,
    result,
    task,
)
from sqlalchemy import event, text

from search.behaviour import sketched
from search.contracts import Claim
from search.ranking.conditions import ConditionError
from search.records import Choice, Stage, Status
from search.store.derived import refreshing, tally
from search.store.derived.place import at, place
from search.store.ledger import SqlLedger

FIGURES = (-1.5, -0.0, 0.0, 1e-300, 0.25, 2.0, 1e300, math.inf, None)
NULLS_LAST = (1, 0.0)
PAGE = 3
SORTS = ("", "kl", "-kl", "recall", "-recall", "name", "-id", "speedup", "status", "dollars", "-dollars")
OF_CAMPAIGN = "ix_standing_campaign_id"
INDEXES = (
    (Choice(), OF_CAMPAIGN),
    (Choice(ratio=16.0), OF_CAMPAIGN),
    (Choice(sort="kl"), f"{OF_CAMPAIGN}_kl"),
    (Choice(sort="-kl"), f"{OF_CAMPAIGN}_kl"),
    (Choice(ratio=16.0, sort="modelled_speedup"), "modelled_speedup"),
    (Choice(sort="-modelled_speedup"), f"{OF_CAMPAIGN}_modelled_speedup"),
)


def row(**given):
    usual = {"ratio": 8.0, "kl": None, "retrieval_loss": None, "accuracy": None, "speedup": None, "cost_ratio": None}
    rest = {"bytes_per_page": None, "candidate_id": 1, "environment_digest": "e", "model_digest": "m"}
    return {**usual, **rest, "evaluator_version": "1", "lengths": "1,2", **given}


def expected_order(each):
    """Say in words of Python how rows are to stand."""

    def known(figure, sign=1):
        return NULLS_LAST if figure is None else (0, sign * figure)

    cost = each["cost_ratio"]
    return (
        not each["ratio"],
        each["ratio"],
        cost is not None and cost < 2.0,
        known(each["kl"]),
        known(each["retrieval_loss"]),
        known(each["accuracy"], -1),
        known(each["speedup"], -1),
        known(each["bytes_per_page"]),
        each["candidate_id"],
    )


def test_places_stand_in_the_order_of_their_rows():
    drawn = random.Random(0)
    names = ("kl", "retrieval_loss", "accuracy", "speedup", "bytes_per_page")
    rows = [
        row(
            ratio=drawn.choice((0.0, 8.0, 16.0)),
            cost_ratio=drawn.choice((None, 1.0, 2.0)),
            candidate_id=number,
            **{name: drawn.choice(FIGURES) for name in names},
        )
        for number in range(2_000)
    ]
    assert sorted(rows, key=place) == sorted(rows, key=expected_order)
    assert all(place(each).startswith(at(each["ratio"])) for each in rows)


def test_places_differ_for_rows_of_one_candidate():
    others = ({"lengths": "1"}, {"model_digest": "n"}, {"evaluator_version": "2"}, {"environment_digest": "f"})
    assert len({place(row(**each)) for each in ({}, *others)}) == 1 + len(others)
    assert place(row(kl=math.nan)) == place(row())


def fill(ledger, num=8):
    """Measure some candidates, of which not all have every figure, and some the same."""
    campaign = ledger.create_campaign(CAMPAIGN)
    for step in range(num):
        candidate = ledger.add_candidate(propose(campaign, step, dollars=(step % 4) / 8))
        at_ratio = {"ratio": (8.0, 16.0)[step % 2], "lengths": LENGTHS}
        measure(ledger, candidate, task(f"p{step}", Stage.RECALL, **at_ratio), recall=(step // 3) / 10)
        if step % 3:
            measure(ledger, candidate, task(f"p{step}", Stage.FIDELITY, **at_ratio), kl=(step // 2) / 10)
    return campaign


def statements(ledger, do):
    """Give the statements that a database is sent for what is done, the transaction's own ones aside."""
    sent = []

    def note(connection, cursor, statement, given, context, executemany):
        if not statement.startswith("BEGIN"):
            sent.append(statement)

    event.listen(ledger._engine, "before_cursor_execute", note)
    do()
    event.remove(ledger._engine, "before_cursor_execute", note)
    return sent


def plans(ledger, ask):
    """Give how the database goes about what is asked: one text for each statement."""
    statements = []

    def note(connection, cursor, statement, given, context, executemany):
        if statement.startswith("SELECT"):
            statements.append((statement, given))

    event.listen(ledger._engine, "before_cursor_execute", note)
    ask()
    event.remove(ledger._engine, "before_cursor_execute", note)
    explaining = "EXPLAIN QUERY PLAN " if ledger._engine.dialect.name == "sqlite" else "EXPLAIN "
    with ledger._engine.connect() as connection:
        if explaining == "EXPLAIN ":  # a table of eight rows would be read whole, and sorted
            for way in ("seqscan", "sort", "bitmapscan", "hashagg", "hashjoin", "mergejoin"):
                connection.exec_driver_sql(f"SET enable_{way} = off")
        found = [connection.exec_driver_sql(explaining + statement, given).all() for statement, given in statements]
    return ["\n".join(str(line[-1]) for line in lines) for lines in found]


class BoardContract:
    """Subclasses give a fixture `url` of an empty database."""

    @pytest.fixture
    def ledger(self, url):
        with closing(SqlLedger(url)) as opened:
            yield opened

    def test_pages_put_together_are_the_whole(self, ledger):
        campaign = fill(ledger)
        for campaign_id, sort in itertools.product((None, campaign.id), SORTS):
            pages, after = [], ""
            while not pages or after:
                page = ledger.page(campaign_id, PAGE, Choice(sort=sort), after)
                pages.append(page.standings)
                after = page.next
            assert [len(each) for each in pages] == [3, 3, 2]
            assert list(itertools.chain(*pages)) == ledger.standings(campaign_id, choice=Choice(sort=sort))

    def test_sorted_rows_stand_by_the_figure_and_then_best_first(self, ledger):
        fill(ledger)
        best = [each.id for each in ledger.standings()]
        for name, sign in itertools.product(("kl", "dollars"), (1, -1)):
            rows = ledger.standings(choice=Choice(sort=name if sign > 0 else f"-{name}"))
            figures = {each.id: getattr(each, name) for each in rows}
            assert None in figures.values()
            ranked = [(figures[s.id] is None, sign * (figures[s.id] or 0.0), best.index(s.id)) for s in rows]
            assert ranked == sorted(ranked)

    def test_page_after_nonsense_is_refused(self, ledger):
        for after in ("x", "[]", '["zz", null]', "{}"):
            with pytest.raises(ConditionError, match="not what a page"):
                ledger.page(None, 1, after=after)

    def test_index_gives_the_order(self, ledger):
        campaign = fill(ledger)
        for choice, index in INDEXES:
            first, *_ = plans(ledger, lambda choice=choice: ledger.page(campaign.id, 1, choice))
            assert f"{index}_place" in first
            assert "USE TEMP B-TREE FOR ORDER BY" not in first  # of SQLite: all rows would be read

    def test_index_finds_a_digest_by_its_beginning(self, ledger):
        fill(ledger)
        told = "\n".join(plans(ledger, lambda: ledger.find("p3")))
        assert "ix_candidate_program_digest" in told
        assert "SCAN" not in told

    def test_leases_lead_to_their_campaigns(self, ledger):
        campaign = fill(ledger)
        told = "\n".join(plans(ledger, lambda: ledger.progress(campaign.id)))
        assert "ix_evaluation_lease_until" in told
        assert "ix_candidate_evaluation_evaluation_id" in told

    def test_an_evaluation_is_stored_in_few_statements(self, ledger):
        """However many there are: what a program, a workload or a place is was said once."""
        campaign = fill(ledger)
        new = ledger.add_candidate(propose(campaign, 99))
        asked = task("p6", Stage.FIDELITY, ratio=8.0, lengths=LENGTHS)
        told = result(asked, kl=0.1, agreement=0.9)
        assert len(statements(ledger, lambda: ledger.claim(asked, "me", MINUTE, new.id))) <= 2
        assert len(statements(ledger, lambda: ledger.finish(told, "me", ENVIRONMENT))) <= 7

    def test_behaviour_is_read_without_texts_and_figures(self, ledger):
        """Whoever seeks what attends alike reads two hundred candidates."""
        campaign, found = fill(ledger), []
        for step, digest in ((1, "p1"), (4, "p4"), (4, "p5")):
            mine = ledger.records(campaign.id)[step].candidate
            measure(ledger, mine, task(digest, Stage.SCREEN, ratio=8.0), mass=0.5)
        (sent,) = statements(ledger, lambda: found.extend(ledger.sketched(campaign.id, range(1, 5))))
        assert "source" not in sent.replace("source_digest", "")
        assert "measurement" not in sent
        noted = [sketched(record) for record in ledger.records(campaign.id, range(1, 5))]
        bare = [tuple(dataclasses.replace(e, measurements=()) for e in each.screens) for each in noted]
        assert [each.screens for each in found] == [each for each in bare if each]
        assert [(each.step, each.name, len(each.screens)) for each in found] == [(1, "P1", 1), (4, "P4", 2)]
        assert ledger.sketched(campaign.id, range(2, 4)) == []

    def test_steps_can_be_read_by_themselves(self, ledger):
        campaign = fill(ledger)
        whole = ledger.records(campaign.id)
        assert ledger.records(campaign.id, range(2, 5)) == whole[2:5]
        assert ledger.records(campaign.id, range(7, 99)) == whole[7:]
        assert ledger.records(campaign.id, range(99, 100)) == []

    def test_counts_are_those_of_the_rows_whatever_happened(self, ledger):
        """What is counted as it happens is what counting would give, and what counting anew gives."""
        drawn, campaigns = random.Random(1), [ledger.create_campaign(CAMPAIGN) for _ in range(2)]
        candidates = []
        for step in range(12):
            status = drawn.choice((Status.OK, Status.OK, Status.DUPLICATE))
            proposed = propose(
                drawn.choice(campaigns), step, f"p{step % 5}" * (status == Status.OK), status, dollars=0.5
            )
            candidates.append(ledger.add_candidate(proposed))
        for _ in range(150):
            self.do_something(ledger, drawn, candidates)
        for campaign in campaigns:
            self.check_counts(ledger, campaign)
        kept, stood = [ledger.progress(campaign.id) for campaign in campaigns], ledger.standings()
        with ledger._writing() as session:
            refreshing.rebuild(session)
            tally.rebuild(session)
        assert [ledger.progress(campaign.id) for campaign in campaigns] == kept
        assert ledger.standings() == stood
        with ledger.reading() as session:
            assert session.scalar(text("SELECT count(*) FROM tally WHERE number < 0")) == 0

    def do_something(self, ledger, drawn, candidates):
        candidate = drawn.choice([each for each in candidates if each.status is Status.OK])
        stage = drawn.choice((Stage.CHECK, Stage.RECALL, Stage.ORACLE, Stage.FIDELITY))
        split = drawn.choice(("search", "search", "held_out"))
        ratio, where = drawn.choice((0.0, 8.0, 16.0)), drawn.choice((ENVIRONMENT, ELSEWHERE))
        asked = task(candidate.program_digest, stage, ratio=ratio, split=split, environment=where)
        what = drawn.random()
        if what < 0.1:
            for _ in range(3):
                if ledger.claim(asked, "doomed", MINUTE, candidate.id) is not Claim.TAKEN:
                    return
                ledger.begin([asked.key], "doomed")
                with ledger._engine.begin() as connection:
                    connection.execute(text("UPDATE evaluation SET lease_until = lease_until - 60"))
            assert ledger.claim(asked, "careful", MINUTE, candidate.id).status is Status.QUARANTINED
        elif what < 0.2:
            quarantined = [c for c in candidates if Status.QUARANTINED in self.statuses(ledger, c)]
            if quarantined:
                ledger.forgive([drawn.choice(quarantined).id])
        elif ledger.claim(asked, "me", MINUTE, candidate.id) is Claim.TAKEN:
            ended = drawn.choice((Status.OK, Status.OK, Status.BELOW_GATE, Status.CRASHED, Status.INFRASTRUCTURE))
            figures = {"kl": drawn.random(), "recall": drawn.random(), "cost_ratio": ratio}
            told = dataclasses.replace(result(asked, ended, **figures), elapsed_s=drawn.choice((0.5, 2.0, 8.0)))
            ledger.finish(told, "me", where)

    def statuses(self, ledger, candidate):
        return {each.status for each in ledger.candidate(candidate.id).evaluations}

    def check_counts(self, ledger, campaign):
        records, progress = ledger.records(campaign.id), ledger.progress(campaign.id)
        evaluations = Counter((e.key.stage, e.status) for record in records for e in record.evaluations)
        assert {(stage, status): number for stage, status, number in progress.evaluations} == evaluations
        by_candidate = {}
        for each in ledger.standings(campaign.id):
            by_candidate.setdefault(each.id, []).append(each.status)
        reached = Counter(
            tally.reached(by_candidate.get(c.id, [c.status])) for c in (record.candidate for record in records)
        )
        assert {status.value: number for status, number in progress.statuses} == reached
        admitted = sum(record.candidate.status is Status.OK for record in records)
        assert progress.proposers == (("grammar", 0.5 * len(records), admitted),)
        assert progress.num_steps == len(records)
        self.check_seconds(ledger, campaign)

    def check_seconds(self, ledger, campaign):
        expected = {}
        for each in ledger.spent(campaign.id).spendings:
            assert not each.is_older
            found = expected.setdefault((each.stage, each.split, each.ratio), Counter())
            passed = each.num_asked * (each.status == Status.OK)
            found.update(ran=1, seconds=each.elapsed_s, ended=each.num_asked, passed=passed)
        told = ledger.progress(campaign.id).took
        assert {
            (t.stage, t.split, t.ratio): Counter(
                ran=t.num_ran, seconds=t.seconds, ended=t.num_ended, passed=t.num_passed
            )
            for t in told
        } == expected
        assert [t.split for t in told] == sorted((t.split for t in told), reverse=True)


class TestSqlite(BoardContract):
    @pytest.fixture
    def url(self, sqlite_url):
        return sqlite_url

    def test_who_chooses_alike_is_found_by_what_is_chosen(self, ledger):
        """Not among all candidates of the campaign, of which there may be a hundred thousand."""
        campaign = fill(ledger)
        candidate = ledger.add_candidate(propose(campaign, 99))
        asked = task("p99", Stage.SCREEN, ratio=8.0, lengths=LENGTHS)
        ledger.claim(asked, "me", MINUTE, candidate.id)
        told = plans(ledger, lambda: ledger.finish(result(asked, recall=0.5), "me", ENVIRONMENT))
        (alike,) = (each for each in told if "ix_evaluation_answers" in each)
        assert "SEARCH candidate_evaluation USING INDEX ix_candidate_evaluation_evaluation_id" in alike
        assert "SEARCH candidate USING INTEGER PRIMARY KEY" in alike


@pytest.mark.postgres
class TestPostgresql(BoardContract):
    @pytest.fixture
    def url(self, postgresql_url):
        return postgresql_url
