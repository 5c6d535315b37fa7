"""The table that people see: one circumstance each, nothing cut off, nothing called faster that is not."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from search.ranking.front import sections
from search.ranking.leaderboard import board, listed, spread, verdict
from search.ranking.standing import Standing
from tests.search.ranking.test_front import fronts_of

RULE = Standing(
    12, "TwoStageValueGated", "d", "grammar/mutate", ("x",), None, None, None, 0.9, 1.23, 1.1, 1.34, 16.3, 288.0,
    "Xeon", "smollm2", ratio=16.0, cost_ratio=16.2, lengths=(1000, 2000, 4000), kl=0.191, kl_low=0.17, kl_high=0.21,
    agreement=0.912, retrieval=0.812, retrieval_loss=0.05, retrieval_loss_low=-0.02, retrieval_loss_high=0.12,
    modelled_speedup=3.94, target="H200", confirmed=True, confirmed_kl=0.2, confirmed_kl_low=0.18,
    confirmed_kl_high=0.22, environment="e", model_digest="m" * 16, versions=(("torch", "2.13"), ("vllm", "0.32")),
    evaluator_version="2", dtype="float32",
)  # fmt: skip


def drawn(rows, width=88, *, everything=False, published=False):
    console = Console(record=True, width=width, file=io.StringIO())
    front = {id(row) for section in sections(rows) for row in section.front}
    marked = [(row, id(row) in front) for row in rows]
    console.print(listed(marked) if everything else board(fronts_of(rows, published=published)))
    return console.export_text()


@pytest.mark.parametrize("width", [72, 96, 160])
def test_a_reason_takes_one_line_and_it_is_told_where_it_stands_whole(width):
    long = "oracle: crashed: the engine died: " + "\n".join(f"Traceback {i}, /a/path/of/vllm.py" for i in range(200))
    text = drawn([replace(RULE, id=14, name="Broken", kl=None, status="crashed", reason=long)], width, everything=True)
    told = text[text.index("why there is no more of") :].rstrip().splitlines()
    (reason,) = [line for line in told if "Broken" in line]
    assert "oracle: crashed: the engine died" in reason
    assert reason.rstrip().endswith("…")
    assert width - 3 <= len(reason.rstrip()) <= width
    assert told[-1] == "a reason that ends in … is cut: `vortex show ID` tells all of it"
    assert len([line for line in told if line.strip()]) == 5


def test_a_short_reason_is_not_cut():
    text = drawn([replace(RULE, kl=None, reason="oracle: it fell over")], everything=True)
    assert "oracle: it fell over\n" in re.sub(" +\n", "\n", text)
    assert "vortex show" not in text


def test_all_columns_with_their_intervals_fit_96_and_what_88_leave_out_is_told():
    rows = [RULE, replace(RULE, id=1234, retrieval_loss_low=-0.15, retrieval_loss_high=-0.05)]
    narrow, told = drawn(rows), drawn(rows, width=96)
    assert max(map(len, narrow.splitlines())) <= 88
    assert "not shown in 88 columns: pages and bytes/page" in narrow
    assert max(map(len, told.splitlines())) <= 96
    for whole in (
        "[-.15,-.05]",
        "grammar",
        "0.200",
        "[.180,.220]",
        "[.170,.210]",
        "[-.02,.12]",
        "[1.10,1.34]",
        "0.191",
        "0.912",
        "0.812",
        "1.23x",
        "3.9x",
        "16.3",
        "288",
    ):
        assert whole in told
    assert "…" not in told


def test_a_wide_row_is_one_line():
    told = drawn([RULE], width=150)
    (line,) = [line for line in told.splitlines() if "TwoStageValueGated" in line]
    figures = "0.191 [.170,.210]", "0.05 [-.02,.12]", "1.23x [1.10,1.34]", "3.9x", "16.3", "288", "0.200 [.180,.220]"
    for whole in (*figures, "grammar/mutate"):
        assert whole in line


def test_what_was_confirmed_by_accuracy_alone_has_its_interval_too():
    row = replace(
        RULE, confirmed_kl=None, confirmed_accuracy=0.5, confirmed_accuracy_low=0.4, confirmed_accuracy_high=0.6
    )
    assert "0.500 [.400,.600]" in drawn([row], width=160)


@pytest.mark.parametrize("width", [88, 160])
def test_what_was_asked_of_a_model_has_its_dollars_and_their_sum(width):
    rows = [replace(RULE, dollars=0.0625), replace(RULE, id=13, kl=0.3, dollars=0.25), replace(RULE, id=14)]
    told = drawn(rows, width, everything=True)
    assert max(map(len, told.splitlines())) <= width
    assert "dollars" in told
    assert "0.0625" in told
    assert "models were paid 0.3125 for 2 programs of these" in " ".join(told.split())
    assert "dollars" not in drawn([RULE], width)


def test_of_two_devices_each_row_names_the_one_that_its_speed_is_modelled_for():
    told = drawn([RULE, replace(RULE, id=13, kl=0.1, retrieval_loss=0.06, target="B200")], width=160)
    assert ["3.9x H200" in told, "3.9x B200" in told] == [True, True]
    assert "3.9x H200" not in drawn([RULE], width=160)


def test_a_row_says_its_circumstance():
    told = drawn([RULE])
    parts = (
        "cost ratio 16",
        "1,000, 2,000, 4,000 tokens",
        "model: smollm2 (mmmmmmmm)",
        "device: Xeon, float32",
        "vllm 0.32",
    )
    for part in (*parts, "evaluator 2", "modelled: by bytes and launches on H200, not measured"):
        assert part in told


def test_a_row_without_a_dtype_says_that_none_is_known():
    assert "device: Xeon, unknown dtype" in drawn([replace(RULE, dtype="")])


def test_rows_of_two_machines_stand_in_two_tables():
    assert drawn([RULE, replace(RULE, id=13, device="H200", environment="f")]).count("device:") == 2


def test_why_a_rule_stands_in_several_tables_of_a_cost_ratio_is_told_above_them():
    asked = replace(RULE, kl=None, retrieval=None, retrieval_loss=None, accuracy=0.7, accuracy_lengths=(2000,))
    timed = replace(asked, lengths=(8000,))
    told = " ".join(drawn([asked, timed]).split())
    assert told.count("cost ratio 16: 2 tables, as stages differ in length") == 1
    assert "accuracy is of questions of 2,000 tokens, the same figure in each" in told
    assert told.index("2 tables") < told.index("device:")
    assert "tables, as stages differ" not in drawn([asked, replace(timed, ratio=8.0)])
    assert "tables, as stages differ" not in drawn([asked, replace(timed, environment="f")])


def test_a_column_in_which_no_row_has_a_figure_is_left_out():
    untimed = replace(RULE, speedup=None, speedup_low=None, speedup_high=None, pages_attended=None)
    told = drawn([untimed, replace(untimed, id=13, kl=0.1)], width=160)
    assert {"speed-up", "pages"}.isdisjoint(told.split())
    assert {"speed-up", "pages"} <= set(drawn([RULE, untimed], width=160).split())


def test_old_rows_are_told_as_what_they_are():
    old = replace(RULE, ratio=0.0, mixed_lengths=True, kl=None, retrieval=None, accuracy=0.75, agreement=None)
    told = drawn([old], width=200)
    assert "programs as written" in told
    assert "mixed lengths: each stage has its own of them" in told
    assert "0.750" in told


def test_beaten_rows_are_folded_and_counted_and_all_shows_them():
    beaten, stopped = (
        replace(RULE, id=13, name="Worse", kl=0.4),
        replace(
            RULE, id=14, name="Broken", kl=None, status="crashed", retrieval_loss=None, reason="oracle: it fell over"
        ),
    )
    told = drawn([RULE, beaten, stopped], width=160)
    assert "1 more behind; 1 without a figure to rank them by: --all shows them" in told
    assert "Worse" not in told
    listed = drawn([RULE, beaten, stopped], width=160, everything=True)
    assert "Worse" in listed
    assert "oracle: it fell over" in listed


def test_published_and_confirmed_rules_behind_the_front_are_shown_where_they_are_asked_for():
    behind = replace(RULE, id=13, name="Sure", kl=0.4), replace(RULE, id=14, name="Unsure", kl=0.4, confirmed=False)
    zoo = replace(RULE, id=15, name="Quest", kl=0.4, confirmed=False, origin="zoo/seed")
    told = drawn([RULE, *behind, zoo], width=160, published=True)
    assert [name in told for name in ("Sure ", "Unsure", "Quest")] == [True, False, True]
    assert "1 more behind: --all shows them" in told
    assert "3 more behind: --all shows them" in drawn([RULE, *behind, zoo], width=160)


def test_no_row_is_told_as_such():
    assert drawn([]).strip() == drawn([], everything=True).strip() == "no row of the leaderboard is like that"


def test_references_stand_below_the_line():
    told = drawn([replace(RULE, id=1, name="Dense", reference=True, cost_ratio=1.0, kl=0.0), RULE], width=160)
    assert told.index("TwoStageValueGated *") < told.index("Dense (reference)")
    assert "only to compare with" in told


@pytest.mark.parametrize(
    ("low", "high", "shown"), [(0.93, 3.31, "~1.75x"), (1.05, 3.31, " 1.75x"), (None, None, "~1.75x")]
)
def test_speed_that_may_be_none_is_marked(low, high, shown):
    told = drawn([replace(RULE, speedup=1.75, speedup_low=low, speedup_high=high)], width=160)
    assert shown in told


def test_verdict_calls_nobody_faster_whose_interval_holds_one():
    (section,) = sections([replace(RULE, speedup=1.75, speedup_low=0.93, speedup_high=3.31)])
    assert "none is shown to be faster than dense attention" in verdict(section.front)
    (section,) = sections([RULE])
    assert "TwoStageValueGated (12) is the fastest, 1.23x [1.10,1.34]" in verdict(section.front)
    assert "closest to dense, kl 0.191 [.170,.210]" in verdict(section.front)


def test_spread_keeps_signs_and_whole_numbers():
    assert spread(-0.1, -0.25, 1.5) == "-0.100 [-.250,1.500]"
    assert spread(None, 1.0, 2.0) == "–"
