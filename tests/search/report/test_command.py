"""`vortex report`: files, words and exit codes."""

import json

import pytest

from search.cli import main
from search.commands.exits import ExitCode


def call(capsys, *arguments):
    code = main(["report", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_it_writes_both_and_says_where(capsys, written, tmp_path):
    code, out, err = call(capsys, "--db", written, "--out", tmp_path / "deep" / "er")
    folder = tmp_path / "deep" / "er"
    assert code == ExitCode.DONE
    assert out.splitlines() == [str(folder / "report.md"), str(folder / "report.html")]
    assert "a found rule beats every published rule on held-out data" in err
    pictures = {path.name for path in folder.glob("*.svg")}
    assert pictures
    assert all(name in (folder / "report.md").read_text() for name in pictures)
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_it_writes_again_over_what_it_wrote(capsys, written, tmp_path):
    first, second = (call(capsys, "1", "--db", written, "--out", tmp_path / "out") for _ in range(2))
    assert first == second


def test_the_folder_is_named_by_the_campaign(capsys, written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "--db", written)[1].split() == ["report_1/report.md", "report_1/report.html"]


def test_json_holds_the_answers(capsys, written, tmp_path):
    code, out, _ = call(capsys, "--db", written, "--out", tmp_path, "--json")
    told = json.loads(out)
    assert (code, told["campaign"], told["headline"]["holds"]) == (ExitCode.DONE, 1, True)
    assert told["answers"][0]["reasons"] == []
    assert told["html"] == str(tmp_path / "report.html")


@pytest.mark.parametrize("arguments", [["7"], ["--out", "FILE"], ["--out", "FILE/under"], ["x"]])
def test_what_cannot_be_done_is_one_sentence(capsys, written, tmp_path, arguments):
    file = tmp_path / "a file"
    file.write_text("")
    code, out, err = call(capsys, *(each.replace("FILE", str(file)) for each in arguments), "--db", written)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert file.read_text() == ""


def test_no_database_is_made(capsys, tmp_path):
    code, _, err = call(capsys, "--db", f"sqlite:///{tmp_path}/none.db")
    assert (code, "there is no database" in err) == (ExitCode.USAGE, True)
    assert not (tmp_path / "none.db").exists()
