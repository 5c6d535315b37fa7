"""Every page and control in a real Chromium, over a ledger of 10,000 rules and three campaigns."""

import re
import sqlite3
from contextlib import closing

import pytest

from benchmarks.dash.__main__ import serving
from benchmarks.dash.made import Size, make
from search.report.merit import figure

PAGES = (
    "/", "/campaigns/1", "/fronts", "/budgets", "/leaderboard", "/leaderboard?origin=found&task=fidelity&sort=recall",
    "/leaderboard?where=nothing<1", "/journal", "/journal?kind=notes", "/earnings", "/money", "/rules/1/remarks",
    "/nowhere",
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # on a machine that does much else beside this


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    file = tmp_path_factory.mktemp("walk") / "made.db"
    make(f"sqlite:///{file}", Size())
    return file


@pytest.fixture(scope="module")
def url(made):
    with serving(made, "--writes") as found:
        yield found


@pytest.fixture
def ask(made):
    """Give a function that asks the file itself for one row."""
    with closing(sqlite3.connect(f"file:{made}?mode=ro", uri=True)) as database:
        yield lambda query: database.execute(query).fetchone()


@pytest.fixture(scope="module")
def desk(walking, url):
    """Give one page for all: each new one compiles every script again, half a second of computing."""
    return walking(url, viewport={"width": 1400, "height": 900})


@pytest.fixture
def walk(desk):
    yield desk
    desk.finish()


def test_every_page_is_accessible(walk):
    _look_at(walk, PAGES)


@pytest.mark.parametrize(
    "how",
    [{"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}, "has_touch": True}],
    ids=["dark", "phone"],
)
def test_dark_and_small_ones_are_too(walking, url, how):
    walk = walking(url, **how)
    _look_at(walk, ("/", "/fronts", "/leaderboard?origin=published", "/budgets"))
    walk.finish()
    walk.page.close()


def _look_at(walk, pages):
    for path in pages:
        page = walk.to(path)
        if page.locator("div.answer").count():
            page.locator("#answer").wait_for()
        walk.check()


def _row(page, region, name):
    """The cells of the row with this name in a table."""
    row = page.get_by_role("region", name=region).get_by_role("row").filter(has=page.locator("th", has_text=name))
    return row.first.locator("td").all_inner_texts()


def test_numbers_are_those_of_sql(walk, ask):
    (num, given, dollars) = ask(
        "select count(*), sum(operator in ('seed', 'reference')), sum(dollars) from candidate where campaign_id = 1"
    )
    card = walk.to("/").get_by_role("article", name="Campaign 1")
    assert f"{num - given:,} of {num + num // 10:,} candidates beside {given:,} that were given" in card.inner_text()
    assert _row(walk.to("/money?campaign=1"), "By campaign", "Campaign 1")[1:] == [f"{num:,}", f"${dollars:,.2f}"]

    (num_rules, judged) = ask("select count(*), count(kl) from standing where campaign_id = 1 and ratio = 4")
    cells = _row(walk.to("/campaigns/1"), "Sections", "4x")
    assert cells[4:6] == [f"{num_rules:,}", f"{judged:,}"]
    (num_ran, took) = ask(
        "select count(*), sum(elapsed_s) from evaluation e join workload w on w.digest = e.workload_digest where "
        "e.stage = 'fidelity' and json_extract(definition, '$.ratio') = 4 and e.id in "
        "(select evaluation_id from candidate_evaluation l join candidate c on c.id = candidate_id and campaign_id = 1)"
    )
    assert _row(walk.page, "Stages", "fidelity")[::5] == ["4x", f"{took:,.1f}"]
    assert _row(walk.page, "Stages", "fidelity")[1] == f"{num_ran:,}"

    best = "select candidate_id, kl, recall from standing where campaign_id = 1 and ratio = 4 order by kl is null, kl"
    (rule, kl, recall) = ask(best)
    page = walk.to("/leaderboard?campaign=1")
    page.get_by_role("heading", name=f"{num_rules:,} rules at 4x").wait_for()
    first = page.get_by_role("region", name="Rules").locator("tbody tr").first.locator("td").all_inner_texts()
    assert first[1] == str(rule)
    assert first[2].startswith(f"{kl:.3f}")
    assert f"{recall:.3f}" in first
    (found,) = ask(best.replace("candidate_id, kl, recall", "kl").replace(
        "order", "and candidate_id in (select id from candidate where proposer != 'zoo') order"))  # fmt: skip
    told = _row(walk.to("/budgets?campaign=1"), "KL to dense attention", "4x")[1]
    assert " ".join(told.split()) == figure(found, 0.9 * found, 1.1 * found)

    (num_asked,) = ask(
        "select count(distinct candidate_id) from hypothesis join candidate c on c.id = candidate_id "
        "where campaign_id = 1"
    )
    walk.to("/journal?campaign=1").get_by_role("heading", name=f"{num_asked:,} rules with hypotheses").wait_for()
    (num_greedy,) = ask("select count(*) from candidate where campaign_id = 1 and proposer = 'greedy'")
    assert _row(walk.to("/earnings?campaign=1"), "By proposer", "greedy")[0] == f"{num_greedy:,}"


def test_controls_do_what_they_say(walk, ask):
    page = walk.to("/leaderboard")
    page.get_by_role("combobox", name="Campaign", exact=True).select_option("1")
    page.get_by_role("combobox", name="Origin", exact=True).select_option("published")
    page.get_by_role("combobox", name="Task", exact=True).select_option("fidelity")
    page.get_by_role("button", name="Show").click()
    (number,) = ask(
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


def test_charts_lead_to_rules(walk):
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


def test_a_keyboard_is_enough(walk):
    page = walk.to("/leaderboard")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_remarks_are_written(walk):
    page = walk.to("/rules/2/remarks")
    page.get_by_label("New tag").fill("to be looked at")
    page.get_by_role("button", name="Add the tag").click()
    page.get_by_role("link", name="to be looked at").click()
    page.get_by_role("heading", name="1 rule at").wait_for()
