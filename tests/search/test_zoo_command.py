"""`vortex zoo`: what it lists, what it prints, and what it says of a name that is not there."""

import json

import pytest

from search.cli import main
from vortex_dsl import Shape, cost, load_program, zoo


@pytest.fixture
def call(capsys):
    """Run a command; give its exit code, stdout and stderr."""

    def run(*arguments):
        code = main(["zoo", *arguments])
        return code, *capsys.readouterr()

    return run


def listed(call, *arguments):
    code, out, err = call("--json", *arguments)
    assert (code, err) == (0, "")
    return {entry["name"]: entry for entry in json.loads(out)}


def test_every_program_is_listed_with_its_cost(call):
    entries = listed(call, "--tokens", "8000", "--group", "2", "--head-dim", "64")
    assert list(entries) == list(zoo.names())
    for name, entry in entries.items():
        spent = cost(load_program(zoo.text(name)), Shape(group=2, head_dim=64), 8000)
        assert entry["bytes_per_page"] == spent.bytes_per_page
        assert (entry["pages_read"], entry["pages_dense"]) == (spent.pages_read, 500)
        assert entry["ratio"] == pytest.approx(spent.ratio)
        assert entry["refusal"] == ""


def test_ideas_papers_and_what_is_kept_come_from_the_text(call):
    entries = listed(call)
    assert entries["quest"]["papers"] == ["2406.10774"]
    assert entries["hybrid_union"]["papers"] == ["2406.10774", "2410.01485"]
    assert entries["quest"]["idea"].startswith("Rank pages by an upper bound of q·k")
    assert "arXiv" not in "".join(entry["idea"] for entry in entries.values())
    assert (entries["index_reuse"]["share_layers"], entries["step_reuse"]["refresh_steps"]) == (4, 4)
    assert {name for name, entry in entries.items() if entry["states"]} == {"ema", "h2o", "velocity"}


def test_the_table_names_every_program(call):
    code, out, _ = call()
    assert code == 0
    assert [name for name in zoo.names() if f" {name} " not in out] == []
    assert "one choice for 4 layers" in out
    assert "32,768 tokens" in out


def test_a_program_that_does_not_fit_the_model_is_listed_without_figures(call):
    entry = listed(call, "--head-dim", "100")["rank_keys"]
    assert "of length 100 into 8" in entry["refusal"]
    assert entry["ratio"] is None
    assert call("--head-dim", "100")[0] == 0


@pytest.mark.parametrize("name", zoo.names())
def test_a_name_prints_the_text(call, name):
    code, out, err = call(name)
    assert (code, err) == (0, "")
    assert out == zoo.text(name)


def test_a_name_as_json(call):
    told = json.loads(call("quest", "--json")[1])
    assert told["text"] == zoo.text("quest")
    assert told["entry"]["bytes_per_page"] == 512


def test_an_unknown_name_is_a_sentence(call):
    code, out, err = call("qest")
    assert (code, out) == (2, "")
    assert err == "vortex: no program 'qest' in the zoo; did you mean 'quest'?\n"
    assert "it has ball, " in call("nothing like it")[2]
