"""Whoever claims an evaluation has it alone; nothing is measured twice, and nobody innocent is blamed."""

import dataclasses
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_measurements import (
    CAMPAIGN,
    ENVIRONMENT,
    MINUTE,
    MOMENT,
    lose_lease,
    measure,
    propose,
    quarantine,
    result,
    task,
)

from search.contracts import Claim
from search.records import (
    Stage,
    Status,
)

FOLDER = Path(__file__).parent


def test_claim_is_exclusive_until_finished_and_then_cached(ledger):
    assert ledger.claim(task(), "me", MINUTE) is Claim.TAKEN
    assert ledger.claim(task(), "you", MINUTE) is Claim.BUSY
    assert ledger.claim(task(), "me", MINUTE) is Claim.BUSY
    evaluation = result(task(), accuracy=(0.75, 0.5, 0.9), steps=math.inf)
    ledger.finish(evaluation, "me", ENVIRONMENT)
    assert ledger.claim(task(), "you", MINUTE) == evaluation


@pytest.mark.parametrize(
    "other", [task("p1"), task(stage=Stage.SERVE), task(split="held_out"), task(seed=1), task(repeat=1)]
)
def test_another_key_is_another_evaluation(ledger, other):
    assert ledger.claim(task(), "me", MINUTE) is Claim.TAKEN
    assert ledger.claim(other, "me", MINUTE) is Claim.TAKEN


@pytest.mark.parametrize("part", ["model_digest", "environment_digest", "evaluator_version"])
def test_other_circumstances_are_another_evaluation(ledger, part):
    other = dataclasses.replace(task(), key=dataclasses.replace(task().key, **{part: "other"}))
    assert ledger.claim(task(), "me", MINUTE) is Claim.TAKEN
    assert ledger.claim(other, "me", MINUTE) is Claim.TAKEN


def test_claim_refuses_a_workload_that_is_not_the_keys(ledger):
    wrong = dataclasses.replace(task(), workload=task(split="held_out").workload)
    with pytest.raises(ValueError, match="workload"):
        ledger.claim(wrong, "me", MINUTE)


def test_not_a_number_survives(ledger):
    ledger.claim(task(), "me", MINUTE)
    ledger.finish(result(task(), loss=math.nan, error=(1.0, math.nan, 2.0)), "me", ENVIRONMENT)
    loss, error = ledger.claim(task(), "me", MINUTE).measurements
    assert math.isnan(loss.value)
    assert (error.value, error.low, error.high, error.num_samples) == (1.0, None, 2.0, 36)


def test_lost_lease_is_taken_over(ledger):
    lose_lease(ledger, task())
    assert ledger.claim(task(), "heir", MINUTE) is Claim.TAKEN
    assert ledger.claim(task(), "late", MINUTE) is Claim.BUSY


def test_third_death_quarantines(ledger, campaign):
    candidate = ledger.add_candidate(propose(campaign, 0))
    for _ in range(3):
        lose_lease(ledger, task())
    evaluation = ledger.claim(task(), "careful", MINUTE, candidate.id)
    assert (evaluation.key, evaluation.status) == (task().key, Status.QUARANTINED)
    assert "3 times" in evaluation.message
    assert ledger.claim(task(), "again", MINUTE) == evaluation
    assert ledger.records(campaign.id)[0].status is Status.QUARANTINED
    assert ledger.standings()[0].status == "quarantined"


def test_what_only_waited_is_never_blamed(ledger):
    """Eight are leased and one of them is at work, three times over."""
    tasks = [task(f"p{number}") for number in range(8)]
    for _ in range(3):
        for each in tasks:
            assert ledger.claim(each, "doomed", MOMENT) is Claim.TAKEN
        ledger.begin([tasks[0].key], "doomed")
        time.sleep(2 * MOMENT)
    assert ledger.claim(tasks[0], "heir", MINUTE).status is Status.QUARANTINED
    assert [ledger.claim(each, "heir", MINUTE) for each in tasks[1:]] == [Claim.TAKEN] * 7


