"""What is put into a ledger comes back as it was, and is found again."""

import dataclasses
import time

import pytest
from fake_measurements import (
    CAMPAIGN,
    ENVIRONMENT,
    MINUTE,
    measure,
    propose,
    result,
    task,
)
from sqlalchemy import text

from search.contracts import Claim
from search.records import (
    Stage,
    Status,
    StoredCampaign,
    Took,
)


def test_what_is_spent_is_told_with_what_is_held_out_and_what_was_there_before(ledger, campaign):
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


def test_each_evaluation_names_the_commit_that_measured_it(ledger, campaign):
    """An environment's identity leaves the commit out, so that the environment alone could not say it."""
    candidate = ledger.add_candidate(propose(campaign, 0))
    later = dataclasses.replace(ENVIRONMENT, commit="def")
    assert later.digest == ENVIRONMENT.digest
    measure(ledger, candidate, task())
    measure(ledger, candidate, task(seed=1), at=later)
    assert [each.commit for each in ledger.spent(campaign.id).spendings] == ["abc", "def"]


def test_campaign_comes_back_as_it_was(ledger, campaign):
    assert campaign == dataclasses.replace(CAMPAIGN, id=campaign.id)
    assert ledger.campaign(campaign.id) == campaign


def test_newest_campaign_is_the_default(ledger, campaign):
    newer = ledger.create_campaign(CAMPAIGN)
    assert ledger.campaign() == newer
    assert ledger.campaigns() == [campaign, newer]


def test_missing_things_are_lookup_errors(ledger, campaign):
    with pytest.raises(LookupError, match="no campaign 99"):
        ledger.campaign(99)
    with pytest.raises(LookupError, match="no campaign 99"):
        ledger.add_candidate(propose(StoredCampaign(0, 0, (), "", id=99), 0))
    for missing in (ledger.find, ledger.environment, ledger.workload):
        with pytest.raises(LookupError, match="nowhere"):
            missing("nowhere")
    with pytest.raises(LookupError, match="no candidate 99"):
        ledger.candidate(99)


def test_empty_ledger_has_no_campaign(ledger):
    with pytest.raises(LookupError, match="no campaign yet"):
        ledger.campaign()
    assert ledger.standings() == []


def test_conversation_is_kept_for_people_alone(ledger, campaign):
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


def test_candidate_comes_back_as_it_was(ledger, campaign):
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


def test_adding_a_step_again_gives_the_stored_one(ledger, campaign):
    first = ledger.add_candidate(propose(campaign, 3))
    assert ledger.add_candidate(propose(campaign, 3, "other")) == first
    assert [record.candidate for record in ledger.records(campaign.id)] == [first]
    assert [row.digest for row in ledger.standings()] == ["p3"]


def test_refused_text_is_kept_and_stands_nowhere(ledger, campaign):
    refused = propose(campaign, 0, status=Status.PROGRAM_ERROR, text="class 7:")
    stored = ledger.add_candidate(dataclasses.replace(refused, message="1:7: a name is missing"))
    record = ledger.candidate(stored.id)
    assert (record.candidate.proposal.text, record.status) == ("class 7:", Status.PROGRAM_ERROR)
    assert record.candidate.message == "1:7: a name is missing"
    assert ledger.standings() == []


@pytest.mark.parametrize("text", ["", "a\0b", "lone \ud800 surrogate", "emoji 🜁", "line\r\nline\u2028"])
def test_any_text_can_be_stored(ledger, campaign, text):
    added = ledger.add_candidate(propose(campaign, 0, status=Status.PROGRAM_ERROR, text=text))
    (record,) = ledger.records(campaign.id)
    assert record.candidate == added
    assert len(added.proposal.text) == len(text)
    assert added.proposal.text == text or "\ufffd" in added.proposal.text


def test_records_come_in_step_and_stage_order(ledger, campaign):
    for step in (2, 0, 1):
        ledger.add_candidate(propose(campaign, step))
    first = ledger.records(campaign.id)[0].candidate
    evaluations = {stage: measure(ledger, first, task("p0", stage)) for stage in reversed(Stage)}
    records = ledger.records(campaign.id)
    assert [record.candidate.step for record in records] == [0, 1, 2]
    assert records[0].evaluations == tuple(evaluations[stage] for stage in Stage)
    assert records[1].evaluations == ()


def test_proposers_never_see_the_held_out_split(ledger, campaign):
    candidate = ledger.add_candidate(propose(campaign, 0))
    shown = measure(ledger, candidate, task(), accuracy=0.5)
    hidden = measure(ledger, candidate, task(split="held_out"), accuracy=0.4)
    assert ledger.records(campaign.id)[0].evaluations == (shown,)
    assert ledger.candidate(candidate.id).evaluations == (shown, hidden)


def test_find_takes_an_id_or_the_beginning_of_a_digest(ledger, campaign):
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


def test_circumstances_come_back(ledger):
    ledger.claim(task(), "me", MINUTE)
    ledger.finish(result(task()), "me", ENVIRONMENT)
    assert ledger.environment(ENVIRONMENT.digest) == ENVIRONMENT
    assert ledger.workload(task().key.workload_digest) == task().workload


def test_fitted_program_finds_its_candidate(ledger, campaign):
    first, second = (ledger.add_candidate(propose(campaign, i, f"aa{i}")) for i in range(2))
    for candidate, fitted in ((first, "fit8"), (first, "fit16"), (second, "aa0")):
        measure(ledger, candidate, task(fitted, Stage.CHECK, ratio=8.0))
    assert ledger.find("fit").candidate == ledger.find("fit16").candidate == first
    assert ledger.find("aa0").candidate == first
    assert ledger.find("aa1").candidate == second
    with pytest.raises(LookupError, match="aa0, aa1"):
        ledger.find("aa")


def test_progress_counts_candidates_and_running_evaluations(ledger, campaign):
    done, under_way, _ = (ledger.add_candidate(propose(campaign, step)) for step in range(3))
    ledger.add_candidate(propose(campaign, 3, status=Status.DUPLICATE))
    measure(ledger, done, task(), status=Status.TIMED_OUT)
    ledger.claim(task("p1"), "me", MINUTE, under_way.id)
    progress = ledger.progress(campaign.id)
    assert dict(progress.statuses) == {Status.OK: 2, Status.DUPLICATE: 1, Status.TIMED_OUT: 1}
    assert (progress.num_steps, progress.num_running) == (4, 1)


def test_progress_tells_where_the_time_of_workers_went(ledger, campaign):
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


def test_what_was_there_before_a_campaign_took_none_of_its_time(ledger, campaign):
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
