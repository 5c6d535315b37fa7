"""Edits: lines that are searched for, and what takes their place."""

import pytest

from search.agents.llm.edits import EditError, edited, has_edits, reasons_of

TEXT = "class A(Program):\n    x = 1\n\n    def select(self, q, page):\n        return topk(1, 2)\n"


def edit(old, new):
    return f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"


def test_lines_are_replaced_one_edit_after_the_other():
    answer = f"Two changes.\n\n```\n{edit('    x = 1', '    x = 3')}\n{edit('    x = 3', '    x = 4')}\n```\n"
    assert edited(answer, TEXT) == TEXT.replace("x = 1", "x = 4")
    assert reasons_of(answer) == "Two changes."


def test_an_indentation_that_is_left_out_does_not_count():
    answer = edit(
        "def select(self, q, page):\n    return topk(1, 2)", "def select(self, q, page):\n    y = 1\n    return y"
    )
    assert edited(answer, TEXT).endswith("    def select(self, q, page):\n        y = 1\n        return y\n")


def test_lines_may_be_left_out_and_put_in():
    assert edited(edit("    x = 1", ""), TEXT) == TEXT.replace("    x = 1\n", "")
    assert "    x = 1\n    y = 2\n" in edited(edit("    x = 1", "    x = 1\n    y = 2"), TEXT)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (edit("    z = 1", "z"), "edit 1 searches for lines that stand nowhere in the program, from 'z = 1' on"),
        (edit("    x = 1", "z") + edit("a", "b"), "an edit is not whole"),
        (edit("", "z"), "edit 1 searches for nothing"),
        ("<<<<<<< SEARCH\n    x = 1\n", "an edit is not whole"),
        ("\n".join([edit("    x = 1", "    x = 1")] * 65), "at most 64"),
    ],
)
def test_what_cannot_be_edited_says_why(answer, told):
    with pytest.raises(EditError, match=told):
        edited(answer, TEXT)


def test_lines_that_stand_twice_are_not_guessed_at():
    with pytest.raises(EditError, match="stand 2 times"):
        edited(edit("x = 1", "y"), "x = 1\nx = 1\n")


def test_only_the_markers_make_an_edit():
    assert has_edits(edit("a", "b"))
    assert not has_edits("a << b\n=======\n")
