"""What every ledger does, whatever database it is in. An implementation inherits `LedgerContract`."""

import dataclasses
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from search.contracts import Claim
from search.ranking.conditions import ConditionError
from search.records import (
    Candidate,
    Choice,
    Environment,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Measurement,
    Proposal,
    Stage,
    Status,
    StoredCampaign,
    Took,
    Workload,
)
from search.store.derived import refreshing, tally
from search.store.ledger import SqlLedger

FOLDER = Path(__file__).parent
ENVIRONMENT = Environment(
    device="Xeon", driver="", python="3.11.2", torch="2.13.0", vllm="0.32.0", commit="abc", dtype="float32"
)
ELSEWHERE = dataclasses.replace(ENVIRONMENT, device="H200", driver="CUDA 13")
BFLOAT16 = dataclasses.replace(ENVIRONMENT, dtype="bfloat16")
LENGTHS = (300, 100, 200)
CAMPAIGN = StoredCampaign(
    seed=7, num_candidates=100, proposers=("grammar", "baseline"), model="probe", settings='{"lag":8}'
)
MINUTE = 60.0
MOMENT = 0.05


def task(digest="p0", stage=Stage.PROBE, **circumstances):
    """Give a task; `split`, `ratio`, `lengths`, place, `seed` and `repeat` are the circumstances that tests vary."""
    split, ratio, lengths = (circumstances.pop(n, d) for n, d in (("split", "search"), ("ratio", 0.0), ("lengths", ())))
    workload = Workload(stage, max(lengths, default=512), num_sequences=4, split=split, lengths=lengths, ratio=ratio)
    places = (("model_digest", "model"), ("environment", ENVIRONMENT), ("version", "1"), ("seed", 0))
    model, environment, version, seed = (circumstances.pop(name, usual) for name, usual in places)
    key = EvaluationKey(digest, stage, workload.digest, model, environment.digest, version, seed, **circumstances)
    return EvaluationTask(key, text=f"class {digest}: ...", values=(("chosen", 4), ("rule", "max")), workload=workload)


def result(task_, status=Status.OK, **measured):
    """Give the task's result; `measured` maps names to a value or to (value, low, high)."""
    measurements = tuple(
        Measurement(name, *value, num_samples=36) if isinstance(value, tuple) else Measurement(name, value)
        for name, value in measured.items()
    )
    ratio = task_.workload.ratio
    return Evaluation(task_.key, status, "why", measurements, "0110", answers="a1b2", elapsed_s=0.25, ratio=ratio)


def propose(campaign, step, digest="", status=Status.OK, **proposed):
    """Give a step's candidate; without a status it is admitted as the program `digest` (`p<step>`)."""
    digest = digest or (f"p{step}" if status is Status.OK else "")
    text = proposed.pop("text", f"class {digest}: ...")
    proposal = Proposal(text=text, proposer="grammar", operator="mutate", **proposed)
    return Candidate(campaign.id, step, proposal, status, "", digest, digest.upper())


def measure(ledger, candidate, task_, **measured):
    """Claim and finish one evaluation of a candidate; `at` names another environment."""
    environment = measured.pop("at", ENVIRONMENT)
    assert ledger.claim(task_, "me", MINUTE, candidate.id) is Claim.TAKEN
    evaluation = result(task_, measured.pop("status", Status.OK), **measured)
    ledger.finish(evaluation, "me", environment)
    return evaluation


def lose_lease(ledger, task_, begun=True):
    """Let an owner claim, begin and die."""
    assert ledger.claim(task_, "doomed", MOMENT) is Claim.TAKEN
    if begun:
        ledger.begin([task_.key], "doomed")
    time.sleep(2 * MOMENT)


def quarantine(ledger, task_, candidate):
    """Let three owners die while they measure a candidate."""
    for _ in range(3):
        lose_lease(ledger, task_)
    assert ledger.claim(task_, "careful", MINUTE, candidate.id).status is Status.QUARANTINED


