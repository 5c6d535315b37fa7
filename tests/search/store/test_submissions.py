"""What comes from outside waits in order, and takes each step once."""

import dataclasses
from contextlib import closing
from dataclasses import replace

import pytest

from search.contracts import SubmissionError
from search.records import Proposal, StoredCampaign, Submission
from search.store.ledger import SqlLedger
from search.store.submissions import MAX_WAITING

CAMPAIGN = StoredCampaign(seed=7, num_candidates=100, proposers=("grammar",), model="probe")
BROUGHT = Proposal("class A: ...", "claude", "mutate", ("p1", "p2"), "shorter", values=(("pages", 4), ("rule", "max")))


def brought(campaign, number=0, **changed):
    return Submission(campaign.id, replace(BROUGHT, text=f"class A{number}: ...", **changed))


class SubmissionContract:
    """Subclasses give a fixture `url` of an empty database."""

    @pytest.fixture
    def ledger(self, url):
        with closing(SqlLedger(url)) as ledger:
            yield ledger

    @pytest.fixture
    def campaign(self, ledger):
        return ledger.create_campaign(CAMPAIGN)

    def test_submission_comes_back_as_it_was(self, ledger, campaign):
        stored = ledger.submit(brought(campaign))
        assert dataclasses.replace(stored, id=0) == brought(campaign)
        assert ledger.submissions(campaign.id) == [stored]

    def test_what_waited_longest_takes_the_step_and_keeps_it(self, ledger, campaign):
        first, second = (ledger.submit(brought(campaign, i)) for i in range(2))
        assert ledger.assign(campaign.id, 5) == replace(first, step=5)
        assert ledger.assign(campaign.id, 5) == replace(first, step=5)
        assert ledger.assign(campaign.id, 9) == replace(second, step=9)
        assert ledger.assign(campaign.id, 10) is None
        assert [each.step for each in ledger.submissions(campaign.id)] == [5, 9]

    def test_campaigns_have_a_queue_each(self, ledger, campaign):
        other = ledger.create_campaign(CAMPAIGN)
        ledger.submit(brought(other))
        assert ledger.assign(campaign.id, 0) is None
        assert ledger.submissions(campaign.id) == []
        assert ledger.assign(other.id, 0).campaign_id == other.id

    def test_the_same_brought_again_is_the_same(self, ledger, campaign):
        stored = ledger.submit(brought(campaign))
        ledger.assign(campaign.id, 3)
        assert ledger.submit(brought(campaign, rationale="again")) == replace(stored, step=3)
        others = ({"values": (("pages", 5),)}, {"proposer": "codex"})
        assert len({ledger.submit(brought(campaign, **other)).id for other in others} | {stored.id}) == 3

    def test_too_many_that_wait_are_refused_until_some_are_taken(self, ledger, campaign):
        for i in range(MAX_WAITING):
            ledger.submit(brought(campaign, i))
        with pytest.raises(SubmissionError, match=f"{MAX_WAITING} submissions of claude wait"):
            ledger.submit(brought(campaign, MAX_WAITING))
        ledger.submit(brought(campaign, MAX_WAITING, proposer="codex"))
        ledger.assign(campaign.id, 0)
        assert ledger.submit(brought(campaign, MAX_WAITING)).step is None

    def test_a_campaign_that_is_not_there_takes_nothing(self, ledger):
        with pytest.raises(LookupError, match="no campaign 4"):
            ledger.submit(Submission(4, BROUGHT))


class TestSqlite(SubmissionContract):
    @pytest.fixture
    def url(self, sqlite_url):
        return sqlite_url


@pytest.mark.postgres
class TestPostgresql(SubmissionContract):
    @pytest.fixture
    def url(self, postgresql_url):
        return postgresql_url
