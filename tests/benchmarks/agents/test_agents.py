"""The scripted server charges what the client records, and what is reserved is never overspent."""

import json
from pathlib import Path

import pytest

from benchmarks.agents import rows
from benchmarks.agents.__main__ import main
from benchmarks.agents.money import account
from benchmarks.agents.server import Habits, serving
from benchmarks.agents.slots import Busy, busy
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


def test_shares_are_kept_seed_by_seed_and_not_measured_again(tmp_path, monkeypatch, capsys):
    asked = []

    def drawn(latency_s, num_workers, num_answers, seed, *, mixed):
        asked.append((latency_s, mixed, seed))
        return Busy(0.9 + seed / 100, 0.5)

    monkeypatch.setattr(rows, "busy", drawn)
    words = ["slots", "--out", str(tmp_path), "--beside", "a test"]
    assert main([*words, "--seeds", "1"]) == 0
    assert asked == [(4.0, False, 0), (1.0, False, 0), (4.0, True, 0), (1.0, True, 0)]
    assert main([*words, "--seeds", "2"]) == 0
    assert asked[4:] == [(4.0, False, 1), (1.0, False, 1), (4.0, True, 1), (1.0, True, 1)]
    (path,) = tmp_path.iterdir()
    told = json.loads(path.read_text())
    assert told["beside"] == "a test"
    assert told["rows"][0] == {
        "latency_s": 4.0, "num_workers": 1, "num_answers": 60, "is_mixed": False, "seed": 0, "workers": 0.9,
        "requests": 0.5,
    }  # fmt: skip
    line = "| 4 s | a language model alone, one worker | 90.5 % (90.0 %) | 50.0 % (50.0 %) | 2 |"
    assert line in capsys.readouterr().out
    assert main(["slots", "--out", str(tmp_path), "--markdown"]) == 0
    assert line in capsys.readouterr().out
    assert len(asked) == 8


def test_the_page_of_the_docs_has_the_newest_shares():
    page = (Path(__file__).parents[3] / "docs" / "agents.md").read_text()
    assert rows.table(rows.FOLDER) in page
