"""What is written and shown: whole files, tables with every n, and docs/evaluator.md as the newest files tell it."""

import json
from pathlib import Path

import pytest

from benchmarks.evaluator import __main__ as command
from benchmarks.evaluator import page, results
from search.records import Stage, Status

ROOT = Path(__file__).parents[3]


@pytest.fixture
def campaign(handmade):
    """Six rules whose mass and recall foretell their loss, one of them a leader, and what is none."""
    for i in range(6):
        rule = handmade.candidate(f"Rule{i}")
        kl = 0.1 * (i + 1)
        handmade.evaluation(
            rule, Stage.RECALL, ended=10 + i, elapsed_s=2, recall=0.9 - 0.1 * i, mass=1 - kl, output_error=kl
        )
        spread = kl, (0.9 - 0.02 * i) * kl, 1.1 * kl
        handmade.evaluation(rule, Stage.FIDELITY, ended=30 + 10 * i, elapsed_s=6, kl=spread)
        handmade.evaluation(rule, Stage.RETRIEVAL, ended=130 + 10 * i, elapsed_s=4, loss=(kl, 0.0, 2 * kl))
    handmade.evaluation(rule, Stage.FIDELITY, ended=300, split="held_out", kl=(0.6, 0.5, 0.7))
    handmade.evaluation(handmade.reference(), Stage.FIDELITY, 0.0, kl=0.0)
    handmade.candidate("", "grammar", "random", Status.PROGRAM_ERROR)
    return handmade


def run(capsys, *arguments):
    code = command.main([*map(str, arguments)])
    return code, capsys.readouterr()


def test_a_campaign_is_written_and_its_page_printed(campaign, tmp_path, capsys):
    code, said = run(capsys, "--db", campaign.url, "--out", tmp_path / "results", "--markdown")
    assert code == 0
    (file,) = (tmp_path / "results").iterdir()
    found = json.loads(file.read_text())
    assert found["environment"]["device"] == "a processor"
    assert (found["measured_from"], found["measured_to"]) == ("2026-11-28T05:59:59Z", "2026-11-28T06:05:00Z")
    assert found["candidates"] == {"proposed": 8, "published": 6, "reference": 1, "refused: program_error": 1}
    assert len(found["rules"]) == 6
    assert found["rules"][2]["fidelity.kl"] == pytest.approx(0.3)
    rows = said.out.splitlines()
    assert "| 4 | recall | fidelity: kl | 1.00 [1.00, 1.00] | 1.00 [1.00, 1.00] | 6 |" in rows
    assert "| kl of candidates | 4 | 12.5% | 15.0% Rule5 | 6 of 6 within 25% | 6 | 0 |" in rows
    assert "| kl of confirmed leaders | 4 | 16.7% | 16.7% Rule5 | 0 of 1 within 15% | 1 | 0 |" in rows
    assert "| accuracy, at one cost ratio | 12.00 [12.00, 12.00] | 12.00 | 600 | 250 | 4 | 2 |" in rows
    assert "| fidelity (held out) | 4 | 1 | 1 ok | 1.00 | 1 |" in rows
    assert "coefficient over cost ratios: fidelity by recall (1.00), retrieval by recall (1.00)." in said.out
    assert said.out == page.page(tmp_path / "results")


def test_the_newest_file_of_each_kind_counts(tmp_path):
    for stamp, ratio in (("2026-11-28T060000Z", 4.0), ("2026-11-29T060000Z", 8.0)):
        (tmp_path / f"evaluator_campaign_{stamp}.json").write_text(json.dumps({"ratio": ratio}))
    assert results.newest(results.CAMPAIGN, tmp_path) == {"ratio": 8.0}
    assert results.newest(results.TWICE, tmp_path) is None


def test_what_was_not_measured_is_said_to_be_missing(tmp_path):
    assert page.page(tmp_path).count(page.MISSING) == 2


def test_the_page_of_the_docs_is_that_of_the_newest_results():
    told = (ROOT / "docs" / "evaluator.md").read_text()
    assert told == page.page(results.FOLDER), "run python -m benchmarks.evaluator --markdown > docs/evaluator.md"


def test_the_tests_that_the_page_names_are_there():
    text = (ROOT / page.TESTED_IN).read_text()
    assert [name for name in page.DENSE_TESTS if f"def {name}(" not in text] == []


def test_faults_are_one_sentence(tmp_path, capsys):
    code, said = run(capsys, "--db", f"sqlite:///{tmp_path}/none.db", "--out", tmp_path)
    assert (code, said.err.count("\n")) == (1, 1)
    assert "there is no database" in said.err


@pytest.mark.parametrize(
    "wrong", [["--workers", "0"], ["--ratio", "0.5"], ["--seeds", "1", "x"], ["--rules", "no"], []]
)
def test_options_have_bounds(wrong, capsys):
    with pytest.raises(SystemExit) as end:
        run(capsys, *wrong)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err