def test_what_is_claimed_as_begun_is_blamed(ledger):
    for _ in range(3):
        assert ledger.claim(task(), "doomed", MOMENT, begun=True) is Claim.TAKEN
        time.sleep(2 * MOMENT)
    assert ledger.claim(task(), "heir", MINUTE).status is Status.QUARANTINED


def test_only_ones_own_lease_is_begun(ledger):
    for _ in range(4):
        assert ledger.claim(task(), "doomed", MOMENT) is Claim.TAKEN
        ledger.begin([task().key, task("unknown").key], "somebody")
        time.sleep(2 * MOMENT)
    assert ledger.claim(task(), "heir", MINUTE) is Claim.TAKEN


def test_what_was_begun_once_and_waits_again_is_not_blamed_again(ledger):
    for _ in range(2):
        lose_lease(ledger, task())
    for _ in range(3):
        lose_lease(ledger, task(), begun=False)
    ledger.claim(task(), "me", MINUTE)
    ledger.begin([task().key], "me")
    ledger.release([task().key], "me")
    lose_lease(ledger, task(), begun=False)
    assert ledger.claim(task(), "heir", MINUTE) is Claim.TAKEN


def test_forgiven_program_is_measured_again_in_every_campaign(ledger, campaign):
    ours, theirs = (ledger.add_candidate(propose(c, 0)) for c in (campaign, ledger.create_campaign(CAMPAIGN)))
    quarantine(ledger, task(), ours)
    (given_up,) = ledger.forgive([theirs.id]) if ledger.claim(task(), "x", MINUTE, theirs.id) else ()
    assert (given_up.key, given_up.status) == (task().key, Status.QUARANTINED)
    assert [ledger.records(c.id)[0].status for c in ledger.campaigns()] == [Status.OK, Status.OK]
    assert {row.status for row in ledger.standings()} == {"ok"}
    for _ in range(2):
        lose_lease(ledger, task())
    measure(ledger, ours, task(), accuracy=0.5)
    assert [row.accuracy for row in ledger.standings()] == [0.5, 0.5]


def test_candidates_that_share_a_quarantine_are_forgiven_together(ledger, campaign):
    both = [ledger.add_candidate(propose(c, 0)).id for c in (campaign, ledger.create_campaign(CAMPAIGN))]
    quarantine(ledger, task(), ledger.candidate(both[0]).candidate)
    ledger.claim(task(), "x", MINUTE, both[1])
    assert len(ledger.forgive(both)) == 1


def test_forgiving_what_is_not_quarantined_changes_nothing(ledger, campaign):
    guilty, innocent = (ledger.add_candidate(propose(campaign, step)) for step in range(2))
    quarantine(ledger, task(), guilty)
    measure(ledger, innocent, task("p1"), status=Status.CRASHED)
    with pytest.raises(LookupError, match=f"candidate {innocent.id} is not quarantined"):
        ledger.forgive([guilty.id, innocent.id])
    with pytest.raises(LookupError, match="no candidate 99"):
        ledger.forgive([guilty.id, 99])
    assert ledger.records(campaign.id)[0].status is Status.QUARANTINED
    assert ledger.records(campaign.id)[1].status is Status.CRASHED


def test_heartbeat_prolongs_only_ones_own_lease(ledger):
    for number, owner in ((0, "me"), (1, "you")):
        assert ledger.claim(task(f"p{number}"), owner, 4 * MOMENT) is Claim.TAKEN
    ledger.heartbeat([task("p0").key, task("p1").key, task("unknown").key], "me", MINUTE)
    time.sleep(6 * MOMENT)
    assert ledger.claim(task("p0"), "other", MINUTE) is Claim.BUSY
    assert ledger.claim(task("p1"), "other", MINUTE) is Claim.TAKEN
    ledger.heartbeat([], "me", MINUTE)


def test_release_gives_back_without_a_death(ledger):
    for _ in range(5):
        assert ledger.claim(task(), "me", MINUTE) is Claim.TAKEN
        ledger.release([task().key], "you")
        assert ledger.claim(task(), "you", MINUTE) is Claim.BUSY
        ledger.release([task().key], "me")


