"""The same pages over PostgreSQL: what SQLite is asked in words of its own must mean the same there."""

import re

import pytest
from starlette.testclient import TestClient

from benchmarks.dash.made import Size, make
from benchmarks.store.server import is_installed, server
from search.dash.app import build
from search.store.ledger import SqlLedger

HERE = "http://127.0.0.1:8787"
PAGES = ("/", "/campaigns/1", "/campaigns/1/time", "/fronts", "/budgets", "/answer", "/journal", "/earnings", "/money",
         "/rules/12", "/compare/12/13", "/rules/12/remarks")  # fmt: skip
ASKED = ("", "?campaign=1", "?sort=recall", "?sort=-kl", "?sort=name", "?origin=found", "?origin=published",
         "?origin=reference", "?q=rule_1", "?q=rule%00",
         "?field=int8", "?task=speed&sort=speedup",
         "?where=kl<.1&sort=kl")  # fmt: skip


def ids(text):
    return re.findall(r'name="id" value="(\d+)"', text)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Give clients of dashboards over the same rows, in SQLite and in PostgreSQL."""
    if not is_installed():
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    with server("fsync=off", "shared_buffers=16MB") as started:
        clients = []
        for url in (f"sqlite:///{tmp_path_factory.mktemp('both') / 'made.db'}", started.url):
            make(url, Size(240, 2))
            clients.append(TestClient(build(SqlLedger(url, read_only=True)), base_url=HERE))
        yield clients


def test_every_page_is_there(both):
    for page in PAGES:
        assert [(page, client.get(page).status_code) for client in both] == [(page, 200)] * 2


def test_rows_are_the_same_in_the_same_order_on_every_page_of_them(both, monkeypatch):
    monkeypatch.setattr("search.store.shown.sections.MOST_SORTED", 0)  # as in a large section
    for asked in ASKED:
        texts = [client.get(f"/leaderboard{asked}").text for client in both]
        for way in ("next", "prev"):
            assert ids(texts[0]) == ids(texts[1])
            links = [re.search(rf'rel="{way}" href="([^"]+)"', text) for text in texts]
            if links[0] is not None:
                texts = [
                    client.get(f"/leaderboard{link[1].replace('&amp;', '&')}").text
                    for client, link in zip(both, links, strict=True)
                ]
        assert ids(texts[0]) == ids(texts[1])
