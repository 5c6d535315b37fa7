"""`vortex check`, as people and agents see it."""

import json
import random
from pathlib import Path

import pytest

from search.commands.exits import ExitCode
from vortex_dsl import zoo

QUEST = Path(zoo.__file__).with_name("quest.py")


def test_check_tells_digest_and_cost(call):
    code, out, err = call("check", str(QUEST), "--tokens", "32768", "--json")
    told = json.loads(out)
    assert (code, err, told["ok"], told["name"]) == (0, "", True, "Quest")
    assert len(told["digest"]) == 16
    assert told["cost"]["bytes_per_page"] == 2 * 128 * 2
    assert told["cost"]["pages_dense"] == 2048
    assert told["cost"]["ratio"] > 1


def test_check_follows_the_models_shape_and_the_tunables(call):
    narrow = json.loads(call("check", str(QUEST), "--head-dim", "64", "--json")[1])
    few = json.loads(call("check", str(QUEST), "--set", "pages=4", "--json")[1])
    assert narrow["cost"]["bytes_per_page"] == 2 * 64 * 2
    assert few["values"]["pages"] == 4
    assert few["cost"]["pages_read"] == 4 + 3


def test_check_draws_a_table(call):
    code, out, _ = call("check", str(QUEST))
    assert code == 0
    assert "Quest: Rank pages" in out
    assert "512 bytes per page" in out


def test_check_points_at_the_place(call, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(QUEST.read_text().replace('.sum("dim")', '.sum("dims")'))
    code, out, err = call("check", str(bad))
    assert (code, out) == (ExitCode.REFUSED, "")
    sentence, line, caret = err.splitlines()
    assert "did you mean 'dim'?" in sentence
    column = int(sentence.split(": ")[1].split(":")[2])
    assert line[2 + column - 1 :].startswith("maximum(")
    assert caret == " " * (2 + column - 1) + "^"


@pytest.mark.parametrize("content", [random.Random(0).randbytes(20_000), b"x = 1\x1b[31m\n", b"x" * 5000, b""])
def test_check_shows_no_line_that_a_terminal_could_not(call, tmp_path, content):
    bad = tmp_path / "bad.py"
    bad.write_bytes(content)
    code, out, err = call("check", str(bad))
    assert (code, out) == (ExitCode.REFUSED, "")
    assert err.count("\n") == 1
    assert err.rstrip("\n").isprintable()


def test_check_tells_agents_the_place_as_json(call, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import os\n")
    code, out, _ = call("check", str(bad), "--json")
    told = json.loads(out)
    assert code == ExitCode.REFUSED
    assert (told["ok"], told["line"], told["column"]) == (False, 1, 1)
