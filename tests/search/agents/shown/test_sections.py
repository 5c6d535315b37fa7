"""Each section of a prompt, from a campaign on a real model half-way and from one on the probe."""

import re
from dataclasses import replace

import numpy as np
import pytest

from search.admission import admit
from search.agents.bounds import objections
from search.agents.drawing.draft import field_bytes_limit
from search.agents.shown.ideas import journal, published
from search.agents.shown.model import model
from search.agents.shown.parent import cost, curve, measured
from search.agents.shown.questions import instructions
from search.agents.shown.section import Section, tokens_of
from search.agents.shown.task import aim, gates
from search.agents.shown.tried import failures, families, moves, pending
from search.config import CampaignConfig
from search.fit import at_ratio, traced
from search.journal.entries import Note
from search.parents import REFERENCE, loss
from search.records import Context, Proposal, Record, Stage, Status
from vortex_dsl import Shape, zoo
from vortex_dsl.analysis.cost import cost_of

PROBE = CampaignConfig(group=2, head_dim=64)
EMPTY = Context(0, 0, (), frozenset(), 2, 64, 1000)


def flat(section):
    return " ".join(getattr(section, "text", section).split())


def test_the_aim_of_a_real_model_is_fidelity_and_retrieval_at_declared_costs(midway):
    told = flat(aim(midway))
    assert "smollm2, a real model, with 30 layers" in told
    assert "declared cost ratios 4 and 8" in told
    assert "from 3,073 to 3,969 tokens" in told
    order = [told.index(name) for name in ("*Fidelity*", "in nats per token", "*Retrieval*", "*Throughput*")]
    assert order == sorted(order)
    assert "texts of 1,000 and 2,000 tokens" in told
    assert "*Accuracy*" not in told


def test_the_aim_of_the_probe_is_accuracy():
    told = flat(aim(PROBE.context(0, (), frozenset())))
    assert "a small model that was trained for the task" in told
    assert "*Accuracy*: the share of recall questions answered rightly over contexts of 2,000 tokens" in told
    assert "*Fidelity*" not in told


def test_a_models_folder_is_not_told(midway):
    context = replace(midway, demands=replace(midway.demands, model="/secret/place/my-model"))
    assert "my-model, a real model" in aim(context)
    assert "secret" not in instructions(context)


def test_the_bounds_that_are_told_are_those_that_are_enforced(midway):
    """Fields of one byte more than the number in the instructions are refused, and of as many are not."""
    most = int(re.search(r"fields of a page take at most ([\d,]+) bytes", instructions(midway))[1].replace(",", ""))
    assert most == field_bytes_limit(midway.head_dim)
    text = (
        "from vortex_dsl import Int, Program, dot, topk\n\n\nclass Room(Program):\n    '''Keys.'''\n"
        "    pages = Int(4, low=1, high=1024)\n    dense_layers = Int(0, 0, 8)\n\n"
        "    def summarize(self, k, v):\n        return {{{fields}}}\n\n"
        "    def select(self, q, page):\n        score = dot(q, page.keys, 'dim').max('head', 'token'){more}\n"
        "        return topk(score, self.pages)\n"
    )
    full = text.format(fields="'keys': k.to('fp8_e4m3')", more="")
    over = text.format(
        fields="'keys': k.to('fp8_e4m3'), 'mean': k.mean('token')", more=" + dot(q, page.mean, 'dim').max('head')"
    )
    # At a lower cost ratio, where the budget leaves room for as many bytes.
    context = replace(midway, ratios=(2.0,))
    assert list(objections(Proposal(full, "", ""), context)) == []
    (objection,) = objections(Proposal(over, "", ""), context)
    assert f"at most {most:,} are reserved" in objection


def test_instructions_are_the_same_at_every_step(midway):
    earlier = replace(midway, step=midway.step - 30, records=midway.records[:40])
    assert instructions(earlier) == instructions(midway)
    assert "$" not in instructions(midway)


def test_facts_of_the_model(midway):
    told = flat(model(midway))
    assert "30 layers, 3 KV heads, 3 query heads to each KV head, head_dim 64." in told
    assert "channels i and i + 32 turn together" in told
    assert "193 to 249 pages of 16" in told
    best = re.findall(r"The best (\d+) pages, chosen by the attention itself, hold (0\.\d+) of the mass", told)
    assert [int(pages) for pages, _ in best] == [24, 48]
    assert float(best[0][1]) < float(best[1][1]) < 1
    assert "least in layer 0 (0.45)" in told
    for ratio in ("4", "8"):
        assert re.search(
            rf"At {ratio}x an error of the attention output costs most fidelity in the layers \d+ \(\d+%\)", told
        )
        assert f"At {ratio}x at most" in told


