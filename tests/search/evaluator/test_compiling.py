"""Loops compiled ahead lie where an engine's process looks for them, and are compiled once."""

from search.evaluator.compiling import compile_ahead, is_compiling


def test_loops_lie_in_the_cache_of_the_engines(tmp_path):
    home = tmp_path / "engines"
    first = compile_ahead(home)
    assert compile_ahead(home) is None  # the first is at it
    assert is_compiling(home)
    assert first.wait(timeout=300) == 0
    assert not is_compiling(home)
    assert list(home.glob(".cache/numba/*/tape.run_*.nbc"))
    again = compile_ahead(home)
    assert again.wait(timeout=300) == 0
