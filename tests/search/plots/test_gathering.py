"""Rows drawn as they come, of which few are held: the figure is that of all rows together, whatever rows there are."""

import random
from collections import defaultdict
from contextlib import closing

import pytest

from search.plots import PlotError, standings
from search.plots.losses import MAX_NAMES
from search.plots.style import name
from search.ranking.front import circumstance, sections
from search.ranking.leaderboard import most_modelled_on
from search.records import Choice
from search.report.merit import LEAST_SERVED, is_found, merit_of
from tests.search.plots.test_losses import row, texts
from tests.search.store.test_fronts import fill

KINDS = (("found", True), ("published", False))


def rules_of(rows):
    """Give the rows of the circumstance with most losses, the merit, and the rules that have it, best first."""
    groups = defaultdict(list)
    for each in rows:
        groups[circumstance(each)[1:]].append(each)

    def known(group):
        merit = merit_of(group)
        return [r for r in merit.ranked(group) if not r.reference and r.status == "ok"] if merit else []

    group = max(groups.values(), key=lambda each: len(known(each)), default=[])
    return group, merit_of(group), known(group)


def of_front(rows, ratio, most):
    """Give in plain words of Python what a front shows: by panel the marks of each kind, and the names."""
    group, merit, rules = rules_of([r for r in rows if r.ratio == ratio])
    if not rules:
        return None
    on_front = {id(r) for r in sections(group)[0].front}
    fields = ["speedup"] if sum(r.speedup is not None for r in rules) >= LEAST_SERVED else []
    target = most_modelled_on(rules)
    fields += ["modelled_speedup" if target else "bytes_per_page"]

    def lacks(r, field):
        return getattr(r, field) is None or (field == "modelled_speedup" and r.target != target)

    panels = []
    for field in fields:
        shown = [r for r in rules if not lacks(r, field)]
        marks = {}
        for title, found in KINDS:
            for strong in (False, True):
                some = [r for r in shown if is_found(r) == found and (id(r) in on_front) == strong][:most]
                if some:
                    at = [(getattr(r, field), merit.value(r)) for r in some]
                    marks[title if strong else f"{title}, behind"] = at
        panels.append((marks, {name(r.name) for r in shown if id(r) in on_front}))
    missing = {f"{sum(lacks(r, field) for r in rules):,} of {len(rules):,} have no" for field in fields}
    return panels, {each for each in missing if not each.startswith("0 ")}, others_told(rows, ratio, group)


def others_told(rows, ratio, group):
    num = sum(r.ratio == ratio for r in rows) - len(group)
    return {f"{num:,} rows of other circumstances are not drawn"} if num else set()


def of_curve(rows, most):
    """Give likewise what a curve shows: the best and the others of each kind, and where oracles stand."""
    group, merit, rules = rules_of([r for r in rows if r.ratio])
    if not rules:
        return None
    marks = {}
    for title, found in KINDS:
        own = [r for r in rules if is_found(r) == found]
        bests = sorted({r.ratio: r for r in reversed(own)}.values(), key=lambda r: r.ratio)
        others = [r for r in own if all(r is not each for each in bests)][:most]
        if bests:
            marks[f"best {title}"] = [(r.ratio, merit.value(r)) for r in bests]
            marks[title] = sorted(merit.value(r) for r in others)
    place = circumstance(group[0])
    references = [r for r in rows if not r.ratio and r.reference and r.pages_attended]
    mine = [r for r in references if (*circumstance(r)[1:4], r.workload) == (*place[1:4], place[5])]
    return marks, {r.pages_attended for r in mine}


def lines_of(axes):
    return {line.get_label(): list(map(tuple, line.get_xydata().tolist())) for line in axes.lines}