def test_first_result_counts(ledger):
    ledger.claim(task(), "me", MINUTE)
    ledger.finish(result(task(), accuracy=0.5), "me", ENVIRONMENT)
    ledger.finish(result(task(), Status.CRASHED, accuracy=0.9, recall=1.0), "me", ENVIRONMENT)
    assert ledger.claim(task(), "me", MINUTE) == result(task(), accuracy=0.5)


def test_result_of_a_lost_lease_counts_unless_it_is_to_be_tried_again(ledger):
    lose_lease(ledger, task())
    ledger.claim(task(), "heir", MINUTE)
    ledger.finish(result(task(), Status.INFRASTRUCTURE), "doomed", ENVIRONMENT)
    assert ledger.claim(task(), "late", MINUTE) is Claim.BUSY
    ledger.finish(result(task(), accuracy=0.5), "doomed", ENVIRONMENT)
    ledger.finish(result(task(), accuracy=0.6), "heir", ENVIRONMENT)
    assert ledger.claim(task(), "late", MINUTE).value("accuracy") == 0.5


def test_unclaimed_or_foreign_results_are_refused(ledger):
    with pytest.raises(LookupError, match="claimed"):
        ledger.finish(result(task()), "me", ENVIRONMENT)
    with pytest.raises(ValueError, match="environment"):
        ledger.finish(result(task()), "me", dataclasses.replace(ENVIRONMENT, device="H200"))


@pytest.mark.parametrize("status", [Status.INFRASTRUCTURE, Status.INTERRUPTED])
def test_our_own_faults_are_tried_again(ledger, campaign, status):
    candidate = ledger.add_candidate(propose(campaign, 0))
    measure(ledger, candidate, task(), status=status, accuracy=0.1)
    assert ledger.records(campaign.id)[0].status is status
    measure(ledger, candidate, task(), accuracy=0.5)
    (evaluation,) = ledger.records(campaign.id)[0].evaluations
    assert evaluation == result(task(), accuracy=0.5)


def test_campaigns_share_results_but_only_those_they_asked_for(ledger, campaign):
    ours = ledger.add_candidate(propose(campaign, 0))
    evaluation = measure(ledger, ours, task(), accuracy=0.5)
    measure(ledger, ours, task(seed=1), accuracy=0.7)
    later = ledger.create_campaign(CAMPAIGN)
    theirs = ledger.add_candidate(propose(later, 5, "p0"))
    assert ledger.records(later.id)[0].evaluations == ()
    assert ledger.claim(task(), "me", MINUTE, theirs.id) == evaluation
    assert ledger.records(later.id)[0].evaluations == (evaluation,)
    assert [row.accuracy for row in ledger.standings(later.id)] == [0.5]


def test_result_reaches_everyone_who_waits_for_it(ledger, campaign):
    later = ledger.create_campaign(CAMPAIGN)
    ours, theirs = (ledger.add_candidate(propose(c, 0)) for c in (campaign, later))
    assert ledger.claim(task(), "me", MINUTE, ours.id) is Claim.TAKEN
    assert ledger.claim(task(), "you", MINUTE, theirs.id) is Claim.BUSY
    ledger.finish(result(task(), accuracy=0.5), "me", ENVIRONMENT)
    assert [row.accuracy for row in ledger.standings()] == [0.5, 0.5]


def test_eight_drivers_open_a_new_database_and_share_the_work_exactly_once(url):
    command = [sys.executable, FOLDER / "claim_all.py", url, "8", "200"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MINUTE, check=False)
    shares = [int(share) for share in done.stdout.split()]
    assert (len(shares), sum(shares)) == (8, 200), done.stderr


def test_driver_killed_in_mid_transaction_leaves_nothing_behind(url, ledger):
    command = [sys.executable, FOLDER / "die_in_transaction.py", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert [driver.stdout.readline().strip() for _ in range(2)] == ["taken", "written, not committed"]
        driver.kill()
    time.sleep(2 * MOMENT)
    assert ledger.claim(task(), "heir", MINUTE) is Claim.TAKEN
    ledger.finish(result(task(), accuracy=0.5), "heir", ENVIRONMENT)
    assert ledger.claim(task(), "heir", MINUTE) == result(task(), accuracy=0.5)