def test_statistics_of_queries_and_keys_are_averages_with_the_layers_that_have_least_and_most(midway, generate):
    recorded = generate.recorded_statistics()
    lines = model(midway, recorded).text.splitlines()
    assert len(lines) == len(model(midway).text.splitlines()) + 5
    (norms,) = [line for line in lines if line.startswith("* As recorded, keys have a norm of")]
    values = [each.value for each in recorded if each.name.startswith("k_norm_layer")]
    least, most = min(values), max(values)
    assert f"{sum(values) / 30:.2f} ({least:.2f} in layer {values.index(least)} to {most:.2f} in layer" in norms
    (quarters,) = [line for line in lines if "quarters of the rotary pairs add" in line]
    assert sum(map(float, re.findall(r"-?\d\.\d\d", quarters))) == pytest.approx(1, abs=0.03)
    assert tokens_of("\n".join(lines)) - tokens_of(model(midway).text) < 450


def test_facts_of_a_model_that_nothing_was_measured_on():
    told = flat(model(EMPTY))
    assert "2 query heads to each KV head" in told
    assert "best" not in told


def test_weights_of_layers_are_those_that_foretell(midway):
    """Losing more in the heaviest layer raises the KL that is foretold by what its weight says."""
    outlook = midway.archive.outlooks["recall", 8.0]
    weights = midway.archive.weights(Stage.RECALL, 8.0)
    ridge = outlook.foresight(midway.archive.num_records).ridge
    place = max(range(len(weights)), key=lambda layer: weights[layer])
    before = ridge.centre.copy()
    after = before.copy()
    after[place] += ridge.scale[place]
    (low, high), _ = ridge.foretell(np.array([before, after]))
    assert high - low == pytest.approx(weights[place])
    assert EMPTY.archive.weights(Stage.RECALL, 8.0) == {}


def test_gates_as_they_stand(midway):
    told = flat(gates(midway))
    assert "10% of screen, 40% of recall" in told
    best = min(lost for r in midway.records if _counts(r) and (lost := loss(r, 4.0)) is not None)
    assert f"At 4x, to be timed: a KL below {best:.4f}." in told
    blind = replace(midway, archive=replace(midway.archive, outlooks={}))
    assert f"At 8x, after recall: a recall of {midway.archive.bar('recall', 8.0):.3f}." in flat(gates(blind))


def _counts(record):
    return record.candidate.proposal.operator != REFERENCE


def test_gates_of_the_probe():
    context = replace(PROBE.context(0, (), frozenset()))
    assert "At 8x, to be timed: an accuracy of 0.8." in flat(gates(context))
    assert gates(EMPTY).text == ""


def test_everything_measured_of_a_parent(midway, by_name):
    told = flat(measured(by_name["TwoStage"], midway))
    for expected in (
        "Loses a KL of 0.0206 (0.0158 to 0.0266, n = 768) nats against dense attention.",
        "KL by kind of text: prose",
        "the model's own words",
        "KL by length: 3073 ",
        "of the questions, dense attention 0.958, so it loses",
        "needle 0.75 of dense's 1.00 (n = 24)",
        "as many of the best pages hold",
        "as many by lot",
        "error of the attention's output",
        "Mass by layer: 0 ",
        "Mass by KV head: 0 ",
        "## At 8x",
    ):
        assert expected in told
    assert "it attends most like" in told


def test_why_a_parent_came_to_no_ratio_is_told(midway, by_name):
    told = flat(measured(by_name["SparQ"], midway))
    assert "Check: below_gate: 'SparQ' is not judged at a cost ratio of 4" in told
    assert cost(by_name["SparQ"], midway).text == ""


def test_accuracy_by_the_probe_is_told(context_at):
    context = context_at(30)
    told = flat(measured(context.records[6], context))
    assert re.search(r"Answers 0\.\d{3} \(n = 1\) of the probe's hops", told)


def test_cost_by_stage_and_field_is_the_cost_models(midway, by_name):
    record = by_name["TwoStage"]
    told = flat(cost(record, midway))
    proposal = at_ratio(record, 4.0).candidate.proposal
    _, graph = traced(proposal.text, proposal.values, Shape(3, 64))
    found = cost_of(graph, 3969, 30)
    assert f"{found.bytes:,.0f} bytes where dense attention reads {found.dense_bytes:,.0f}" in told
    for stage in found.stages:
        assert f"* {stage.name}: {stage.bytes:,.0f} bytes" in told
    assert "* a field [token 16, dim 64] in int4: 576 of a page's 704 bytes" in told
    assert "* a field [dim 64] in bfloat16: 128 of a page's 704 bytes" in told