class LedgerContract:
    """Subclasses give a fixture `url` of an empty database."""

    @pytest.fixture
    def ledger(self, url):
        ledger = SqlLedger(url)
        yield ledger
        ledger.close()

    @pytest.fixture
    def campaign(self, ledger):
        return ledger.create_campaign(CAMPAIGN)

    def test_what_is_spent_is_told_with_what_is_held_out_and_what_was_there_before(self, ledger, campaign):
        candidates = [ledger.add_candidate(propose(campaign, step)) for step in range(2)]
        shared, hidden = task(ratio=8.0), task(split="held_out")
        measure(ledger, candidates[0], shared)
        measure(ledger, candidates[0], hidden)
        assert ledger.claim(shared, "me", MINUTE, candidates[1].id).status is Status.OK
        ledger.claim(task("p1"), "me", MINUTE, candidates[1].id)
        spent = ledger.spent(campaign.id)
        told = [(s.stage, s.split, s.ratio, s.status, s.num_asked, s.elapsed_s, s.is_older) for s in spent.spendings]
        assert told == [
            ("probe", "search", 8.0, "ok", 2, 0.25, False),
            ("probe", "held_out", 0.0, "ok", 1, 0.25, False),
        ]
        times = (spent.began_at, *spent.proposed_at, *(s.finished_at for s in spent.spendings))
        assert len(spent.proposed_at) == 2
        assert all(abs(moment - time.time()) < MINUTE for moment in times)
        assert spent.spendings[0].environment == ENVIRONMENT.digest
        with pytest.raises(LookupError):
            ledger.spent(campaign.id + 1)

    def test_each_evaluation_names_the_commit_that_measured_it(self, ledger, campaign):
        """An environment's identity leaves the commit out, so that the environment alone could not say it."""
        candidate = ledger.add_candidate(propose(campaign, 0))
        later = dataclasses.replace(ENVIRONMENT, commit="def")
        assert later.digest == ENVIRONMENT.digest
        measure(ledger, candidate, task())
        measure(ledger, candidate, task(seed=1), at=later)
        assert [each.commit for each in ledger.spent(campaign.id).spendings] == ["abc", "def"]

    def test_campaign_comes_back_as_it_was(self, ledger, campaign):
        assert campaign == dataclasses.replace(CAMPAIGN, id=campaign.id)
        assert ledger.campaign(campaign.id) == campaign

    def test_newest_campaign_is_the_default(self, ledger, campaign):
        newer = ledger.create_campaign(CAMPAIGN)
        assert ledger.campaign() == newer
        assert ledger.campaigns() == [campaign, newer]

    def test_missing_things_are_lookup_errors(self, ledger, campaign):
        with pytest.raises(LookupError, match="no campaign 99"):
            ledger.campaign(99)
        with pytest.raises(LookupError, match="no campaign 99"):
            ledger.add_candidate(propose(StoredCampaign(0, 0, (), "", id=99), 0))
        for missing in (ledger.find, ledger.environment, ledger.workload):
            with pytest.raises(LookupError, match="nowhere"):
                missing("nowhere")
        with pytest.raises(LookupError, match="no candidate 99"):
            ledger.candidate(99)

    def test_empty_ledger_has_no_campaign(self, ledger):
        with pytest.raises(LookupError, match="no campaign yet"):
            ledger.campaign()
        assert ledger.standings() == []

    def test_conversation_is_kept_for_people_alone(self, ledger, campaign):
        """Whoever asks for one candidate gets it; records, which proposers and the loop hold, do not."""
        said = '[{"role": "user", "content": "Improve this, with sk-%s."}]' % ("a1" * 12)
        given = ledger.add_candidate(propose(campaign, 0, conversation=said))
        silent = ledger.add_candidate(propose(campaign, 1))
        assert given.proposal.conversation == ""
        assert [r.candidate.proposal.conversation for r in ledger.records(campaign.id)] == ["", ""]
        kept = ledger.candidate(given.id).candidate.proposal.conversation
        assert kept == '[{"role": "user", "content": "Improve this, with [redacted]."}]'
        assert ledger.find("p0").candidate.proposal.conversation == kept
        assert ledger.candidate(silent.id).candidate.proposal.conversation == ""

    def test_candidate_comes_back_as_it_was(self, ledger, campaign):
        candidate = propose(
            campaign,
            0,
            parents=("p7", "p8"),
            rationale="keys repeat — so…",
            prompt_tokens=10,
            completion_tokens=2**40,
            dollars=0.1 + 0.2,
            elapsed_s=1e-9,
            values=(("chosen", 8), ("rule", "max"), ("weight", 0.1)),
        )
        stored = ledger.add_candidate(candidate)
        assert stored == dataclasses.replace(candidate, id=stored.id)
        assert ledger.candidate(stored.id).candidate == stored

    def test_adding_a_step_again_gives_the_stored_one(self, ledger, campaign):
        first = ledger.add_candidate(propose(campaign, 3))
        assert ledger.add_candidate(propose(campaign, 3, "other")) == first
        assert [record.candidate for record in ledger.records(campaign.id)] == [first]
        assert [row.digest for row in ledger.standings()] == ["p3"]

    def test_refused_text_is_kept_and_stands_nowhere(self, ledger, campaign):
        refused = propose(campaign, 0, status=Status.PROGRAM_ERROR, text="class 7:")
        stored = ledger.add_candidate(dataclasses.replace(refused, message="1:7: a name is missing"))
        record = ledger.candidate(stored.id)
        assert (record.candidate.proposal.text, record.status) == ("class 7:", Status.PROGRAM_ERROR)
        assert record.candidate.message == "1:7: a name is missing"
        assert ledger.standings() == []

    @pytest.mark.parametrize("text", ["", "a\0b", "lone \ud800 surrogate", "emoji 🜁", "line\r\nline\u2028"])
    def test_any_text_can_be_stored(self, ledger, campaign, text):
        added = ledger.add_candidate(propose(campaign, 0, status=Status.PROGRAM_ERROR, text=text))
        (record,) = ledger.records(campaign.id)
        assert record.candidate == added
        assert len(added.proposal.text) == len(text)
        assert added.proposal.text == text or "\ufffd" in added.proposal.text

    def test_records_come_in_step_and_stage_order(self, ledger, campaign):
        for step in (2, 0, 1):
            ledger.add_candidate(propose(campaign, step))
        first = ledger.records(campaign.id)[0].candidate
        evaluations = {stage: measure(ledger, first, task("p0", stage)) for stage in reversed(Stage)}
        records = ledger.records(campaign.id)
        assert [record.candidate.step for record in records] == [0, 1, 2]
        assert records[0].evaluations == tuple(evaluations[stage] for stage in Stage)
        assert records[1].evaluations == ()

    def test_proposers_never_see_the_held_out_split(self, ledger, campaign):
        candidate = ledger.add_candidate(propose(campaign, 0))
        shown = measure(ledger, candidate, task(), accuracy=0.5)
        hidden = measure(ledger, candidate, task(split="held_out"), accuracy=0.4)
        assert ledger.records(campaign.id)[0].evaluations == (shown,)
        assert ledger.candidate(candidate.id).evaluations == (shown, hidden)

    def test_claim_is_exclusive_until_finished_and_then_cached(self, ledger):
        assert ledger.claim(task(), "me", MINUTE) is Claim.TAKEN
        assert ledger.claim(task(), "you", MINUTE) is Claim.BUSY
        assert ledger.claim(task(), "me", MINUTE) is Claim.BUSY
        evaluation = result(task(), accuracy=(0.75, 0.5, 0.9), steps=math.inf)
        ledger.finish(evaluation, "me", ENVIRONMENT)
        assert ledger.claim(task(), "you", MINUTE) == evaluation

    @pytest.mark.parametrize(
        "other", [task("p1"), task(stage=Stage.SERVE), task(split="held_out"), task(seed=1), task(repeat=1)]
    )
    def test_another_key_is_another_evaluation(self, ledger, other):
        assert ledger.claim(task(), "me", MINUTE) is Claim.TAKEN
        assert ledger.claim(other, "me", MINUTE) is Claim.TAKEN

    @pytest.mark.parametrize("part", ["model_digest", "environment_digest", "evaluator_version"])
    def test_other_circumstances_are_another_evaluation(self, ledger, part):
        other = dataclasses.replace(task(), key=dataclasses.replace(task().key, **{part: "other"}))
        assert ledger.claim(task(), "me", MINUTE) is Claim.TAKEN
        assert ledger.claim(other, "me", MINUTE) is Claim.TAKEN

    def test_claim_refuses_a_workload_that_is_not_the_keys(self, ledger):
        wrong = dataclasses.replace(task(), workload=task(split="held_out").workload)
        with pytest.raises(ValueError, match="workload"):
            ledger.claim(wrong, "me", MINUTE)

    def test_not_a_number_survives(self, ledger):
        ledger.claim(task(), "me", MINUTE)
        ledger.finish(result(task(), loss=math.nan, error=(1.0, math.nan, 2.0)), "me", ENVIRONMENT)
        loss, error = ledger.claim(task(), "me", MINUTE).measurements
        assert math.isnan(loss.value)
        assert (error.value, error.low, error.high, error.num_samples) == (1.0, None, 2.0, 36)

    def test_lost_lease_is_taken_over(self, ledger):
        lose_lease(ledger, task())
        assert ledger.claim(task(), "heir", MINUTE) is Claim.TAKEN
        assert ledger.claim(task(), "late", MINUTE) is Claim.BUSY

    def test_third_death_quarantines(self, ledger, campaign):
        candidate = ledger.add_candidate(propose(campaign, 0))
        for _ in range(3):
            lose_lease(ledger, task())
        evaluation = ledger.claim(task(), "careful", MINUTE, candidate.id)
        assert (evaluation.key, evaluation.status) == (task().key, Status.QUARANTINED)
        assert "3 times" in evaluation.message
        assert ledger.claim(task(), "again", MINUTE) == evaluation
        assert ledger.records(campaign.id)[0].status is Status.QUARANTINED
        assert ledger.standings()[0].status == "quarantined"

    def test_what_only_waited_is_never_blamed(self, ledger):
        """Eight are leased and one of them is at work, three times over."""
        tasks = [task(f"p{number}") for number in range(8)]
        for _ in range(3):
            for each in tasks:
                assert ledger.claim(each, "doomed", MOMENT) is Claim.TAKEN
            ledger.begin([tasks[0].key], "doomed")
            time.sleep(2 * MOMENT)
        assert ledger.claim(tasks[0], "heir", MINUTE).status is Status.QUARANTINED
        assert [ledger.claim(each, "heir", MINUTE) for each in tasks[1:]] == [Claim.TAKEN] * 7

    def test_what_is_claimed_as_begun_is_blamed(self, ledger):
        for _ in range(3):
            assert ledger.claim(task(), "doomed", MOMENT, begun=True) is Claim.TAKEN
            time.sleep(2 * MOMENT)
        assert ledger.claim(task(), "heir", MINUTE).status is Status.QUARANTINED

    def test_only_ones_own_lease_is_begun(self, ledger):
        for _ in range(4):
            assert ledger.claim(task(), "doomed", MOMENT) is Claim.TAKEN
            ledger.begin([task().key, task("unknown").key], "somebody")
            time.sleep(2 * MOMENT)
        assert ledger.claim(task(), "heir", MINUTE) is Claim.TAKEN

    def test_what_was_begun_once_and_waits_again_is_not_blamed_again(self, ledger):
        for _ in range(2):
            lose_lease(ledger, task())
        for _ in range(3):
            lose_lease(ledger, task(), begun=False)
        ledger.claim(task(), "me", MINUTE)
        ledger.begin([task().key], "me")
        ledger.release([task().key], "me")
        lose_lease(ledger, task(), begun=False)
        assert ledger.claim(task(), "heir", MINUTE) is Claim.TAKEN

    def test_forgiven_program_is_measured_again_in_every_campaign(self, ledger, campaign):
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

    def test_candidates_that_share_a_quarantine_are_forgiven_together(self, ledger, campaign):
        both = [ledger.add_candidate(propose(c, 0)).id for c in (campaign, ledger.create_campaign(CAMPAIGN))]
        quarantine(ledger, task(), ledger.candidate(both[0]).candidate)
        ledger.claim(task(), "x", MINUTE, both[1])
        assert len(ledger.forgive(both)) == 1

    def test_forgiving_what_is_not_quarantined_changes_nothing(self, ledger, campaign):
        guilty, innocent = (ledger.add_candidate(propose(campaign, step)) for step in range(2))
        quarantine(ledger, task(), guilty)
        measure(ledger, innocent, task("p1"), status=Status.CRASHED)
        with pytest.raises(LookupError, match=f"candidate {innocent.id} is not quarantined"):
            ledger.forgive([guilty.id, innocent.id])
        with pytest.raises(LookupError, match="no candidate 99"):
            ledger.forgive([guilty.id, 99])
        assert ledger.records(campaign.id)[0].status is Status.QUARANTINED
        assert ledger.records(campaign.id)[1].status is Status.CRASHED

    def test_heartbeat_prolongs_only_ones_own_lease(self, ledger):
        for number, owner in ((0, "me"), (1, "you")):
            assert ledger.claim(task(f"p{number}"), owner, 4 * MOMENT) is Claim.TAKEN
        ledger.heartbeat([task("p0").key, task("p1").key, task("unknown").key], "me", MINUTE)
        time.sleep(6 * MOMENT)
        assert ledger.claim(task("p0"), "other", MINUTE) is Claim.BUSY
        assert ledger.claim(task("p1"), "other", MINUTE) is Claim.TAKEN
        ledger.heartbeat([], "me", MINUTE)

    def test_release_gives_back_without_a_death(self, ledger):
        for _ in range(5):
            assert ledger.claim(task(), "me", MINUTE) is Claim.TAKEN
            ledger.release([task().key], "you")
            assert ledger.claim(task(), "you", MINUTE) is Claim.BUSY
            ledger.release([task().key], "me")

    def test_first_result_counts(self, ledger):
        ledger.claim(task(), "me", MINUTE)
        ledger.finish(result(task(), accuracy=0.5), "me", ENVIRONMENT)
        ledger.finish(result(task(), Status.CRASHED, accuracy=0.9, recall=1.0), "me", ENVIRONMENT)
        assert ledger.claim(task(), "me", MINUTE) == result(task(), accuracy=0.5)

    def test_result_of_a_lost_lease_counts_unless_it_is_to_be_tried_again(self, ledger):
        lose_lease(ledger, task())
        ledger.claim(task(), "heir", MINUTE)
        ledger.finish(result(task(), Status.INFRASTRUCTURE), "doomed", ENVIRONMENT)
        assert ledger.claim(task(), "late", MINUTE) is Claim.BUSY
        ledger.finish(result(task(), accuracy=0.5), "doomed", ENVIRONMENT)
        ledger.finish(result(task(), accuracy=0.6), "heir", ENVIRONMENT)
        assert ledger.claim(task(), "late", MINUTE).value("accuracy") == 0.5

    def test_unclaimed_or_foreign_results_are_refused(self, ledger):
        with pytest.raises(LookupError, match="claimed"):
            ledger.finish(result(task()), "me", ENVIRONMENT)
        with pytest.raises(ValueError, match="environment"):
            ledger.finish(result(task()), "me", dataclasses.replace(ENVIRONMENT, device="H200"))

    def test_standings_are_what_would_be_read_from_all_evaluations(self, ledger, campaign):
        """They are written from what is remembered, which must be what the database has."""
        candidates = [ledger.add_candidate(propose(campaign, step)) for step in range(3)]
        odd = {"message": "a \0 in what a program says", "ratio": 0.0}  # of a result at a cost ratio
        for number, each in enumerate(candidates):
            for asked in (task(each.program_digest, stage=stage, ratio=4.0) for stage in (Stage.CHECK, Stage.FIDELITY)):
                ledger.claim(asked, "me", MINUTE, each.id)
                taken = result(
                    asked, kl=(0.1, math.nan, math.inf), cost_ratio=number, error_layer_0=1.0, speedup=math.nan
                )
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

    def test_a_result_that_was_rolled_back_is_not_remembered(self, ledger, campaign, monkeypatch):
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

    def test_what_another_process_measured_meanwhile_is_on_the_leaderboard(self, ledger, campaign, url):
        candidate = ledger.add_candidate(propose(campaign, 0))
        measure(ledger, candidate, task(), accuracy=0.6)
        with closing(SqlLedger(url)) as other:
            measure(other, candidate, task(stage=Stage.FIDELITY), kl=0.2)
        measure(ledger, candidate, task(stage=Stage.RECALL), recall=0.9)
        assert [(row.accuracy, row.kl, row.recall) for row in ledger.standings()] == [(0.6, 0.2, 0.9)]

    @pytest.mark.parametrize("status", [Status.INFRASTRUCTURE, Status.INTERRUPTED])
    def test_our_own_faults_are_tried_again(self, ledger, campaign, status):
        candidate = ledger.add_candidate(propose(campaign, 0))
        measure(ledger, candidate, task(), status=status, accuracy=0.1)
        assert ledger.records(campaign.id)[0].status is status
        measure(ledger, candidate, task(), accuracy=0.5)
        (evaluation,) = ledger.records(campaign.id)[0].evaluations
        assert evaluation == result(task(), accuracy=0.5)

    def test_circumstances_come_back(self, ledger):
        ledger.claim(task(), "me", MINUTE)
        ledger.finish(result(task()), "me", ENVIRONMENT)
        assert ledger.environment(ENVIRONMENT.digest) == ENVIRONMENT
        assert ledger.workload(task().key.workload_digest) == task().workload

    def test_campaigns_share_results_but_only_those_they_asked_for(self, ledger, campaign):
        ours = ledger.add_candidate(propose(campaign, 0))
        evaluation = measure(ledger, ours, task(), accuracy=0.5)
        measure(ledger, ours, task(seed=1), accuracy=0.7)
        later = ledger.create_campaign(CAMPAIGN)
        theirs = ledger.add_candidate(propose(later, 5, "p0"))
        assert ledger.records(later.id)[0].evaluations == ()
        assert ledger.claim(task(), "me", MINUTE, theirs.id) == evaluation
        assert ledger.records(later.id)[0].evaluations == (evaluation,)
        assert [row.accuracy for row in ledger.standings(later.id)] == [0.5]

    def test_result_reaches_everyone_who_waits_for_it(self, ledger, campaign):
        later = ledger.create_campaign(CAMPAIGN)
        ours, theirs = (ledger.add_candidate(propose(c, 0)) for c in (campaign, later))
        assert ledger.claim(task(), "me", MINUTE, ours.id) is Claim.TAKEN
        assert ledger.claim(task(), "you", MINUTE, theirs.id) is Claim.BUSY
        ledger.finish(result(task(), accuracy=0.5), "me", ENVIRONMENT)
        assert [row.accuracy for row in ledger.standings()] == [0.5, 0.5]

    def test_standing_tells_which_earlier_candidate_chooses_the_same_pages(self, ledger, campaign):
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

    def test_standing_tells_what_was_measured_and_where(self, ledger, campaign):
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

    def test_held_out_probe_confirms(self, ledger, campaign):
        candidate = ledger.add_candidate(propose(campaign, 0))
        measure(ledger, candidate, task(), accuracy=(0.9, 0.8, 1.0))
        measure(ledger, candidate, task(split="held_out"), accuracy=(0.7, 0.6, 0.8))
        (row,) = ledger.standings()
        assert (row.accuracy, row.confirmed) == (0.9, True)
        assert (row.confirmed_accuracy, row.confirmed_accuracy_low, row.confirmed_accuracy_high) == (0.7, 0.6, 0.8)

    def test_cheating_or_crashing_has_no_accuracy(self, ledger, campaign):
        for step, status in enumerate((Status.NOT_SPARSE, Status.CRASHED, Status.BELOW_GATE)):
            candidate = ledger.add_candidate(propose(campaign, step))
            measure(ledger, candidate, task(f"p{step}"), status=status, accuracy=0.9)
        standings = {row.status: row.accuracy for row in ledger.standings()}
        assert standings == {"not_sparse": None, "crashed": None, "below_gate": 0.9}

    def test_standings_are_best_first(self, ledger, campaign):
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

    def test_each_ratio_has_a_row_of_its_own(self, ledger, campaign):
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
    def test_no_row_is_made_of_two_places(self, ledger, campaign, other):
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

    def test_no_row_at_a_ratio_mixes_lengths(self, ledger, campaign):
        candidate = ledger.add_candidate(propose(campaign, 0))
        measure(ledger, candidate, task(stage=Stage.FIDELITY, ratio=8.0, lengths=LENGTHS), kl=0.1)
        measure(ledger, candidate, task(stage=Stage.SERVE, ratio=8.0, lengths=(800,)), speedup=2.0)
        rows = ledger.standings()
        assert {(row.lengths, row.kl, row.speedup) for row in rows} == {
            ((100, 200, 300), 0.1, None),
            ((800,), None, 2.0),
        }

    def test_lengths_that_differ_in_order_alone_are_the_same(self, ledger, campaign):
        candidate = ledger.add_candidate(propose(campaign, 0))
        measure(ledger, candidate, task(stage=Stage.FIDELITY, ratio=8.0, lengths=LENGTHS), kl=0.1)
        measure(ledger, candidate, task(stage=Stage.SERVE, ratio=8.0, lengths=tuple(sorted(LENGTHS))), speedup=2.0)
        assert [(row.kl, row.speedup) for row in ledger.standings()] == [(0.1, 2.0)]

    def test_mixed_lengths_of_programs_as_written_are_told(self, ledger, campaign):
        candidate = ledger.add_candidate(propose(campaign, 0))
        measure(ledger, candidate, task(stage=Stage.RECALL, lengths=(200,)), recall=0.5)
        assert not ledger.standings()[0].mixed_lengths
        measure(ledger, candidate, task(stage=Stage.SERVE, lengths=(800,)), speedup=2.0)
        (row,) = ledger.standings()
        assert (row.ratio, row.mixed_lengths, row.lengths) == (0.0, True, (200, 800))

    def test_row_without_a_figure_says_why(self, ledger):
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

    def test_failed_oracle_stops_every_ratio(self, ledger, campaign):
        candidate = ledger.add_candidate(propose(campaign, 0))
        for ratio in (8.0, 16.0):
            measure(ledger, candidate, task(stage=Stage.CHECK, ratio=ratio), cost_ratio=ratio)
        measure(ledger, candidate, task(stage=Stage.ORACLE), status=Status.WRONG_RESULT)
        rows = ledger.standings()
        assert [(row.ratio, row.status, row.reason) for row in rows] == [
            (ratio, "wrong_result", "oracle: why") for ratio in (8.0, 16.0)
        ]

    def test_what_saves_too_little_is_a_reference_and_stands_last(self, ledger, campaign):
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
    def test_choice_says_which_rows_and_in_which_order(self, ledger, campaign, choice, expected):
        for step in range(4):
            candidate = ledger.add_candidate(propose(campaign, step))
            if step:
                at = {"ratio": 8.0, "lengths": LENGTHS}
                measure(ledger, candidate, task(f"p{step}", Stage.FIDELITY, **at), kl=step / 10)
                measure(
                    ledger, candidate, task(f"p{step}", Stage.SERVE, **at), speedup=(2 / step, 1.5 / step, 3 / step)
                )
        if expected is None:
            with pytest.raises(ConditionError):
                ledger.standings(choice=Choice(**choice))
            return
        assert [row.digest for row in ledger.standings(choice=Choice(**choice))] == expected

    def test_fitted_program_finds_its_candidate(self, ledger, campaign):
        first, second = (ledger.add_candidate(propose(campaign, i, f"aa{i}")) for i in range(2))
        for candidate, fitted in ((first, "fit8"), (first, "fit16"), (second, "aa0")):
            measure(ledger, candidate, task(fitted, Stage.CHECK, ratio=8.0))
        assert ledger.find("fit").candidate == ledger.find("fit16").candidate == first
        assert ledger.find("aa0").candidate == first
        assert ledger.find("aa1").candidate == second
        with pytest.raises(LookupError, match="aa0, aa1"):
            ledger.find("aa")

    def test_candidate_measured_at_two_ratios_counts_once(self, ledger, campaign):
        candidate = ledger.add_candidate(propose(campaign, 0))
        for ratio, status in ((8.0, Status.OK), (16.0, Status.BELOW_GATE)):
            measure(ledger, candidate, task(stage=Stage.CHECK, ratio=ratio), status=status)
        assert dict(ledger.progress(campaign.id).statuses) == {Status.OK: 1}

    def test_program_that_is_admitted_twice_stands_once(self, ledger, campaign):
        first = ledger.add_candidate(propose(campaign, 0, "p0"))
        measure(ledger, first, task(), accuracy=0.5)
        ledger.add_candidate(propose(campaign, 1, "p0"))
        assert [(row.id, row.accuracy) for row in ledger.standings()] == [(first.id, 0.5)]

    def test_progress_counts_candidates_and_running_evaluations(self, ledger, campaign):
        done, under_way, _ = (ledger.add_candidate(propose(campaign, step)) for step in range(3))
        ledger.add_candidate(propose(campaign, 3, status=Status.DUPLICATE))
        measure(ledger, done, task(), status=Status.TIMED_OUT)
        ledger.claim(task("p1"), "me", MINUTE, under_way.id)
        progress = ledger.progress(campaign.id)
        assert dict(progress.statuses) == {Status.OK: 2, Status.DUPLICATE: 1, Status.TIMED_OUT: 1}
        assert (progress.num_steps, progress.num_running) == (4, 1)

    def test_progress_tells_where_the_time_of_workers_went(self, ledger, campaign):
        """What was there before the campaign took nothing; what two candidates ask for was measured once."""
        first, second = (ledger.add_candidate(propose(campaign, step)) for step in range(2))
        shared, hidden = task("both", Stage.FIDELITY, ratio=8.0), task("p0", Stage.FIDELITY, split="held_out")
        measure(ledger, first, shared)
        measure(ledger, first, hidden, status=Status.CRASHED)
        assert ledger.claim(shared, "me", MINUTE, second.id).status is Status.OK
        ledger.claim(task("p1", Stage.FIDELITY, ratio=8.0), "me", MINUTE, second.id)
        assert ledger.progress(campaign.id).took == (
            Took(Stage.FIDELITY, "search", 8.0, 0.25, 1, num_passed=2, num_ended=2, num_running=1),
            Took(Stage.FIDELITY, "held_out", 0.0, 0.25, 1, num_passed=0, num_ended=1, num_running=0),
        )

    def test_what_was_there_before_a_campaign_took_none_of_its_time(self, ledger, campaign):
        measure(ledger, ledger.add_candidate(propose(campaign, 0)), task())
        measure(ledger, ledger.add_candidate(propose(campaign, 1)), task("p1"), status=Status.INFRASTRUCTURE)
        later = ledger.create_campaign(CAMPAIGN)
        with ledger._engine.begin() as connection:
            connection.execute(text("UPDATE campaign SET created_at = '2999-01-01 00:00:00' WHERE id = 2"))
        given = ledger.add_candidate(propose(later, 0))
        assert ledger.claim(task(), "me", MINUTE, given.id).status is Status.OK
        assert ledger.progress(later.id).took == (Took(Stage.PROBE, "search", 0.0, 0.0, 0, 1, 1, 0),)
        assert ledger.claim(task("p1"), "me", MINUTE, given.id) is Claim.TAKEN
        assert ledger.progress(later.id).took == (Took(Stage.PROBE, "search", 0.0, 0.0, 0, 1, 1, 1),)
        assert ledger.progress(campaign.id).took == (Took(Stage.PROBE, "search", 0.0, 0.25, 1, 1, 1, 1),)

    def test_find_takes_an_id_or_the_beginning_of_a_digest(self, ledger, campaign):
        first, second = (ledger.add_candidate(propose(campaign, i, d)) for i, d in enumerate(("abc1", "abd2")))
        newer = ledger.add_candidate(propose(ledger.create_campaign(CAMPAIGN), 0, "abd2"))
        assert ledger.find(str(first.id)).candidate == first
        assert ledger.find("abc").candidate == first
        assert ledger.find("abd").candidate == newer
        assert second != newer
        with pytest.raises(LookupError, match="abc1, abd2"):
            ledger.find("ab")
        for nothing in ("%", "b", "9" * 30):
            with pytest.raises(LookupError, match="no candidate"):
                ledger.find(nothing)

    def test_stages_finished_at_the_same_moment_all_reach_the_standing(self, ledger, campaign):
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

    def test_eight_drivers_open_a_new_database_and_share_the_work_exactly_once(self, url):
        command = [sys.executable, FOLDER / "claim_all.py", url, "8", "200"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MINUTE, check=False)
        shares = [int(share) for share in done.stdout.split()]
        assert (len(shares), sum(shares)) == (8, 200), done.stderr

    def test_driver_killed_in_mid_transaction_leaves_nothing_behind(self, url, ledger):
        command = [sys.executable, FOLDER / "die_in_transaction.py", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
            assert [driver.stdout.readline().strip() for _ in range(2)] == ["taken", "written, not committed"]
            driver.kill()
        time.sleep(2 * MOMENT)
        assert ledger.claim(task(), "heir", MINUTE) is Claim.TAKEN
        ledger.finish(result(task(), accuracy=0.5), "heir", ENVIRONMENT)
        assert ledger.claim(task(), "heir", MINUTE) == result(task(), accuracy=0.5)


class TestSqlite(LedgerContract):
    @pytest.fixture
    def url(self, sqlite_url):
        return sqlite_url


@pytest.mark.postgres
class TestPostgresql(LedgerContract):
    @pytest.fixture
    def url(self, postgresql_url):
        return postgresql_url
