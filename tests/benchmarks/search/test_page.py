"""The command: what it writes and shows, that docs/search.md is what the newest files tell, and its faults."""

import json
from pathlib import Path

import pytest

from benchmarks.search import __main__ as command
from benchmarks.search import page, results
from benchmarks.search.trials import RECORDED, Asked
from search.evaluator.recall import recordings
from tests.benchmarks.search.conftest import recorded

ROOT = Path(__file__).parents[3]


def run(capsys, *arguments):
    code = command.main([*map(str, arguments)])
    return code, capsys.readouterr()


@pytest.mark.slow
def test_a_search_is_written_and_shown(tmp_path, capsys):
    file, out = tmp_path / "recorded.safetensors", tmp_path / "results"
    recordings.save(recorded(), file)
    asked = ("--methods", "random", "best_of_n", "--ratios", 4, "--seeds", 2, "--evaluations", 3, "--workers", 1)
    code, said = run(capsys, "--recordings", file, *asked, "--cache", tmp_path / "cache", "--out", out, "--markdown")
    assert code == 0
    assert said.out == page.page(out)
    (written,) = out.iterdir()
    found = json.loads(written.read_text())
    assert [(each["method"], each["seed"], each["num_evaluated"]) for each in found["runs"]] == [
        ("random", 0, 3),
        ("best_of_n", 0, 3),
        ("random", 1, 3),
        ("best_of_n", 1, 3),
    ]
    assert [(each["method"], each["num_seeds"]) for each in found["gains"]] == [("random", 2), ("best_of_n", 2)]
    assert (found["pairs"][0]["method"], found["pairs"][0]["other"]) == ("random", "best_of_n")
    assert "class " in found["best"][0]["best"][0]["text"]
    assert {rule["text"] for each in found["published"] for rule in each["rules"]} == {""}
    assert "Seen: one, layers 1, 4, 7; held out: two, layers 0, 2-3, 5-6." in said.out
    assert said.out.count(page.MISSING) == 2


def test_the_page_of_the_docs_is_that_of_the_newest_results():
    told = (ROOT / "docs" / "search.md").read_text()
    assert told == page.page(results.FOLDER), "run python -m benchmarks.search --markdown > docs/search.md"


def test_the_newest_file_of_each_kind_counts(tmp_path):
    for stamp, number in (("2026-11-28T060000Z", 1), ("2026-11-29T060000Z", 2)):
        (tmp_path / f"search_recorded_{stamp}.json").write_text(json.dumps({"number": number}))
    assert results.newest(RECORDED, tmp_path) == {"number": 2}
    assert results.newest(results.LANDSCAPES, tmp_path) is None


def test_landscapes_are_shown():
    height = {"value": 0.5, "low": 0.4, "high": 0.6, "num_samples": 2}
    each = {"landscape": "smooth", "heights": {"mix": height, "random": height}, "best_baseline": "random"}
    told = {
        "measured_to": "today",
        "asked": {"methods": ["mix", "random"], "seeds": [0, 1], "evaluations": 9},
        "environment": {"device": "a processor", "torch": "2", "python": "3", "commit": ""},
        "heights": [{**each, "shortfall": 0.031, "difference": height}],
    }
    (section,) = page.of_landscapes(told)
    row = "| smooth | 0.500 [0.400, 0.600] | 0.500 [0.400, 0.600] | random | +0.500 [+0.400, +0.600] | 3.1% |"
    assert row in section.splitlines()


def test_quick_asks_for_less_where_nothing_else_is_said():
    asked = command._asked(command.parser().parse_args(["--planted", "--quick", "--seeds", "3"]))
    assert (asked.ratios, asked.seeds, asked.evaluations) == ((8.0,), (0, 1, 2), 40)
    usual = command._asked(command.parser().parse_args(["--planted"]))
    assert (usual.ratios, len(usual.seeds), usual.evaluations) == ((8.0, 16.0, 32.0), 10, 200)


def test_cases_go_seed_after_seed():
    cases = Asked(("mix", "random"), (8.0, 16.0), (0, 1), 5).cases()
    assert [(each.seed, each.ratio, each.method) for each in cases[:3]] == [
        (0, 8.0, "mix"),
        (0, 8.0, "random"),
        (0, 16.0, "mix"),
    ]
    assert len(cases) == 8


def test_faults_are_one_sentence(tmp_path, capsys):
    code, said = run(capsys, "--recordings", tmp_path / "none.safetensors", "--cache", tmp_path)
    assert (code, said.err.count("\n")) == (1, 1)
    assert "none.safetensors" in said.err


@pytest.mark.parametrize(
    "wrong",
    [["--planted", "--ratios", "0.5"], ["--planted", "--seeds", "0"], ["--planted", "--methods", "no"], []],
)
def test_options_have_bounds(wrong, capsys):
    with pytest.raises(SystemExit) as end:
        run(capsys, *wrong)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err
