"""Pictures say what the code says: they are drawn anew and compared, word for word."""

import importlib.util
import re

import pytest

from tests.docs.shell import DOCS

_spec = importlib.util.spec_from_file_location("docs_drawings", DOCS / "drawings.py")
drawings = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(drawings)


def words(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg.read_text())


@pytest.mark.parametrize("name", drawings.DRAWINGS)
def test_a_picture_is_up_to_date(name, tmp_path):
    drawn = words(drawings.save(name, tmp_path))
    assert len(drawn) > 5
    assert drawn == words(DOCS / "pictures" / f"{name}.svg"), "run: python docs/drawings.py"


def test_split_counts_groups():
    assert drawings.split_tokens(16, 2) == [list(range(8)), list(range(8, 16))]


def test_every_picture_is_drawn_and_shown():
    files = {path.stem for path in (DOCS / "pictures").iterdir()}
    assert files == set(drawings.DRAWINGS)
    pages = "".join(path.read_text() for path in DOCS.glob("*.md"))
    assert [name for name in files if f"pictures/{name}.svg" not in pages] == []
