"""The scripted server charges what the client records, and what is reserved is never overspent."""

import pytest

from benchmarks.agents.money import account
from benchmarks.agents.server import Habits, serving
from benchmarks.agents.slots import busy
from search.agents.llm.endpoint import Chat

QUESTION = [{"role": "user", "content": "Write one."}]


def test_dollars_on_record_are_those_that_were_charged():
    found = account(60, seed=1)
    assert found.num_requests > found.num_answers == 60
    assert found.recorded == pytest.approx(found.charged, abs=1e-9)
    assert found.refused == 0


def test_no_more_is_spent_than_there_is():
    found = account(60, seed=2, share=0.1)
    assert found.refused > 0
    assert found.recorded == pytest.approx(found.charged, abs=1e-9)
    assert found.charged <= found.most


def test_the_server_breaks_down_and_cuts_off_as_often_as_it_is_told():
    with serving(lambda n, _: f"answer {n}", Habits(truncations=1.0)) as server:
        assert "cut off" in Chat(server.endpoint()).ask(QUESTION).fault
    with serving(lambda n, _: f"answer {n}") as server:
        answers = [Chat(server.endpoint()).ask(QUESTION) for _ in range(2)]
    assert [(each.text, each.fault) for each in answers] == [("answer 0", ""), ("answer 1", "")]
    assert len(server.arrivals) == 2


@pytest.mark.slow
def test_workers_and_slots_are_told_in_shares():
    found = busy(latency_s=0.5, num_workers=2, num_answers=12, seed=0)
    assert 0 < found.workers <= 1
    assert 0 < found.requests < 1.2
