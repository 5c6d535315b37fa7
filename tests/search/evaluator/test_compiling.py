"""Loops compiled ahead lie where an engine's process looks for them, and one process at a time compiles."""

import sys

from search.evaluator import compiling
from search.evaluator.compiling import compile_ahead, is_compiling


def test_loops_lie_in_the_cache_of_the_engines(loops):
    assert list(loops.glob(".cache/numba/*/tape.run_*.nbc"))
    assert not is_compiling(loops)


def test_one_process_at_a_time_compiles(tmp_path, monkeypatch):
    home = tmp_path / "engines"
    monkeypatch.setattr(compiling, "GET_READY", (sys.executable, "-c", "import time; time.sleep(1)"))
    first = compile_ahead(home)
    assert compile_ahead(home) is None
    assert is_compiling(home)
    assert first.wait(timeout=60) == 0
    assert not is_compiling(home)
    assert compile_ahead(home).wait(timeout=60) == 0
