"""What a report says of every campaign that a ledger can hold."""

import re
from dataclasses import replace

import pytest

from search.contracts import Claim
from search.records import EvaluationKey, EvaluationTask, Measurement, Stage, Status
from search.report.blocks import MAX_ROWS, Grid, Items, Listing, Part, Picture, Words
from search.report.markdown import markdown
from search.report.page import page
from search.report.wording import cut, duration

LOSSES = [0.1, 0.11, 0.12, 0.13]


def blocks(parts):
    """Give every block, however deep."""
    for part in parts:
        for block in part.blocks:
            yield from blocks([block]) if isinstance(block, Part) else [block]


def grid(report, title):
    found = [b for b in blocks(report.parts) if isinstance(b, Grid) and b.title == title]
    assert len(found) == 1, title
    return found[0]


def table(report, title):
    """Give a table's rows by their first cell, each by its headings."""
    found = grid(report, title)
    headings = [column.heading for column in found.columns]
    return {row[0]: dict(zip(headings, row, strict=True)) for row in found.rows}


def words(report):
    items = [each for b in blocks(report.parts) if isinstance(b, Items) for each in b.items]
    return "\n".join([*items, *(b.text for b in blocks(report.parts) if isinstance(b, Words))])


def test_the_honest_sentence_comes_first(searched):
    report = searched.report()
    assert report.headline.holds
    assert report.answers[0].text.startswith("At a cost ratio of 8: yes. Child (5)")
    for text in (markdown(report), page(report)):
        assert text.index("beats every published rule") < text.index("Loss by cost ratio")


def test_the_front_holds_what_nothing_beats_and_the_published_behind_it(searched):
    front = grid(searched.report(), "The front, and the best published rules behind it")
    names = [dict(zip((c.heading for c in front.columns), row, strict=True))["name"] for row in front.rows]
    assert names[:3] == ["Child *", "Quest", "Centroid"]
    assert front.strong == (0,)
    assert names[3:] == ["Parent"], "who was confirmed is shown too"
    assert front.num_more == 0


def test_curves_tell_the_best_of_both_and_the_references(searched):
    report = searched.report()
    best = table(report, "Best by cost ratio")["8"]
    assert (best["best found"], best["best published"]) == ("Child (5)", "Quest (2)")
    assert table(report, "References")["Dense (1)"]["pages attended"] == "12.0"
    curve = next(b for b in blocks(report.parts) if isinstance(b, Picture) and b.name.startswith("curve"))
    assert curve.ratio is None
    assert {s.ratio for s in curve.rows} == {0.0, 8.0}, "oracles are judged as written"
    assert "best found 0.135" in curve.alt
    assert {b"best found", b"best published"} <= set(re.findall(rb">(best \w+)<", curve.svg))


def test_lineage_goes_back_to_the_seeds_and_says_what_each_step_brought(searched):
    report = searched.report()
    line = grid(report, "From its oldest ancestor")
    rows = [dict(zip((c.heading for c in line.columns), row, strict=True)) for row in line.rows]
    assert [(row["back"], row["program"]) for row in rows] == [
        ("2", "Quest (2)"), ("1", "Centroid (3)"), ("1", "Parent (4)"), ("0", "Child (5)"),
    ]  # fmt: skip
    assert [row["what changed"] for row in rows][2:] == ["kept in int8", "gated by values"]
    assert rows[-1]["gain on the parent"].startswith("+0.050")
    assert "; +0.200" in rows[-1]["gain on the parent"], "of both parents"
    assert any(isinstance(b, Listing) and "class Rule" in b.text for b in blocks(report.parts))
    assert "pages=12 at a cost ratio of 8" in words(report)


def test_credit_goes_to_each_move_and_proposer(searched):
    report = searched.report()
    moves = table(report, "By move")
    assert (moves["restore"]["proposed"], moves["restore"]["duplicates"]) == ("3", "1")
    assert (moves["gate"]["proposed"], moves["gate"]["entered engine"]) == ("2", "2")
    assert (moves["restore"]["on a front"], moves["gate"]["on a front"]) == ("1", "1")
    assert (moves["explore"]["errors"], moves["explore"]["best kl at 8"]) == ("2", "–")
    assert moves["restore"]["passed fidelity"] == "2"
    assert "reference" not in moves
    proposers = table(report, "By proposer")
    assert (proposers["llm"]["best kl at 8"], proposers["llm"]["seconds"]) == ("0.135", "8")
    assert proposers["grammar"]["proposed"] == "3"


