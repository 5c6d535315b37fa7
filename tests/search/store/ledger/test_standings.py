"""What stands on the leaderboard, and why."""

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from fake_measurements import (
    BFLOAT16,
    CAMPAIGN,
    ELSEWHERE,
    ENVIRONMENT,
    LENGTHS,
    MINUTE,
    measure,
    propose,
    quarantine,
    result,
    task,
)
from sqlalchemy.orm import Session

from search.ranking.conditions import ConditionError
from search.records import (
    Choice,
    Stage,
    Status,
)
from search.store.derived import refreshing, tally
from search.store.ledger import SqlLedger


def test_standings_are_what_would_be_read_from_all_evaluations(ledger, campaign):
    """They are written from what is remembered, which must be what the database has."""
    candidates = [ledger.add_candidate(propose(campaign, step)) for step in range(3)]
    odd = {"message": "a \0 in what a program says", "ratio": 0.0}  # of a result at a cost ratio
    for number, each in enumerate(candidates):
        for asked in (task(each.program_digest, stage=stage, ratio=4.0) for stage in (Stage.CHECK, Stage.FIDELITY)):
            ledger.claim(asked, "me", MINUTE, each.id)
            taken = result(asked, kl=(0.1, math.nan, math.inf), cost_ratio=number, error_layer_0=1.0, speedup=math.nan)
            ledger.finish(dataclasses.replace(taken, **odd), "me", ENVIRONMENT)
        measure(ledger, each, task(each.program_digest, split="held_out", stage=Stage.FIDELITY), kl=0.3)
    quarantine(ledger, task("p0", stage=Stage.SERVE), candidates[0])
    measure(ledger, candidates[0], task("p0", seed=1), status=Status.INFRASTRUCTURE)
    before, counted = ledger.standings(), ledger.progress(campaign.id)
    with Session(ledger._engine) as session, session.begin():
        refreshing.rebuild(session)
        tally.rebuild(session)
    assert len(before) >= 3
    assert ledger.standings() == before
    assert ledger.progress(campaign.id) == counted