def check_front(rows, ratio, most):
    """Compare a figure of rows that come with whether they are on the front with that of all of them."""
    wanted = of_front([r for r, _ in rows], ratio, most)
    if wanted is None:
        with pytest.raises(PlotError):
            standings(iter(rows), ratio)
        return False
    panels, *notes = wanted
    drawn = standings(iter(rows), ratio)
    assert len(drawn.axes) == len(panels)
    for axes, (marks, names) in zip(drawn.axes, panels, strict=True):
        assert {label: at for label, at in lines_of(axes).items() if not label.startswith("_")} == marks
        shown = {each.get_text() for each in axes.texts}
        assert shown <= names
        assert len(names) > MAX_NAMES or shown == names or most < MAX_NAMES
    told = " ".join(texts(drawn))
    assert all(each in told for note in notes for each in note)
    return True


def check_curve(rows, most):
    wanted = of_curve([r for r, _ in rows], most)
    if wanted is None:
        with pytest.raises(PlotError):
            standings(iter(rows), None)
        return False
    marks, attended = wanted
    (axes,) = standings(iter(rows), None).axes
    drawn = lines_of(axes)
    faint = [line for line in axes.lines if line.get_alpha() == 0.35]
    for (title, _), line in zip([kind for kind in KINDS if f"best {kind[0]}" in marks], faint, strict=True):
        assert drawn[f"best {title}"] == marks[f"best {title}"]
        assert sorted(y for _, y in line.get_xydata().tolist()) == marks[title]
    oracles = [at for label, at in drawn.items() if "choosing not paid for" in label]
    assert len(attended) > 1 or not oracles
    return True


def with_fronts(rows):
    front = {id(r) for section in sections(rows) for r in section.front}
    return [(r, id(r) in front) for r in rows]


def drawn_rows(drawn):
    """Draw rows of several circumstances, with few values, so that many are equal in what they are ranked by."""
    found = []
    for number in range(drawn.randint(0, 40)):
        figures = {field: drawn.choice((None, 1.0, 2.0, 4.0)) for field in ("speedup", "modelled_speedup", "accuracy")}
        found.append(row(
            number // 2 + 1, drawn.choice((0.1, 0.2, 0.2, 0.3)), drawn.choice(("zoo/seed", "grammar/mutate")),
            **figures, ratio=drawn.choice((0.0, 4.0, 8.0)),
            environment=drawn.choice("eef"), reference=drawn.random() < 0.1,
            status=drawn.choice(("ok", "ok", "crashed")), target=drawn.choice(("", "H200", "H100")),
            bytes_per_page=drawn.choice((None, 64.0)), pages_attended=drawn.choice((None, 9.0, 99.0)),
        ))  # fmt: skip
    if drawn.random() < 0.4:
        found = [r for r in found if r.ratio == 8.0]
    return with_fronts(found)


@pytest.mark.parametrize("most", [3, 400])
def test_whatever_rows_come_what_is_drawn_is_that_of_all_of_them(most, monkeypatch):
    monkeypatch.setattr("search.plots.gathering.MAX_MARKS", most)
    drawn, num = random.Random(most), 0
    for _ in range(8):
        rows = drawn_rows(drawn)
        ratios = {r.ratio for r, _ in rows}
        num += check_front(rows, 8.0, most) + (check_curve(rows, most) if len(ratios) != 1 else 0)
    assert num > 5


def test_a_ledgers_rows_are_drawn_as_if_all_had_been_read(tmp_path):
    """Of several campaigns, models and machines, some held out, some stopped, some only to compare with."""
    with closing(fill(f"sqlite:///{tmp_path / 'made.db'}")) as ledger:
        num = 0
        for campaign in (None, 2, 99):
            for choice in (Choice(), Choice(ratio=8.0), Choice(where="id < 100 and reference")):
                rows = with_fronts(ledger.standings(campaign, choice=choice))
                assert list(ledger.listed(campaign, choice)) == rows
                num += check_curve(rows, 400) if choice.ratio is None else check_front(rows, choice.ratio, 400)
        assert num == 4