def test_dead_ends_are_told_by_their_kind_with_an_example(searched):
    report = searched.report()
    failed = {row[3]: row for row in grid(report, "What failed").rows}
    kind = failed["'…' over axis '…'"]
    assert kind[:3] == ("2", "proposal", "program error")
    assert "'sum' over axis 'dims'" in kind[4]
    assert failed["worker # of '…' died"][:3] == ("1", "oracle", "crashed")
    families = table(report, "Families of ideas")
    assert (families["Quest"]["proposed"], families["Quest"]["on a front"]) == ("2", "1")
    assert families["drawn anew"]["proposed"] == "4"


def test_costs_tell_stages_held_out_ones_too_and_prices(searched):
    report = searched.report()
    rows = {row[:2]: row for row in grid(report, "Evaluations by stage").rows}
    assert rows["fidelity", "8"][2:6] == ("4", "0", "4", "0")
    assert rows["fidelity (held out)", "8"][2] == "4"
    assert rows["oracle", "as written"][2:6] == ("5", "0", "4", "1")
    price = table(report, "Price of proposals")["llm"]
    assert (price["tokens read"], price["tokens written"], price["dollars"]) == ("100", "20", "0.2500")


def test_what_an_older_campaign_measured_is_told_as_given(searched, book):
    later = book()
    found = later.propose("Child")
    later.ledger._engine.dispose()
    age(later.url, seconds=100)
    later.judge(found, [0.1 + 0.01 * i for i in range(8)])
    row = {row[:2]: row for row in grid(later.report(), "Evaluations by stage").rows}["fidelity", "8"]
    assert row[2:4] == ("0", "1")
    assert "100.0% of 6 asked for were there already" in grid(later.report(), "Evaluations by stage").note