def test_a_result_that_was_rolled_back_is_not_remembered(ledger, campaign, monkeypatch):
    candidate = ledger.add_candidate(propose(campaign, 0))
    ledger.claim(task(), "me", MINUTE, candidate.id)
    with monkeypatch.context() as patch:
        patch.setattr(tally, "store", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ledger.finish(result(task(), accuracy=0.1), "me", ENVIRONMENT)
    assert [row.accuracy for row in ledger.standings()] == [None]
    ledger.finish(result(task(), accuracy=0.6), "me", ENVIRONMENT)
    measure(ledger, candidate, task(stage=Stage.FIDELITY), kl=0.2)
    assert [(row.accuracy, row.kl) for row in ledger.standings()] == [(0.6, 0.2)]


def test_what_another_process_measured_meanwhile_is_on_the_leaderboard(ledger, campaign, url):
    candidate = ledger.add_candidate(propose(campaign, 0))
    measure(ledger, candidate, task(), accuracy=0.6)
    with closing(SqlLedger(url)) as other:
        measure(other, candidate, task(stage=Stage.FIDELITY), kl=0.2)
    measure(ledger, candidate, task(stage=Stage.RECALL), recall=0.9)
    assert [(row.accuracy, row.kl, row.recall) for row in ledger.standings()] == [(0.6, 0.2, 0.9)]


def test_standing_tells_which_earlier_candidate_chooses_the_same_pages(ledger, campaign):
    other = ledger.create_campaign(CAMPAIGN)
    found = [ledger.add_candidate(propose(c, step)) for c, step in ((other, 0), (campaign, 1), (campaign, 2))]
    for candidate in found:
        for stage in (Stage.CHECK, Stage.SCREEN):
            measure(ledger, candidate, task(candidate.program_digest, stage, ratio=8.0), recall=0.5)
    told = {row.id: row.reason for row in ledger.standings()}
    assert told[found[2].id] == f"passed screen; it chooses the same pages as P1 (id {found[1].id})"
    assert not any("same pages" in told[each.id] for each in found[:2])
    measure(ledger, found[2], task("p2", Stage.RECALL, ratio=8.0), recall=0.5)
    assert not any("same pages" in row.reason for row in ledger.standings())


def test_standing_tells_what_was_measured_and_where(ledger, campaign):
    candidate = ledger.add_candidate(propose(campaign, 0, parents=("p8",)))
    measure(ledger, candidate, task(stage=Stage.CHECK), bytes_per_page=256.0)
    measure(ledger, candidate, task(stage=Stage.RECALL), recall=0.9)
    measure(ledger, candidate, task(stage=Stage.SERVE), speedup=(1.2, 1.1, 1.3), pages_attended=9.0)
    (row,) = ledger.standings()
    assert (row.accuracy, row.pages_attended) == (None, 9.0)
    measure(ledger, candidate, task(), accuracy=(0.5, 0.4, 0.6), pages_attended=7.0)
    (row,) = ledger.standings()
    assert (row.id, row.name, row.digest, row.parents) == (candidate.id, "P0", "p0", ("p8",))
    assert (row.origin, row.device, row.model, row.status) == ("grammar/mutate", "Xeon", "probe", "ok")
    assert (row.accuracy, row.accuracy_low, row.accuracy_high) == (0.5, 0.4, 0.6)
    assert (row.speedup, row.speedup_low, row.speedup_high) == (1.2, 1.1, 1.3)
    assert (row.recall, row.bytes_per_page, row.pages_attended) == (0.9, 256.0, 7.0)
    assert (row.confirmed, row.confirmed_accuracy) == (False, None)


def test_held_out_probe_confirms(ledger, campaign):
    candidate = ledger.add_candidate(propose(campaign, 0))
    measure(ledger, candidate, task(), accuracy=(0.9, 0.8, 1.0))
    measure(ledger, candidate, task(split="held_out"), accuracy=(0.7, 0.6, 0.8))
    (row,) = ledger.standings()
    assert (row.accuracy, row.confirmed) == (0.9, True)
    assert (row.confirmed_accuracy, row.confirmed_accuracy_low, row.confirmed_accuracy_high) == (0.7, 0.6, 0.8)


def test_cheating_or_crashing_has_no_accuracy(ledger, campaign):
    for step, status in enumerate((Status.NOT_SPARSE, Status.CRASHED, Status.BELOW_GATE)):
        candidate = ledger.add_candidate(propose(campaign, step))
        measure(ledger, candidate, task(f"p{step}"), status=status, accuracy=0.9)
    standings = {row.status: row.accuracy for row in ledger.standings()}
    assert standings == {"not_sparse": None, "crashed": None, "below_gate": 0.9}


def test_standings_are_best_first(ledger, campaign):
    rows = [
        (None, None, 8.0),
        (0.5, None, 8.0),
        (0.5, 1.5, 64.0),
        (0.9, 0.2, 8.0),
        (0.5, 1.5, 8.0),
        (None, 9.0, 8.0),
    ]
    rows.append((0.5, 1.5, 64.0))
    for step, (accuracy, speedup, num_bytes) in enumerate(rows):
        candidate = ledger.add_candidate(propose(campaign, step))
        measure(ledger, candidate, task(f"p{step}", Stage.CHECK), bytes_per_page=num_bytes)
        if accuracy is not None:
            measure(ledger, candidate, task(f"p{step}"), accuracy=accuracy)
        if speedup is not None:
            measure(ledger, candidate, task(f"p{step}", Stage.SERVE), speedup=speedup)
    best = [row.digest for row in ledger.standings(campaign.id)]
    assert best == ["p3", "p4", "p2", "p6", "p1", "p5", "p0"]
    assert [row.digest for row in ledger.standings(limit=2)] == best[:2]


def test_each_ratio_has_a_row_of_its_own(ledger, campaign):
    candidate = ledger.add_candidate(propose(campaign, 0))
    measure(ledger, candidate, task(stage=Stage.ORACLE))
    for ratio, digest in ((16.0, "fit16"), (8.0, "fit8")):
        at = {"ratio": ratio, "lengths": LENGTHS}
        checked = {"cost_ratio": ratio + 0.1, "budget": 100 / ratio, "modelled_speedup_H200": 2.5}
        measure(ledger, candidate, task(digest, Stage.CHECK, **at), **checked)
        fidelity = {"kl": (ratio / 100, 0.01, 0.5), "agreement": 0.9, "perplexity_ratio": (1.1, 1.0, 1.2)}
        measure(ledger, candidate, task(digest, Stage.FIDELITY, **at), **fidelity, pages_attended=6.0)
        questions = {"accuracy": (0.7, 0.6, 0.8), "dense_accuracy": 0.9, "loss": (0.2, 0.1, 0.3)}
        measure(ledger, candidate, task(digest, Stage.RETRIEVAL, ratio=ratio, lengths=(64,)), **questions)
        measure(ledger, candidate, task(digest, Stage.FIDELITY, split="held_out", **at), kl=(0.3, 0.2, 0.4))
    rows = ledger.standings(campaign.id)
    assert [(row.ratio, row.fitted_digest, row.kl, row.budget) for row in rows] == [
        (8.0, "fit8", 0.08, 12.5),
        (16.0, "fit16", 0.16, 6.25),
    ]
    first = rows[0]
    assert (first.id, first.digest, first.lengths, first.retrieval_lengths) == (
        candidate.id,
        "p0",
        (100, 200, 300),
        (64,),
    )
    assert (first.cost_ratio, first.reference, first.mixed_lengths) == (8.1, False, False)
    assert (first.kl_low, first.kl_high, first.agreement, first.perplexity_ratio) == (0.01, 0.5, 0.9, 1.1)
    assert (first.retrieval, first.retrieval_high, first.dense_retrieval) == (0.7, 0.8, 0.9)
    assert (first.retrieval_loss, first.retrieval_loss_low, first.retrieval_loss_high) == (0.2, 0.1, 0.3)
    assert (first.modelled_speedup, first.target, first.pages_attended) == (2.5, "H200", 6.0)
    assert (first.confirmed, first.confirmed_kl, first.confirmed_accuracy) == (True, 0.3, None)
    assert (first.model_digest, first.environment, first.evaluator_version) == ("model", ENVIRONMENT.digest, "1")
    assert (first.device, first.dtype) == ("Xeon", "float32")
    assert dict(first.versions) == {"python": "3.11.2", "torch": "2.13.0", "vllm": "0.32.0"}


@pytest.mark.parametrize("other", ["environment", "dtype", "model_digest", "version"])
def test_no_row_is_made_of_two_places(ledger, campaign, other):
    """The chimera: accuracy here and speed there would be a row that nobody measured."""
    there = {"environment": ELSEWHERE, "dtype": BFLOAT16, "model_digest": "another", "version": "2"}[other]
    candidate = ledger.add_candidate(propose(campaign, 0))
    measure(ledger, candidate, task(), accuracy=0.9)
    at = there if other in ("environment", "dtype") else ENVIRONMENT
    changed = {"environment": at} if other == "dtype" else {other: there}
    measure(ledger, candidate, task(stage=Stage.SERVE, **changed), at=at, speedup=2.0)
    rows = ledger.standings()
    assert {(row.accuracy, row.speedup) for row in rows} == {(0.9, None), (None, 2.0)}
    assert {(row.device, row.dtype) for row in rows} == {("Xeon", "float32"), (at.device, at.dtype)}
    assert dict(ledger.progress(campaign.id).statuses) == {Status.OK: 1}


def test_no_row_at_a_ratio_mixes_lengths(ledger, campaign):
    candidate = ledger.add_candidate(propose(campaign, 0))
    measure(ledger, candidate, task(stage=Stage.FIDELITY, ratio=8.0, lengths=LENGTHS), kl=0.1)
    measure(ledger, candidate, task(stage=Stage.SERVE, ratio=8.0, lengths=(800,)), speedup=2.0)
    rows = ledger.standings()
    assert {(row.lengths, row.kl, row.speedup) for row in rows} == {
        ((100, 200, 300), 0.1, None),
        ((800,), None, 2.0),
    }


def test_lengths_that_differ_in_order_alone_are_the_same(ledger, campaign):
    candidate = ledger.add_candidate(propose(campaign, 0))
    measure(ledger, candidate, task(stage=Stage.FIDELITY, ratio=8.0, lengths=LENGTHS), kl=0.1)
    measure(ledger, candidate, task(stage=Stage.SERVE, ratio=8.0, lengths=tuple(sorted(LENGTHS))), speedup=2.0)
    assert [(row.kl, row.speedup) for row in ledger.standings()] == [(0.1, 2.0)]


def test_mixed_lengths_of_programs_as_written_are_told(ledger, campaign):
    candidate = ledger.add_candidate(propose(campaign, 0))
    measure(ledger, candidate, task(stage=Stage.RECALL, lengths=(200,)), recall=0.5)
    assert not ledger.standings()[0].mixed_lengths
    measure(ledger, candidate, task(stage=Stage.SERVE, lengths=(800,)), speedup=2.0)
    (row,) = ledger.standings()
    assert (row.ratio, row.mixed_lengths, row.lengths) == (0.0, True, (200, 800))


def test_row_without_a_figure_says_why(ledger):
    settings = '{"workloads":[{"stage":"check"},{"stage":"recall"},{"stage":"fidelity"}]}'
    campaign = ledger.create_campaign(dataclasses.replace(CAMPAIGN, settings=settings))
    candidate = ledger.add_candidate(propose(campaign, 0))
    assert ledger.standings()[0].reason == "nothing is measured yet"
    measure(ledger, candidate, task(stage=Stage.CHECK, ratio=8.0), cost_ratio=9.0)
    measure(ledger, candidate, task(stage=Stage.CHECK, ratio=16.0), status=Status.BELOW_GATE, cost_ratio=9.0)
    measure(ledger, candidate, task(stage=Stage.RECALL, ratio=8.0), recall=0.1)
    rows = {row.ratio: row for row in ledger.standings()}
    assert (rows[16.0].status, rows[16.0].reason) == ("below_gate", "check: why")
    assert rows[8.0].reason == "passed recall; fidelity was not run: not chosen for it, or not yet"
    measure(ledger, candidate, task(stage=Stage.FIDELITY, ratio=8.0), kl=0.1)
    assert {row.ratio: row.reason for row in ledger.standings()}[8.0] == ""


def test_failed_oracle_stops_every_ratio(ledger, campaign):
    candidate = ledger.add_candidate(propose(campaign, 0))
    for ratio in (8.0, 16.0):
        measure(ledger, candidate, task(stage=Stage.CHECK, ratio=ratio), cost_ratio=ratio)
    measure(ledger, candidate, task(stage=Stage.ORACLE), status=Status.WRONG_RESULT)
    rows = ledger.standings()
    assert [(row.ratio, row.status, row.reason) for row in rows] == [
        (ratio, "wrong_result", "oracle: why") for ratio in (8.0, 16.0)
    ]


def test_what_saves_too_little_is_a_reference_and_stands_last(ledger, campaign):
    for step, (cost_ratio, kl) in enumerate(((1.0, 0.0), (8.0, 0.2), (8.1, 0.1))):
        candidate = ledger.add_candidate(propose(campaign, step))
        measure(ledger, candidate, task(f"p{step}", Stage.CHECK, ratio=8.0), cost_ratio=cost_ratio)
        measure(ledger, candidate, task(f"p{step}", Stage.FIDELITY, ratio=8.0), kl=kl)
    assert [(row.digest, row.reference) for row in ledger.standings()] == [
        ("p2", False),
        ("p1", False),
        ("p0", True),
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"where": "kl < .25"}, ["p1", "p2"]),
        ({"where": "not kl < .25"}, ["p3"]),
        ({"where": "kl > .15 and kl < .35 or speedup_low > 1"}, ["p1", "p2", "p3"]),
        ({"where": ".05 < kl <= .2 and not reference"}, ["p1", "p2"]),
        ({"where": "(speedup_low > 1) == True"}, None),
        ({"where": "kl >= -1 and speedup_low > 1.0"}, ["p1"]),
        ({"where": "name == 'P2'"}, ["p2"]),
        ({"where": "origin != 'grammar/mutate'"}, []),
        ({"where": "id == 1 or campaign > 1"}, ["p0"]),
        ({"where": "confirmed"}, []),
        ({"where": "confirmed == False and kl < 1"}, ["p1", "p2", "p3"]),
        ({"sort": "-kl"}, ["p3", "p2", "p1", "p0"]),
        ({"sort": "speedup"}, ["p1", "p2", "p3", "p0"]),
        ({"sort": "name"}, ["p0", "p1", "p2", "p3"]),
        ({"ratio": 8.0}, ["p1", "p2", "p3"]),
        ({"ratio": 0.0}, ["p0"]),
        ({"ratio": 16.0}, []),
        ({"device": "xeon"}, ["p1", "p2", "p3"]),
        ({"device": "%"}, []),
        ({"model": "probe"}, ["p1", "p2", "p3", "p0"]),
        ({"model": "mod"}, ["p1", "p2", "p3"]),
    ],
)
def test_choice_says_which_rows_and_in_which_order(ledger, campaign, choice, expected):
    for step in range(4):
        candidate = ledger.add_candidate(propose(campaign, step))
        if step:
            at = {"ratio": 8.0, "lengths": LENGTHS}
            measure(ledger, candidate, task(f"p{step}", Stage.FIDELITY, **at), kl=step / 10)
            measure(ledger, candidate, task(f"p{step}", Stage.SERVE, **at), speedup=(2 / step, 1.5 / step, 3 / step))
    if expected is None:
        with pytest.raises(ConditionError):
            ledger.standings(choice=Choice(**choice))
        return
    assert [row.digest for row in ledger.standings(choice=Choice(**choice))] == expected