def test_the_curve_over_ratios(midway, by_name):
    told = curve([by_name["TwoStage"]], midway).text
    assert "| TwoStage | at 4x | at 8x |" in told
    assert "| KL | 0.0206 | 0.0722 |" in told
    assert "| budget |" in told
    assert curve([by_name["TwoStage"]], replace(midway, ratios=(8.0,))).text == ""


def test_families_tell_the_best_that_came_of_each(midway):
    told = families(midway).text
    number = sum(r.candidate.name.rstrip("0123456789") == "CentroidGqa" for r in midway.records)
    line = next(line for line in told.splitlines() if line.startswith("* CentroidGqa: "))
    assert line.startswith(f"* CentroidGqa: {number} tried; least loss at 4x 0.0303")
    assert "that did worse" in told
    assert "Dense" not in told


def test_changes_are_compared_with_their_parents(midway):
    told = moves(midway).text
    line = next(line for line in told.splitlines() if line.startswith("* tune: "))
    found = re.search(r"more mass than the parent in (\d+) of (\d+) comparisons; best ([+-]0\.\d+)", line)
    assert 0 <= int(found[1]) <= int(found[2])
    best = max(_gains(midway, "tune"))
    assert float(found[3]) == pytest.approx(best, abs=6e-4)


def _gains(context, operator):
    by_digest = {record.candidate.program_digest: record for record in context.records}
    for record in context.records:
        proposal = record.candidate.proposal
        if proposal.operator == operator and proposal.parents[0] in by_digest:
            parent = by_digest[proposal.parents[0]]
            for ratio in context.ratios:
                pairs = ([r.value(s, "mass", ratio) for r in (record, parent)] for s in (Stage.RECALL, Stage.SCREEN))
                own = next((pair for pair in pairs if None not in pair), None)
                if own:
                    yield own[0] - own[1]


def test_what_is_under_way_is_told_as_far_as_it_may_be_known(midway):
    told = flat(pending(midway))
    assert "36 programs, of steps 64 to 99, are not measured yet. The latest:" in told
    assert f"* {midway.pending[-1].name}: " in told
    ahead = flat(pending(replace(midway, pending=())))
    assert ahead == "36 programs, of steps 64 to 99, are not measured yet; what they are is not known here."
    assert pending(EMPTY).text == ""


def test_failures_have_their_messages(midway):
    told = flat(failures(midway, "zoo"))
    assert "Of your earlier programs these failed:" in told
    assert "SparQ: below_gate: 'SparQ' is not judged at a cost ratio of 4" in told
    others = flat(failures(midway, "llm"))
    assert "Of your earlier" not in others
    assert re.search(r"below_gate, \d+ times, the latest: ", others)


def test_a_refusal_is_told_to_who_wrote_it(midway):
    proposal = Proposal("from vortex_dsl import Program\n\nimport os\n", "llm", "explore")
    refused = Record(admit(proposal, 1, 64, PROBE, frozenset()))
    assert refused.candidate.status is Status.PROGRAM_ERROR
    context = replace(midway, records=[*midway.records, refused])
    assert refused.candidate.message[:60] in failures(context, "llm").text


def test_published_ideas_with_what_they_lose(midway):
    told = published(midway).text
    assert len(told.splitlines()) >= len(zoo.names()) - 4
    assert re.search(r"^\* `two_stage`: .*Loses at 4x 0\.0206, at 8x 0\.0722\.$", told, re.MULTILINE)
    assert "`dense`" not in told
    assert all(line in told for line in published(EMPTY).text.splitlines())


def test_the_journal_has_its_place(midway):
    assert journal(midway).text == ""
    first = midway.records[50]
    noted = replace(first.candidate.proposal, notes=(Note("holds", "means of keys lose the outliers"),))
    record = replace(first, candidate=replace(first.candidate, proposal=noted))
    told = journal(replace(midway, records=[*midway.records[:50], record, *midway.records[51:]]))
    assert "means of keys lose the outliers" in told.text


@pytest.mark.parametrize("section", [gates, model, families, moves, pending, published, journal])
def test_sections_are_pure_functions_of_the_context(midway, section):
    told = section(midway)
    assert isinstance(told, Section)
    assert section(midway) == told
    assert "nan" not in told.text
    assert "None" not in told.text
