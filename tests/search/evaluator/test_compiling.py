"""Loops compiled ahead lie where an engine's process looks for them."""

from search.evaluator.compiling import compile_ahead


def test_loops_lie_in_the_cache_of_the_engines(tmp_path):
    home = tmp_path / "engines"
    assert compile_ahead(home).wait(timeout=300) == 0
    assert list(home.glob(".cache/numba/*/tape.run_*.nbc"))
