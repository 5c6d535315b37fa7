"""What a step may see: settled records up to its own minus the lag, and nothing that is not there yet."""

import pytest

from search.archive.history import History
from search.config import CampaignConfig
from search.records import Candidate, Proposal, Record, Status


@pytest.fixture
def history():
    """Three records, all settled, of a campaign with a lag of two."""
    made = History(CampaignConfig(lag=2))
    for step in range(3):
        made.add(Record(Candidate(1, step, Proposal("", "grammar", "random"), Status.PROGRAM_ERROR, id=step + 1)), ())
        made.finish(step)
    return made


def test_a_step_sees_what_is_settled_up_to_its_lag(history):
    assert [record.candidate.step for record in history.visible(3)] == [0, 1]
    assert history.is_visible(4)
    assert len(list(history.visible(4))) == 3


def test_what_is_not_there_yet_is_not_visible(history):
    assert history.is_settled
    assert not history.is_visible(5)  # it may see step 3, which nobody has proposed
