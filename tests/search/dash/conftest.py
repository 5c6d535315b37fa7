"""A dashboard over ledgers that were drawn, and a Chromium that walks it."""

import re
import sqlite3
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from benchmarks.dash.__main__ import chromium
from benchmarks.dash.made import Size, make
from search.dash.app import build
from search.store.ledger import SqlLedger

HERE = "http://127.0.0.1:8787"
PATIENCE_S = 120.0  # of one wait: a machine that does much else beside this is slow, and not wrong
SERIOUS = ("serious", "critical")
ONLY = {"resultTypes": ["violations"]}  # half of the time goes into telling of elements that are fine
EXPECTED = re.compile(r"status of (404|422)")  # Chromium tells of the pages that say so on purpose


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    """Give a ledger of three campaigns that nobody writes into."""
    made = tmp_path_factory.mktemp("dash") / "made.db"
    make(f"sqlite:///{made}", Size(600, 3))
    return made


@pytest.fixture(scope="session")
def ledger(file):
    with closing(SqlLedger(f"sqlite:///{file}", read_only=True)) as opened:
        yield opened


@pytest.fixture(scope="session")
def site(ledger):
    """Give a client of the dashboard."""
    with TestClient(build(ledger), base_url=HERE) as client:
        yield client


@pytest.fixture(scope="session")
def ask(file):
    """Give a function that asks the file itself."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        yield lambda query, *values: connection.execute(query, values).fetchall()


@pytest.fixture
def writable(tmp_path):
    """Give the URL of a small ledger that a test may write into."""
    url = f"sqlite:///{tmp_path / 'own.db'}"
    make(url, Size(6, 1))
    return url


@pytest.fixture
def changed(writable):
    """Give a function that changes that ledger by SQL, and gives a client of its dashboard."""

    def change(*statements):
        with closing(sqlite3.connect(writable.removeprefix("sqlite:///"))) as connection, connection:
            for each in statements:
                connection.execute(each)
        return TestClient(build(SqlLedger(writable, read_only=True)), base_url=HERE)

    return change


class Walk:
    """A page that notes what it should not say or ask for."""

    def __init__(self, browser, url, **how):
        self.url, self.faults = url, []
        self.page = browser.new_page(**how)
        self.page.set_default_timeout(1000 * PATIENCE_S)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, message):
        if message.type in ("error", "warning") and not EXPECTED.search(message.text):
            self.faults.append(message.text)

    def _asked(self, request):
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.faults.append(request.url)

    def to(self, path):
        self.page.goto(self.url + path)
        if path.startswith("/campaigns/"):
            self.page.get_by_role("columnheader", name="stage").wait_for()
        return self.page

    def check(self):
        """Look at what is shown now: no serious violation of accessibility, nothing that makes the page too wide."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        where, found = self.page.url, axe.Axe().run(self.page, options=ONLY).response["violations"]
        told = [(where, each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in SERIOUS]
        assert told == []
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{where} scrolls sideways"

    def comes_true(self, condition):
        """Playwright's own waiting would have the page evaluate a text, which its policy forbids."""
        until = time.monotonic() + PATIENCE_S
        while not (is_true := self.page.evaluate(condition)) and time.monotonic() < until:
            self.page.wait_for_timeout(50)
        return is_true

    def finish(self):
        """Say that nothing was amiss, and begin anew."""
        faults, self.faults = self.faults, []
        assert faults == []


@pytest.fixture(scope="module")
def walking():
    """Give a function that opens a page of a dashboard in a Chromium that is started once: that takes seconds."""
    playwright = pytest.importorskip("playwright.sync_api")
    if chromium() is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium(), args=["--no-sandbox"], timeout=1000 * PATIENCE_S)
        yield lambda url, **how: Walk(browser, url, **how)
        browser.close()
