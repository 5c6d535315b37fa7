"""A file is there whole, or as it was before."""

import os
from pathlib import Path

import pytest

from search.evaluator.scratch.files import leave_newest, newest_first, write_atomically


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


def test_the_oldest_files_of_a_folder_go_beyond_a_number_and_a_size(tmp_path):
    def write(name, num_bytes, age):
        path = tmp_path / name
        path.write_bytes(b"x" * num_bytes)
        os.utime(path, (1000 - age, 1000 - age))

    for age, num_bytes in enumerate((50, 30, 10, 10)):
        write(f"{age}.safetensors", num_bytes, age)
    write("other.json", 1000, 9)
    leave_newest(tmp_path, most_files=3, most_bytes=1000)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"{i}.safetensors" for i in range(3)), "other.json"]
    leave_newest(tmp_path, most_files=3, most_bytes=85)
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["0.safetensors", "1.safetensors"]
    leave_newest(tmp_path, most_files=3, most_bytes=1)
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["0.safetensors"], "the newest is in use"


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
