"""The files of `examples/`: each is read, and what the first says is planned by a dry run."""

from pathlib import Path

import pytest

from search.campaigns.reading import read_setup
from search.campaigns.settings import seed_programs, settings_of
from search.cli import main
from search.commands.exits import ExitCode
from search.evaluator.models import ModelFacts
from search.kinds.pace import OnRecord
from vortex_dsl import Shape

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "examples").glob("*.toml"))


@pytest.fixture
def llama(worded):
    """A model as large as those that are named, none of which is at hand in tests; its tokens are words, so fewer."""
    return ModelFacts("a model", worded, "m" * 16, "Llama", 28, 32, 8, 128, 4, 40960, 1000)


def test_there_is_one_for_each_size():
    assert [file.stem for file in EXAMPLES] == ["cluster", "laptop", "one_gpu"]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_makes_a_campaign(file, llama):
    """Texts as long as it says are at hand on any machine."""
    setup = read_setup(file)
    config = settings_of(setup, llama)
    assert config.ratios == setup.ratios
    assert config.proposers == setup.round
    assert len(config.seed_programs) == len(seed_programs(setup.seed_programs, Shape(4, 128)))
    assert {"random", "greedy", "best_of_n"} < set(setup.round)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_planned(file, capsys, monkeypatch, db, llama):
    monkeypatch.setattr("search.campaigns.forecast.facts_of", lambda _model: llama)
    monkeypatch.setattr("search.campaigns.forecast.on_record", lambda _setup: OnRecord())
    assert main(["run", str(file), "--dry-run", "--db", db]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert "busy worker" in out
    assert "fidelity" in out
