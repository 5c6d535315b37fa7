"""`vortex report`: files, words and exit codes."""

import errno
import json
from pathlib import Path

import pytest

from search.cli import main
from search.commands.exits import ExitCode


def call(capsys, *arguments):
    code = main(["report", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_it_writes_both_into_a_folder_of_the_campaign_and_again_over_them(capsys, written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "--db", written)
    assert (code, out.split()) == (ExitCode.DONE, ["report_1/report.md", "report_1/report.html"])
    assert "a found rule beats every published rule on held-out data" in err
    first = {file.name: file.read_bytes() for file in (tmp_path / "report_1").iterdir()}
    pictures = [name for name in first if name.endswith(".svg")]
    assert pictures
    assert all(name in first["report.md"].decode() for name in pictures)
    assert first["report.html"].startswith(b"<!DOCTYPE html>")

    code, out, _ = call(capsys, "1", "--db", written, "--out", tmp_path / "report_1", "--json")
    assert {file.name: file.read_bytes() for file in (tmp_path / "report_1").iterdir()} == first
    told = json.loads(out)
    assert (code, told["campaign"], told["headline"]["holds"]) == (ExitCode.DONE, 1, True)
    assert told["answers"][0]["reasons"] == []
    assert told["html"] == str(tmp_path / "report_1" / "report.html")


@pytest.mark.parametrize("arguments", [["7"], ["--out", "FILE"], ["--out", "FILE/under"], ["x"]])
def test_what_cannot_be_done_is_one_sentence(capsys, written, tmp_path, arguments):
    file = tmp_path / "a file"
    file.write_text("")
    code, out, err = call(capsys, *(each.replace("FILE", str(file)) for each in arguments), "--db", written)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert file.read_text() == ""


def test_where_a_report_cannot_go_is_told_before_it_is_made(capsys, written, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("this takes long")

    monkeypatch.setattr("search.report.material.gather", never)
    (tmp_path / "a file").write_text("")
    assert call(capsys, "--db", written, "--out", tmp_path / "a file")[0] == ExitCode.USAGE


def test_no_database_is_made(capsys, tmp_path):
    code, _, err = call(capsys, "--db", f"sqlite:///{tmp_path}/none.db")
    assert (code, "there is no database" in err) == (ExitCode.USAGE, True)
    assert not (tmp_path / "none.db").exists()


def test_on_a_full_disk_a_report_stays_what_it_was(capsys, written, tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    assert call(capsys, "--db", written, "--out", folder)[0] == ExitCode.DONE
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    write = Path.write_bytes

    def fill(path, content):
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fill)
    code, out, err = call(capsys, "--db", written, "--out", folder)
    assert (code, out, err.count("\n")) == (ExitCode.INFRASTRUCTURE, "", 1)
    assert f"--out {folder} cannot be written to: No space left on device; name another folder" in err
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
