"""What others wrote is shown as text, and in bounds."""

import html
import json
import re

import pytest
from sqlalchemy import text as sql
from starlette.testclient import TestClient

from benchmarks.dash.made import HOSTILE
from search.dash.app import build
from search.store.ledger import SqlLedger

PAGES = ("/", "/leaderboard", "/leaderboard?sort=id", "/fronts", "/budgets", "/journal", "/journal?kind=notes",
         "/earnings", "/money", "/rules/1/remarks", "/campaigns/1", "/campaigns/1/time")  # fmt: skip
SEARCHED = ("q", "tag", "origin", "proposer", "kind", "at")
ASKED = (SEARCHED, (*SEARCHED, "where", "sort"), (*SEARCHED, "model", "device"))
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
LONG = "x" * 10_000_000


@pytest.mark.parametrize("page", PAGES)
def test_no_text_is_markup_or_steers_a_terminal(site, page):
    text = site.get(page).text
    assert "<script>alert" not in text
    assert UNSEEN.search(text) is None
    assert "\\u202e" not in text


@pytest.mark.parametrize("asked", ASKED, ids=["searched", "judged", "of a section"])
@pytest.mark.parametrize("page", ["/leaderboard", "/fronts", "/budgets", "/journal", "/earnings", "/money", "/answer"])
def test_nothing_of_an_address_is_markup_or_unseen(site, page, asked):
    answer = site.get(page, params=dict.fromkeys(asked, f"{'|'.join(HOSTILE)}\x00\u2066"[-190:]))
    assert answer.status_code == (422 if page == "/leaderboard" and "where" in asked else 200)
    assert "<script>alert" not in answer.text
    assert UNSEEN.search(answer.text) is None


def test_what_was_searched_stands_in_the_field(site):
    text = site.get("/leaderboard", params={"q": 'a "quoted" <b>\u202ename\x00'}).text
    assert 'name="q" value="a &#34;quoted&#34; &lt;b&gt; name"' in text


def test_names_are_shown_as_they_are_written(site):
    text = html.unescape(site.get("/leaderboard?campaign=1&sort=id").text)
    for name in HOSTILE:
        assert re.sub(r"[\x07\x1b\u202e\u202c]", "\ufffd", name) in text


def test_lines_of_ten_megabytes_are_cut(writable):
    with SqlLedger(writable)._engine.begin() as connection:
        for column in ("name", "rationale", "proposer"):
            connection.execute(sql(f"update candidate set {column} = :long where id = 2"), {"long": LONG})
        connection.execute(
            sql("update standing set reason = :long where candidate_id = 2 and ratio = 8"), {"long": LONG}
        )
        connection.execute(
            sql("update hypothesis set text = :long, prediction = :long where candidate_id = 2"), {"long": LONG}
        )
        connection.execute(sql("update note set text = :long where candidate_id = 2"), {"long": LONG})
    site = TestClient(build(SqlLedger(writable, read_only=True)), base_url="http://127.0.0.1")
    for page in ("/leaderboard", "/journal", "/journal?kind=notes", "/earnings"):
        answer = site.get(page)
        assert answer.status_code == 200
        assert len(answer.text) < 100_000


def test_infinities_keep_no_chart_away(changed):
    site = changed(
        "update standing set kl = 0.1, kl_low = 0.1, kl_high = 9e999, modelled_speedup = 2 where status = 'ok'",
        "update standing set kl = 9e999 where candidate_id = 5",
        "update standing set modelled_speedup = -9e999 where candidate_id = 6",
    )
    for page in ("/fronts", "/budgets"):
        charts = re.findall(r"data-chart='([^']+)'", site.get(page).text)
        assert charts
        for chart in charts:
            json.loads(html.unescape(chart), parse_constant=pytest.fail)


def test_forms_offer_no_name_that_cannot_be_read(changed):
    site = changed("update candidate set proposer = 'evil' || char(27, 8238) || 'name' where id = 2")
    for page in ("/leaderboard", "/journal"):
        assert "\x1b" not in site.get(page).text
