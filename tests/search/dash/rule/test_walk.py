"""Every control on the page of a rule and on the comparison of two, in a real Chromium, against what SQL says."""

import re
import sqlite3
from contextlib import closing

import pytest

from benchmarks.dash.__main__ import serving
from search.ranking.leaderboard import interval

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # on a machine that does much else beside this

FIGURE = """select m.value, m.low, m.high, m.num_samples from measurement m join evaluation e on e.id = m.evaluation_id
    join candidate_evaluation l on l.evaluation_id = e.id join workload w on w.digest = e.workload_digest
    where l.candidate_id = ? and m.name = ? and w.split = 'search' and json_extract(w.definition, '$.ratio') = ?"""


def test_the_pages_of_rules_are_walked(walking, made, record):
    record()
    file = made.url.removeprefix("sqlite:///")
    with serving(file, "--writes") as url, closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:

        def ask(query, *values):
            return database.execute(query, values).fetchall()

        walk = walking(url, viewport={"width": 1400, "height": 900})
        for step in (_figures, _parts, _picture, _lineage, _kernels, _said, _remarks, _comparison):
            step(walk, made, ask)
        walk.finish()
        for how in ({"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}, "has_touch": True}):
            other = walking(url, **how)
            for path in (f"/rules/{made.child}", f"/compare/{made.quest}/{made.child}"):
                other.to(path)
                other.check()
            other.finish()
            other.page.close()


def _figures(walk, made, ask):
    page = walk.to(f"/rules/{made.child}")
    for ratio in (16, 8):
        page.get_by_role("navigation", name="Cost ratio").get_by_role("link", name=f"{ratio}x").click()
        page.get_by_role("heading", name=f"Measured at {ratio}x").wait_for()
        [(value, low, high, num)] = ask(FIGURE, made.child, "kl", ratio)
        fidelity = page.locator("details", has=page.locator("summary", has_text="fidelity")).first
        told = " ".join(fidelity.locator("dl.figures > div").first.inner_text().split())
        assert told == f"kl {interval(value, low, high)} n={num}"


def _parts(walk, made, ask):
    page = walk.page
    recall = page.locator("details", has=page.locator("summary", has_text="recall")).first
    assert not recall.locator("table").is_visible()
    recall.get_by_text("by layer").click()
    [(number,)] = ask("select count(*) from measurement where name like 'mass_layer_%' and evaluation_id in (select "
                      "evaluation_id from candidate_evaluation where candidate_id = ?)", made.child)  # fmt: skip
    assert recall.locator("tbody tr").count() == number > 0
    assert recall.locator("table").is_visible()
    walk.check()


def _picture(walk, made, ask):
    page = walk.page
    page.get_by_role("heading", name="What it attends to").scroll_into_view_if_needed()
    page.locator("img.picture").wait_for()
    assert walk.comes_true("document.querySelector('img.picture').naturalWidth > 0")
    page.get_by_label("Layers page by page").fill("1, 2")
    page.get_by_role("button", name="Draw").click()
    page.locator("img.picture[src*='layers=1%2C+2']").wait_for()
    page.locator("img.picture").scroll_into_view_if_needed()
    assert walk.comes_true("document.querySelector('img.picture').naturalWidth > 0")


def _lineage(walk, made, ask):
    page = walk.page
    assert page.locator("svg.lineage rect").count() == 3
    assert page.locator(".diff .added").inner_text().strip().endswith('bound.mean("head"), self.pages)')
    page.locator("svg.lineage a", has_text="Quest").click()
    page.wait_for_url(re.compile(rf"/rules/{made.quest}$"))
    page.locator("svg.lineage a", has_text="Child").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf"/rules/{made.child}$"))


def _kernels(walk, made, ask):
    page = walk.page
    page.get_by_role("link", name="Compile it").click()
    page.get_by_role("heading", name="Kernels for Triton").wait_for()
    assert "def summarize_0(" in page.get_by_role("region", name="Kernels", exact=True).inner_text()
    assert "segment" in page.get_by_role("region", name="Tape", exact=True).inner_text()
    page.get_by_role("link", name=re.compile(r"Read [\d,]+ characters")).click()
    page.get_by_role("heading", name="assistant").wait_for()
    assert made.hostile[:20] in page.locator(".conversation pre").first.inner_text()
    walk.check()


def _said(walk, made, ask):
    page = walk.page
    [(text,)] = ask("select text from source join candidate on digest = source_digest where id = ?", made.child)
    for card, told in (("Source", text), ("Logs", "serve at 8: below_gate: slow <script>alert")):
        page.locator("section", has=page.get_by_role("heading", name=card, exact=True)).get_by_text("As text").click()
        page.wait_for_url(re.compile(r"\.txt$"))
        assert told.strip() in page.locator("body").inner_text().replace("\xa0", " ")
        page.go_back()


def _remarks(walk, made, ask):
    page = walk.to(f"/rules/{made.child}")
    page.get_by_label("New tag").fill(made.hostile[:40])
    page.get_by_role("button", name="Add the tag").click()
    page.locator(".tags li").wait_for()
    page.get_by_label("New note").fill(f"seen\n{made.hostile}")
    page.get_by_role("button", name="Add the note").click()
    page.locator(".note").wait_for()
    assert [kind for (kind,) in ask("select kind from remark order by id")] == ["tag", "note"]
    walk.check()
    page.get_by_role("button", name=re.compile("Delete the tag")).click()
    page.locator(".tags").wait_for(state="detached")
    page.get_by_role("button", name="Delete this note").click()
    page.get_by_text("None yet.").wait_for()
    assert ask("select count(*) from remark") == [(0,)]


def _comparison(walk, made, ask):
    page = walk.page
    page.get_by_label("Compare with", exact=True).fill(str(made.quest))
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_url(re.compile(rf"/compare/{made.child}/{made.quest}$"))
    page.get_by_role("link", name="The other way round").click()
    page.wait_for_url(re.compile(rf"/compare/{made.quest}/{made.child}$"))
    row = page.locator("tr", has=page.locator("th", has_text=re.compile(r"^kl\s*$"))).first
    means = []
    for rule in (made.quest, made.child):
        texts = [value for i in range(4) for (value, *_) in ask(FIGURE, rule, f"kl_text_{i}", 8)]
        means.append(sum(texts) / len(texts))
    cells = [cell.split()[0] for cell in row.locator("td.n").all_inner_texts()]
    assert cells == [f"{means[0]:.4f}", f"{means[1]:.4f}", f"{means[1] - means[0]:.3f}", "4"]
    page.get_by_text("By kind, length and layer").click()
    assert page.get_by_role("region", name="Figures of parts in pairs, scrolls sideways").is_visible()
    assert page.locator(".diff .removed").count() == 1
    walk.check()
    page.get_by_role("link", name="Child").click()
    page.wait_for_url(re.compile(rf"/rules/{made.child}$"))