def test_candidate_measured_at_two_ratios_counts_once(ledger, campaign):
    candidate = ledger.add_candidate(propose(campaign, 0))
    for ratio, status in ((8.0, Status.OK), (16.0, Status.BELOW_GATE)):
        measure(ledger, candidate, task(stage=Stage.CHECK, ratio=ratio), status=status)
    assert dict(ledger.progress(campaign.id).statuses) == {Status.OK: 1}


def test_program_that_is_admitted_twice_stands_once(ledger, campaign):
    first = ledger.add_candidate(propose(campaign, 0, "p0"))
    measure(ledger, first, task(), accuracy=0.5)
    ledger.add_candidate(propose(campaign, 1, "p0"))
    assert [(row.id, row.accuracy) for row in ledger.standings()] == [(first.id, 0.5)]


def test_stages_finished_at_the_same_moment_all_reach_the_standing(ledger, campaign):
    stages = {Stage.CHECK: Status.UNSUPPORTED, Stage.RECALL: Status.BELOW_GATE}
    with ThreadPoolExecutor(2) as threads:
        for step in range(20):
            candidate = ledger.add_candidate(propose(campaign, step))
            work = [
                threads.submit(measure, ledger, candidate, task(f"p{step}", stage), status=status, recall=1.0)
                for stage, status in stages.items()
            ]
            for each in work:
                each.result(timeout=MINUTE)
    assert {(row.recall, row.status) for row in ledger.standings()} == {(1.0, "below_gate")}
