"""Searches that ended are kept: the same question is answered without searching, another one is not."""

from dataclasses import replace

import pytest

from benchmarks.search import kept, trials
from benchmarks.search.landscapes import Landscape
from benchmarks.search.runs import Judged, Run
from benchmarks.search.trials import Case, Where, _run

CASE = Case("random", 8.0, 3, 2)
BEST = Judged("Rule", "d", "text", (("pages", 4), ("gate", 0.5)), "random: random", 0.5, 0.25)


@pytest.fixture
def searched(monkeypatch):
    """What was really searched."""
    asked = []

    def search(_problem, method, ratio, seed, num):
        asked.append((method, ratio, seed, num))
        return Run(method, ratio, seed, num, 1, (BEST,), (0.25, 0.5), 0.75)

    monkeypatch.setattr(trials, "run", search)
    return asked


def test_who_asks_the_same_again_is_given_what_was_found(searched, tmp_path):
    where = Where(Landscape.SMOOTH.value, tmp_path)
    first = _run(where, CASE)
    assert _run(where, CASE) == first
    assert len(searched) == 1


@pytest.mark.parametrize("change", [{"method": "greedy"}, {"ratio": 16.0}, {"seed": 4}, {"num": 3}])
def test_another_question_is_searched(searched, tmp_path, change):
    where = Where(Landscape.SMOOTH.value, tmp_path)
    _run(where, CASE)
    _run(where, replace(CASE, **change))
    _run(Where(Landscape.RUGGED.value, tmp_path), CASE)
    assert len(searched) == 3


def test_other_source_searches_anew(searched, tmp_path, monkeypatch):
    where = Where(Landscape.SMOOTH.value, tmp_path)
    _run(where, CASE)
    monkeypatch.setattr(trials, "source_digest", lambda: "changed")
    _run(where, CASE)
    assert len(searched) == 2


def test_all_that_a_search_reads_is_in_the_digest(tmp_path, monkeypatch):
    for top in kept.SOURCES:
        (tmp_path / top).mkdir(parents=True)
    (tmp_path / "search" / "loop.py").write_text("pass")
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    before = kept.source_digest.__wrapped__()
    (tmp_path / "search" / "loop.py").write_text("pass  # changed")
    assert kept.source_digest.__wrapped__() != before
