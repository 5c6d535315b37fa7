"""Every page and control in a real Chromium, over a ledger of 10,000 rules and three campaigns."""

import re
import sqlite3
from contextlib import closing

import pytest

from benchmarks.dash.__main__ import serving
from benchmarks.dash.made import Size, make

PAGES = (
    "/", "/campaigns/1", "/fronts", "/budgets", "/leaderboard", "/leaderboard?origin=found&task=fidelity&sort=recall",
    "/leaderboard?where=nothing<1", "/journal", "/journal?kind=notes", "/earnings", "/money", "/rules/1/remarks",
    "/nowhere",
)  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    made = tmp_path_factory.mktemp("walk") / "made.db"
    make(f"sqlite:///{made}", Size())
    return made


def test_the_dashboard_is_walked(walking, file):
    """One test, since each start of a browser costs seconds."""
    with serving(file, "--writes") as url, closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:

        def ask(query):
            return database.execute(query).fetchone()[0]

        walk = walking(url, viewport={"width": 1400, "height": 900})
        _every_page_is_accessible(walk)
        _controls_do_what_they_say(walk, ask)
        _charts_lead_to_rules(walk)
        _a_keyboard_is_enough(walk)
        _remarks_are_written(walk)
        assert walk.faults == []
        for how in ({"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}, "has_touch": True}):
            other = walking(url, **how)
            _every_page_is_accessible(other, ("/", "/fronts", "/leaderboard", "/budgets"))
            assert other.faults == []


def _every_page_is_accessible(walk, pages=PAGES):
    for path in pages:
        page = walk.to(path)
        if page.locator("div.answer").count():
            page.locator("#answer").wait_for()
        walk.check()


def _controls_do_what_they_say(walk, ask):
    page = walk.to("/leaderboard")
    page.get_by_role("combobox", name="Campaign", exact=True).select_option("1")
    page.get_by_role("combobox", name="Origin", exact=True).select_option("published")
    page.get_by_role("combobox", name="Task", exact=True).select_option("fidelity")
    page.get_by_role("button", name="Show").click()
    number = ask(
        "select count(*) from standing s join candidate c on c.id = s.candidate_id "
        "where s.campaign_id = 1 and ratio = 4 and kl is not null and proposer = 'zoo'"
    )
    page.get_by_role("heading", name=f"{number} rules at 4x").wait_for()
    page.get_by_role("link", name="16x").click()
    page.get_by_role("heading", name=re.compile(r"^\d+ rules? at 16x")).wait_for()
    page.get_by_role("link", name="Clear").first.click()
    page.get_by_role("link", name="recall", exact=True).click()
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("recall")
    page.get_by_role("link", name="Next").first.click()
    page.get_by_text("2 of").first.wait_for()
    page.get_by_role("searchbox", name="Search").fill("rule_777")
    page.get_by_role("searchbox", name="Search").press("Enter")
    page.get_by_role("heading", name=re.compile(r"^\d+ rules? at")).wait_for()
    assert page.get_by_role("link", name="rule_777", exact=True).count() <= 1


def _charts_lead_to_rules(walk):
    page = walk.to("/fronts?campaign=1")
    page.locator("#answer").wait_for()  # what comes later moves what stands below it
    page.locator("canvas").first.scroll_into_view_if_needed()
    spot = page.evaluate(
        """() => {
            const chart = Chart.getChart(document.querySelector('canvas'));
            const set = chart.data.datasets.findIndex((each) => each.label === 'found');
            // where it comes to rest: a chart grows into its place
            const at = chart.getDatasetMeta(set).data[0].getProps(["x", "y"], true);
            const box = chart.canvas.getBoundingClientRect();
            return [box.left + at.x, box.top + at.y];
        }"""
    )
    page.mouse.move(*spot)
    assert walk.comes_true("Chart.getChart(document.querySelector('canvas')).tooltip.opacity > 0")
    page.mouse.click(*spot)
    page.wait_for_url(re.compile(r"/rules/\d+"))


def _a_keyboard_is_enough(walk):
    page = walk.to("/leaderboard")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def _remarks_are_written(walk):
    page = walk.to("/rules/2/remarks")
    page.get_by_label("New tag").fill("to be looked at")
    page.get_by_role("button", name="Add the tag").click()
    page.get_by_role("link", name="to be looked at").click()
    page.get_by_role("heading", name="1 rule at").wait_for()
