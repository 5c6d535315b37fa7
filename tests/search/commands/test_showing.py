"""`vortex show` fits a page, tells what it leaves out, and shows that by flags."""

import json
import re
from contextlib import closing

import pytest

from search.commands.exits import ExitCode
from search.config import CampaignConfig
from search.loop import start_campaign
from search.records import Candidate, Evaluation, EvaluationKey, EvaluationTask, Measurement, Proposal, Stage, Status
from search.store.ledger import SqlLedger
from search.workloads import workloads_for
from tests.search.commands.conftest import HERE
from vortex_dsl import zoo

LAYERS, HEADS, TEXTS, PAGE = 30, 3, 24, 80
RATIOS = (4.0, 8.0)
WHOLE = {
    Stage.CHECK: ("cost_ratio", "budget", "bytes_per_page", "operations"),
    Stage.RECALL: ("mass", "recall", "output_error", "pages_attended", "oracle_mass"),
    Stage.FIDELITY: ("kl", "agreement", "perplexity_ratio", "preemptions", "pages_attended", "pages_dense"),
    Stage.RETRIEVAL: ("accuracy", "dense_accuracy", "loss", "partial"),
}
PARTS = {
    Stage.CHECK: ("cost_ratio_3073",),
    Stage.RECALL: (
        *(f"{name}_layer_{i}" for name in ("mass", "error") for i in range(LAYERS)),
        *(f"mass_head_{i}" for i in range(HEADS)),
        "mass_3073",
    ),
    Stage.FIDELITY: ("kl_prose", "kl_third_1", *(f"kl_text_{i}" for i in range(TEXTS))),
    Stage.RETRIEVAL: ("accuracy_needle", "accuracy_1000", "right_needle_1000_prompt_0", "dense_accuracy_keys_1000"),
}


def measured(stage):
    """Give as many figures as a campaign has of a stage, each with an interval."""
    return tuple(Measurement(name, 0.25, 0.125, 0.5, 24) for name in (*WHOLE[stage], *PARTS[stage]))


@pytest.fixture
def judged(tmp_path):
    """Give the path of a database: a rule as a campaign of two cost ratios leaves it."""
    place = str(tmp_path / "judged.db")
    config = CampaignConfig(num_candidates=1, proposers=("grammar",), ratios=RATIOS, workloads=workloads_for(0))
    text = zoo.text("quest")
    with closing(SqlLedger(place)) as ledger:
        campaign = start_campaign(ledger, config)
        candidate = Candidate(campaign.id, 0, Proposal(text, "zoo", "seed"), Status.OK, "", "a" * 16, "Quest")
        stored = ledger.add_candidate(candidate)
        for ratio in RATIOS:
            for stage in WHOLE:
                workload = config.workload(stage, ratio)
                key = EvaluationKey("a" * 16, stage, workload.digest, "m" * 16, HERE.digest, "1", 0)
                ledger.claim(EvaluationTask(key, text, (), workload), "me", 60.0, stored.id)
                said = "864 positions in 24 texts" if stage is Stage.FIDELITY else ""
                ledger.finish(Evaluation(key, Status.OK, said, measured(stage), ratio=ratio), "me", HERE)
    return place


def test_a_candidate_is_told_on_a_page_with_its_whole_text(call, judged):
    code, out, err = call("show", "1", "--db", judged)
    assert (code, err) == (ExitCode.DONE, "")
    assert len(out.splitlines()) <= PAGE
    assert zoo.text("quest").rstrip("\n") in out
    for name in ("cost_ratio", "recall", "kl", "agreement", "accuracy", "loss"):
        assert len(re.findall(rf"(?<![\w-]){name} 0\.250 \[\.125,\.500\]", out)) >= len(RATIOS)
    assert "_layer_" not in out


def test_what_is_left_out_is_counted_and_the_flag_that_shows_it_named(call, judged):
    out = " ".join(call("show", "1", "--db", judged)[1].split())
    told = re.search(r"not shown: (\d+) figures \(by (.*?) and more\); --all shows them, --stage NAME (.*)", out)
    names = call("show", "1", "--all", "--db", judged)[1]
    num_all = sum(len(WHOLE[stage]) + len(PARTS[stage]) for stage in WHOLE) * len(RATIOS)
    num_shown = len(re.findall(r"0\.250 \[", out))
    assert int(told[1]) == num_all - num_shown
    assert {"layer", "KV head", "length", "text", "kind", "passage"} <= set(told[2].split(", "))
    assert "those of one of check, recall, fidelity, retrieval" in told[3]
    assert len(re.findall(r"0\.250 \[", names)) == num_all
    assert "not shown" not in names


def test_each_message_is_told_once_with_where_it_was_said(call, judged):
    assert call("show", "1", "--db", judged)[1].count("864 positions") == 1
    assert "fidelity, at 4x and at 8x: 864 positions" in call("show", "1", "--db", judged)[1]


def test_a_stage_and_a_cost_ratio_are_told_by_themselves_and_whole(call, judged):
    out = call("show", "1", "--stage", "recall", "--ratio", "8", "--db", judged)[1]
    names = re.findall(r"(\S+) 0\.250 \[", out)
    assert names == [*WHOLE[Stage.RECALL], *PARTS[Stage.RECALL]]
    assert "not shown" not in out
    out = call("show", "1", "--ratio", "8", "--db", judged)[1]
    assert len(re.findall(r"(?<![\w-])kl 0\.250", out)) == 1


@pytest.mark.parametrize("asked", [("--stage", "serve"), ("--ratio", "16"), ("--stage", "kl")])
def test_what_was_not_measured_is_told_with_what_was(call, judged, asked):
    code, out, err = call("show", "1", *asked, "--db", judged)
    assert (code, out) == (ExitCode.USAGE, "")
    if asked[1] != "kl":
        assert (
            "nothing like that was measured of candidate 1; it has check, recall, fidelity, retrieval, at 4x, at 8x"
            in err
        )
    assert err.count("\n") == 1


def test_json_is_all_there_is_and_lets_nothing_be_chosen(call, judged):
    told = json.loads(call("show", "1", "--json", "--db", judged)[1])
    assert sum(len(each["measurements"]) for each in told["evaluations"]) > 2 * LAYERS * len(RATIOS)
    assert json.loads(call("show", "1", "--json", "--all", "--db", judged)[1]) == told
    for asked in (("--stage", "recall"), ("--ratio", "8")):
        code, out, err = call("show", "1", "--json", *asked, "--db", judged)
        assert (code, out) == (ExitCode.USAGE, "")
        assert "--json always holds everything" in err


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_no_figure_is_broken_where_it_fits_into_a_line(columns):
    from rich.console import Console

    from search.commands.showing.stages import Packed

    figures = ["kl 0.058 [0.045,0.074]", "agreement 0.910 [0.885,0.933]", "budget 38", "pages_attended 41"]
    console = Console(width=columns)
    with console.capture() as taken:
        console.print(Packed(figures))
    lines = taken.get().splitlines()
    assert all(any(each in line for line in lines) for each in figures)
    assert max(map(len, lines)) <= columns
    assert len(lines) <= (4 if columns < 80 else 2)