def age(url, seconds):
    """Let everything that was finished have been so before."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE evaluation SET finished_at = datetime(finished_at, ?)", (f"-{seconds} seconds",))


def test_circumstances_and_what_is_missing_are_said(searched):
    report = searched.report()
    where = grid(report, "Where it was measured").rows[0]
    assert where[1:3] == ("a small CPU", "float32")
    assert "torch 2.13.0+cpu" in where[3]
    assert table(report, "Settings")["seeds"]["value"] == "1: quest"
    told = words(report)
    assert "Held-out data were seen by 2 found and 2 of 2 published rules." in told
    assert "The campaign does not measure tasks of lm-eval." in told
    assert "Speed on H200 is modelled by bytes and launches, not measured." in told
    assert "No text was longer than 200 tokens." in told
    assert "Only 6 of the 8 candidates asked for were proposed." in told


def test_nothing_of_two_machines_stands_in_one_table(book):
    told = book()
    rival, found = told.publish("Quest"), told.propose("Found")
    for where, shift in ((None, 0.0), (told.there, 0.5)):
        how = {"where": where} if where else {}
        told.judge(rival, [value + shift + 0.3 for value in LOSSES], **how)
        told.judge(found, [value + shift for value in LOSSES], **how)
    report = told.report()
    chapters = [part for part in report.parts if part.title.startswith("Measured on")]
    assert [("a small CPU" in c.title, "a large GPU" in c.title) for c in chapters] in (
        [(1, 0), (0, 1)],
        [(0, 1), (1, 0)],
    )
    assert "A small CPU, float32" in report.headline.text
    assert "A large GPU, float32" in report.headline.text
    for chapter in chapters:
        (front,) = [b for b in blocks([chapter]) if isinstance(b, Grid) and b.title.startswith("The front")]
        figures = {row[2].split(" ")[0] for row in front.rows}
        assert figures == ({"0.115", "0.415"} if "small" in chapter.title else {"0.615", "0.915"})
    names = [b.name for b in blocks(report.parts) if isinstance(b, Picture)]
    assert len(names) == len(set(names)) > 2


def test_an_empty_campaign_is_told(book):
    report = book().report()
    assert not report.headline.holds
    assert "Nothing has been measured yet" in report.headline.text
    assert grid(report, "By proposer").rows == ()
    assert "Nothing was refused" in grid(report, "What failed").empty
    assert page(report)
    assert markdown(report)


def test_a_campaign_of_refused_candidates_tells_why(book):
    told = book()
    for i in range(3):
        told.refuse(f"rule.py:{i}:1: no 'axis{i}'")
    report = told.report()
    assert "Nothing has been measured yet" in report.headline.text
    assert table(report, "By proposer")["llm"]["errors"] == "3"
    assert grid(report, "What failed").rows[0][:4] == ("3", "proposal", "program error", "no '…'")


def test_an_interrupted_campaign_is_not_taken_for_its_end(book):
    told = book()
    told.judge(told.publish("Quest"), LOSSES)
    found = told.propose("Found")
    workload = told.config.workload(Stage.RECALL, 8.0)
    key = EvaluationKey("f" * 16, Stage.RECALL, workload.digest, "m" * 16, "e" * 16, "3", 0)
    assert told.ledger.claim(EvaluationTask(key, "text\n", (), workload), "me", 300.0, found.id) is Claim.TAKEN
    assert "1 evaluations are under way" in words(told.report())


def test_recall_alone_ranks_where_no_loss_is_known(book):
    told = book()
    for name, recall in (("Good", 0.9), ("Bad", 0.4)):
        candidate = told.propose(name)
        told.measure(candidate, Stage.CHECK, Measurement("cost_ratio", 8.0))
        told.measure(candidate, Stage.RECALL, Measurement("recall", recall))
    report = told.report()
    assert [row[1] for row in grid(report, "Best by recall: no loss is known yet").rows] == ["Good", "Bad"]
    assert "nothing is claimed" in report.headline.text


def test_programs_as_written_are_told_as_such(book):
    told = book(ratios=())
    for name in ("Some", "Other"):
        told.judge(told.propose(name), LOSSES, ratio=0.0)
    report = told.report()
    titles = [b.title for part in report.parts for b in part.blocks if isinstance(b, Part)]
    assert "Programs as written" in titles
    assert "best kl, as written" in [c.heading for c in grid(report, "By move").columns]


def test_settings_that_a_newer_version_wrote_are_told_too(book):
    told = book()
    told.judge(told.propose("Found"), LOSSES)
    settings = told.campaign.settings.replace('{"', '{"depth":32,"islands":["a","a"],"', 1)
    told.campaign = replace(told.campaign, settings=settings)
    shown = table(told.report(), "Settings")
    assert (shown["depth"]["value"], shown["islands"]["value"]) == ("32", "a (x2)")


def test_a_table_is_cut_off_and_says_so(book):
    told = book()
    for i in range(MAX_ROWS + 20):
        told.refuse(f"no {chr(97 + i % 26) * (1 + i // 26)}")
    found = grid(told.report(), "What failed")
    assert len(found.rows) + found.num_more == MAX_ROWS + 20
    assert len(found.rows) <= MAX_ROWS
    assert f"**And {found.num_more} more.**" in page(told.report()).replace("<b>", "**").replace("</b>", "**")


@pytest.mark.parametrize(
    ("text", "limit", "said"),
    [
        ("a\n b\t c", 9, "a b c"),
        ("abcdef", 4, "abc…"),
        ("a\u202eb\x1b[0m", 9, "a\ufffdb\ufffd[0m"),
        ("é🙂", 2, "é🙂"),
    ],
)
def test_texts_are_cut_and_nothing_deceives(text, limit, said):
    assert cut(text, limit) == said


@pytest.mark.parametrize(("seconds", "said"), [(3, "3 s"), (600, "10 min"), (9000, "2 h 30 min")])
def test_durations_are_said_as_people_say_them(seconds, said):
    assert duration(seconds) == said


def test_a_failed_stage_keeps_a_rule_off_the_front(searched):
    broken = searched.propose("Wrong", "gate")
    searched.judge(broken, [0.001] * 8, status=Status.WRONG_RESULT, message="disagrees")
    front = grid(searched.report(), "The front, and the best published rules behind it")
    assert not any("Wrong" in cell for row in front.rows for cell in row)
