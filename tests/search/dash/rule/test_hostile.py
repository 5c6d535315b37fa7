"""What others wrote on the pages of rules: text, in bounds, and never a fault of the page."""

import re
import shutil
import sqlite3
import zlib
from contextlib import closing

import pytest
from starlette.testclient import TestClient

from search.dash.app import build
from search.store.ledger import SqlLedger

LONG = "<script>alert(1)</script>\x1b[31m\u202e{{ 7 * 7 }}" * 250_000  # more than 10 MB
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
PARTS = ("", "/remarks", "/compiled?ratio=8", "/conversation", "/attention?ratio=8")


@pytest.fixture
def changed(made, tmp_path):
    """Give a function that changes the ledger by SQL, and gives a client of its dashboard."""
    file = tmp_path / "own.db"
    shutil.copy(made.url.removeprefix("sqlite:///"), file)

    def change(**statements):
        with closing(sqlite3.connect(file)) as connection, connection:
            for table, setting in statements.items():
                connection.execute(f"update {table} set {setting}", {"long": LONG, "text": LONG[:1_000_000]})
        return TestClient(build(SqlLedger(f"sqlite:///{file}", read_only=True)), base_url="http://127.0.0.1")

    return change


def test_ten_megabytes_are_cut_on_every_page_of_a_rule(changed, made):
    site = changed(candidate="name = :text, rationale = :text, message = :long, operator = :text, proposer = :text",
                   evaluation="message = :text", hypothesis="text = :text, prediction = :text", source="text = :long",
                   campaign="model = :text")  # fmt: skip
    pages = [f"/rules/{made.child}{part}" for part in PARTS] + [f"/compare/{made.quest}/{made.child}"]
    for page in (*pages, f"/rules/{made.child}/logs.txt", "/", "/fronts", "/budgets", "/leaderboard"):
        answer = site.get(page)
        assert (page, answer.status_code) == (page, 200)
        assert len(answer.text) < (500_000 if answer.headers["content-type"].startswith("text/html") else 1_000_000)
        assert UNSEEN.search(answer.text) is None
        if answer.headers["content-type"].startswith("text/html"):
            assert "<script>alert" not in answer.text


@pytest.mark.parametrize("said", ["no json", "7", '{"role": "user"}', '"text"', "[[1, null]]", "[" * 700 + "]" * 700])
def test_a_conversation_that_is_none_is_shown_as_it_is(changed, made, said):
    site = changed(candidate=f"conversation = x'{zlib.compress(said.encode()).hex()}'")
    answer = site.get(f"/rules/{made.child}/conversation")
    assert answer.status_code == 200
    assert 'class="conversation"' in answer.text
