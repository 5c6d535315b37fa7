"""Who resumes a campaign reads what was measured, and fits no budget anew that the record tells."""

import pytest
from fake_campaigns import NUM_SEEDS, REAL, run

from search import admission, dispatch
from search.admission import digests, meant
from search.fit import fit
from search.outcome import End
from search.records import Record, Status


@pytest.fixture
def searched(ledger, fake):
    outcome, campaign = run(ledger, REAL, fake(4))
    assert outcome.end is End.DONE
    return campaign


def test_a_record_tells_the_programs_that_fitting_finds(ledger, searched):
    admitted = [each for each in ledger.records(searched.id) if each.candidate.status is Status.OK]
    assert len(admitted) > 10
    for record in admitted:
        fitted = {record.candidate.program_digest, *digests(record.candidate.proposal, REAL.terms, REAL.ratios)}
        assert set(meant(record, REAL)) == fitted
        unchecked = Record(record.candidate, tuple(each for each in record.evaluations if each.ratio != 8))
        assert set(meant(unchecked, REAL)) == fitted


def test_no_budget_of_a_finished_campaign_is_fitted_anew(ledger, searched, fake, monkeypatch):
    fitted, again = [], fake(4)

    def noted(text, *rest):
        fitted.append(text)
        return fit(text, *rest)

    monkeypatch.setattr(admission, "fit", noted)
    monkeypatch.setattr(dispatch, "fit", noted)
    outcome, _ = run(ledger, REAL, again, searched)
    told = {each.record.candidate.proposal.text for each in outcome.leaders}
    seeds = ledger.records(searched.id)[:NUM_SEEDS]
    published = {each.candidate.proposal.text for each in seeds}
    assert (outcome.end, again.tasks) == (End.DONE, [])
    assert set(fitted) <= told | published  # whom to confirm
