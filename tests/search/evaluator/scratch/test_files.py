"""A file is there whole, or as it was before."""

import os
from pathlib import Path

import pytest

from search.evaluator.scratch.files import newest_first, write_atomically


def test_nothing_is_there_before_all_of_it_is(tmp_path):
    file = tmp_path / "folder" / "file"

    def write(part):
        part.write_text("whole")
        assert not file.exists()

    write_atomically(file, write)
    assert file.read_text() == "whole"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_failed_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path, error):
    file = tmp_path / "file"
    write_atomically(file, lambda part: part.write_text("before"))

    def fail(part):
        part.write_text("half")
        raise error

    with pytest.raises(error):
        write_atomically(file, fail)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_the_last_who_writes_stands(tmp_path):
    """Two that write at once have a part each."""
    file = tmp_path / "file"

    def write(part):
        write_atomically(file, lambda other: other.write_text("first"))
        part.write_text("last")

    write_atomically(file, write)
    assert file.read_text() == "last"


def test_what_another_process_takes_meanwhile_is_left_out(tmp_path, monkeypatch):
    for i, name in enumerate("abc"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (i, i))
    stat = Path.stat

    def taken(path, **how):
        if path.name == "b":
            path.unlink(missing_ok=True)
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", taken)
    assert [path.name for path, _ in newest_first(tmp_path, "?")] == ["c", "a"]
