"""A program by a file, stdin, a published rule's name or an id, wherever a command takes one."""

import io
import json
import sys

import pytest

from search.commands.exits import ExitCode
from vortex_dsl import zoo

QUEST = zoo.text("quest")


@pytest.fixture
def stdin(monkeypatch):
    """Give a function that puts bytes on stdin."""
    return lambda content: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def digest(call, *words):
    code, out, err = call("check", *words, "--json")
    assert code == ExitCode.DONE, err
    return json.loads(out)["digest"]


def test_check_takes_all_four_ways_to_name_a_program(call, filled, stdin, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(QUEST)
    stdin(QUEST.encode())
    found = {digest(call, "quest"), digest(call, str(file)), digest(call, "-")}
    assert len(found) == 1
    assert found == {digest(call, "2", "--db", filled, "--set", "pages=64")}
    assert digest(call, "2", "--db", filled) == digest(call, "quest", "--set", "pages=9") not in found


def test_a_file_comes_before_a_rule_of_its_name(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quest").write_text(zoo.text("streaming"))
    assert digest(call, "quest") == digest(call, "streaming")


def test_a_file_that_is_not_there_is_told_where_a_candidate_is_asked_for_too(call, filled):
    for name in ("./quest.py", "mine.py", "folder/mine"):
        code, _, err = call("show", name, "--db", filled)
        assert (code, f"there is no file '{name}'" in err) == (ExitCode.USAGE, True)


def test_a_file_of_nearly_that_name_may_be_meant(call, tmp_path):
    (tmp_path / "mine.py").write_text(QUEST)
    code, _, err = call("check", str(tmp_path / "mien.py"))
    assert (code, "mien.py'; did you mean 'mine.py'?" in err) == (ExitCode.USAGE, True)


def test_a_folder_hides_neither_a_rule_nor_a_candidate(call, filled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = digest(call, "quest"), digest(call, "2", "--db", filled)
    for name in ("quest", "2"):
        (tmp_path / name).mkdir()
    assert (digest(call, "quest"), digest(call, "2", "--db", filled)) == expected


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("qest", "there is no program 'qest'; did you mean 'quest'?"),
        ("zzzz", "a name that `vortex zoo` lists"),
        ("./quest.py", "there is no file './quest.py'"),
        ("", "the name of a program is empty"),
        ("a" * 5000, "…'; give a file"),
        ("a\x00b", "there is no program 'a\\u0000b'"),
        ("99", "vortex: there is no candidate '99'"),
    ],
)
def test_a_name_that_nothing_has_is_one_sentence(call, filled, name, says):
    code, out, err = call("check", name, "--db", filled)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert says in err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "stdin holds no program"),
        (QUEST.encode("utf-16"), "<stdin>:1:1: the byte 0xFF is not UTF-8; save the file as UTF-8"),
        (b"# caf\xe9\n", "the byte 0xE9 is not UTF-8"),
        (b"x = 1\0\n", "U+0000"),
        (b"#" * 40_000, "more than 16384 bytes"),
    ],
)
def test_what_is_no_program_on_stdin_is_told_by_its_place(call, stdin, content, says):
    stdin(content)
    code, out, err = call("check", "-")
    assert (code in (ExitCode.USAGE, ExitCode.REFUSED), out) == (True, "")
    assert says in err
    assert "bug" not in err


def test_a_fault_on_stdin_is_shown_under_a_caret(call, stdin):
    stdin(b"from vortex_dsl import Program\nimport os\n")
    _, _, err = call("check", "-")
    assert "<stdin>:2:1" in err
    assert err.splitlines()[1:] == ["  import os", "  ^"]


def test_show_finds_a_rule_of_the_zoo_as_it_was_proposed_first_and_tells_parents_by_id(call, filled):
    code, out, err = call("show", "quest", "--db", filled, "--json")
    assert (code, json.loads(out)["candidate"]["id"]) == (ExitCode.DONE, 1)
    assert "candidate 1 of campaign 1" in err
    out = call("show", "3", "--db", filled)[1]
    assert "Quest (id 1)" in out
    assert f"{'f' * 16}, which is not in this database" in out
    code, _, err = call("compare", "2", "qest", "--db", filled)
    assert (code, "there is no candidate 'qest'; did you mean 'quest'?" in err) == (ExitCode.USAGE, True)


def test_a_program_that_nobody_measured_is_told_so(call, filled):
    code, _, err = call("show", "centroid", "--db", filled)
    assert code == ExitCode.REFUSED
    assert "holds no candidate with the program" in err
    assert "`vortex eval centroid` measures it" in err


def test_no_line_of_a_program_is_folded_or_cropped(call, filled, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert QUEST.rstrip("\n") in call("show", "1", "--db", filled)[1]
    assert call("zoo", "quest")[1].rstrip("\n") == QUEST.rstrip("\n")


def test_check_calls_fields_as_the_text_does(call):
    out = call("check", "quest")[1]
    assert "fields lo float[dim=128] as bfloat16, hi float[dim=128]" in out
    assert "(of hi, lo, which are merged, rewritten or not used)" in call("check", "quest_sub")[1]
