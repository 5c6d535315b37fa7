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


def test_what_is_given_sees_nothing():
    """All of it can be under way at once, however small the lag; whoever comes later sees it as ever."""
    history = History(CampaignConfig(lag=2), num_given=6)
    for step in range(8):
        assert history.is_visible(step) == (step < 6)
        history.add(Record(Candidate(1, step, Proposal("(\n", "zoo", "seed"), Status.PROGRAM_ERROR, "bad")), ())
    for step in range(6):
        assert len(history.visible(step)) == history.archive(step).num_records == 0
        history.finish(step)
    assert history.is_visible(6)
    assert len(history.visible(6)) == history.archive(6).num_records == 5


def test_what_is_under_way_is_what_stands_between_the_visible_and_the_step():
    history = History(CampaignConfig(lag=3))
    for step in range(5):
        refused = Candidate(1, step, Proposal("(\n", "llm", "explore"), Status.PROGRAM_ERROR, "bad")
        history.add(Record(refused), [f"digest {step}"])
    assert [candidate.step for candidate in history.pending(5)] == [3, 4]
    assert [candidate.step for candidate in history.pending(2)] == [0, 1]
    assert history.pending(0) == ()


def test_what_is_known_can_be_compared_with_other_sets():
    history = History(CampaignConfig(lag=3))
    history.add(Record(Candidate(1, 0, Proposal("(\n", "llm", "explore"), Status.OK)), ["first"])
    known = history.known(1)
    assert known & {"first", "other"} == {"first"}
    assert {"other"} - known == {"other"}
    assert history.known(0) & {"first"} == set()
