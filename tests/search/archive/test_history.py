"""What a step may see of a campaign's records."""

from search.archive.history import History
from search.config import CampaignConfig
from search.records import Candidate, Proposal, Record, Status


def test_a_step_sees_nothing_before_all_of_it_is_there():
    """A question far ahead of its turn would otherwise be asked with fewer records than its step has."""
    history = History(CampaignConfig(lag=4))
    for step in range(2):
        refused = Candidate(1, step, Proposal("(\n", "llm", "explore"), Status.PROGRAM_ERROR, "bad")
        history.add(Record(refused), ())
        history.finish(step)
    assert [history.is_visible(step) for step in range(8)] == [True] * 6 + [False] * 2
    assert len(history.visible(5)) == history.num_settled == 2
