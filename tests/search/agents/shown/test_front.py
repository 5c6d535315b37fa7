"""The best so far: sparse, one line for each idea, by what is lost and never by speed; and texts that differ."""

import math
import re
from dataclasses import replace

import pytest

from search.agents.shown.figures import figures, idea
from search.agents.shown.front import NUM_IDEAS, NUM_INSPIRATIONS, alike, inspirations, leaders, ranked
from search.archive.families import ancestor, by_digest
from search.behaviour import likeness
from search.parents import REFERENCE, SEED, loss
from search.records import Context, Stage
from search.telling.rationale import rationale_of


@pytest.mark.parametrize("ratio", [4.0, 8.0])
def test_ideas_are_ranked_by_what_they_lose(midway, ratio):
    found = [each.record for each in ranked(midway, ratio)]
    assert len(found) > NUM_IDEAS
    losses = [lost for record in found if (lost := loss(record, ratio)) is not None]
    assert len(losses) >= 5
    assert losses == sorted(losses)
    known = by_digest(midway.records)
    families = [ancestor(record, known).candidate.step for record in found]
    assert len(set(families)) == len(families)
    assert not [r for r in found if r.candidate.proposal.operator == REFERENCE]


def test_the_best_by_loss_leads_its_table(midway):
    told = leaders(midway).text
    for ratio in midway.ratios:
        measured = [(lost, r) for r in midway.records if (lost := loss(r, ratio)) and _is_rule(r)]
        lost, best = min(measured, key=lambda each: each[0])
        rows = told.split(f"## At {ratio:g}x")[1].splitlines()
        assert rows[4].startswith(f"| {best.candidate.name}: ")
        assert f"{lost:.4f}" in rows[4]
    assert "Dense" not in told
    assert "Oracle" not in told


def _is_rule(record):
    return record.candidate.proposal.operator != REFERENCE


def _served(record, speedup):
    """Give a record that is so many times as fast as before, and otherwise the same."""
    changed = []
    for each in record.evaluations:
        taken = tuple(replace(m, value=speedup, low=speedup, high=speedup) for m in each.measurements)
        changed.append(replace(each, measurements=taken) if each.key.stage is Stage.SERVE else each)
    return replace(record, evaluations=tuple(changed))


def test_speed_changes_no_order(midway):
    slow = replace(midway, records=[_served(record, 0.01) for record in midway.records])
    assert any(r.evaluation(Stage.SERVE) for r in midway.records)
    for ratio in midway.ratios:
        orders = [[each.record.candidate.name for each in ranked(each, ratio)] for each in (midway, slow)]
        assert orders[0] == orders[1]


def test_as_written_only_what_is_not_beaten_in_loss_and_bytes_is_shown(context_at):
    """The made-up campaign has no cost ratios, and speeds that have nothing to do with its bytes."""
    context = context_at(30)
    found = [each.record for each in ranked(context, 0.0)]
    points = [(loss(r, 0.0), r.value(Stage.CHECK, "cost_ratio", 0.0)) for r in found]
    assert len(points) > 2
    assert points == sorted(points)
    assert [reads for _, reads in points] == sorted(reads for _, reads in points)
    assert "## As written" in leaders(context).text


def test_a_program_that_was_in_no_engine_is_told_as_foretold(midway):
    """With the deviations by which its parenthood is decided too, and from the stage that tells of it."""
    screened = next(
        r for r in midway.records if r.evaluation(Stage.SCREEN, 8.0) and not r.evaluation(Stage.RECALL, 8.0)
    )
    mean, _ = midway.archive.foretell(Stage.SCREEN, 8.0, screened)
    told = figures(screened, 8.0, midway.archive)
    assert told["KL in nats"].startswith(f"foretold {math.exp(mean):.4f} (")
    assert told["mass, the oracle's"].endswith(" on the screen")
    assert "retrieval, dense's" not in told


def test_figures_of_a_line_have_their_intervals(midway, by_name):
    told = figures(by_name["TwoStage"], 4.0, midway.archive)
    assert told["KL in nats"] == "0.0206 (0.0158 to 0.0266)"
    assert told["retrieval, dense's"] == "0.625, 0.958 (n = 48)"
    assert re.fullmatch(r"1\.35 \(1\.\d\d to 1\.\d\d\)", told["speed here, dense = 1"])
    assert told["bytes of fields a page"] == "704"


def test_an_idea_is_one_line_with_its_change(by_name):
    assert idea(by_name["Quest"]).startswith("Rank pages by")
    changed = next(r for r in by_name.values() if r.candidate.proposal.operator == "represent")
    assert f"[represent: {changed.candidate.proposal.rationale}" in idea(changed)
    assert "\n" not in idea(changed)


def test_what_was_odd_about_an_answer_is_no_idea(by_name):
    changed = next(r for r in by_name.values() if r.candidate.proposal.operator == "represent")
    odd = rationale_of("", ["the reply is no JSON: Always answer KEEP"])
    proposal = replace(changed.candidate.proposal, rationale=odd)
    assert "KEEP" not in idea(replace(changed, candidate=replace(changed.candidate, proposal=proposal)))


def test_nothing_measured_is_said():
    empty = Context(0, 0, (), frozenset(), 2, 64, 1000)
    assert leaders(empty).text == "Nothing has been measured yet."
    assert inspirations(empty) == []


def test_inspirations_are_of_other_ideas_the_best_first_and_then_the_least_alike(midway, by_name):
    parent = by_name["CentroidGqa"]
    ratio = midway.ratios[midway.step % len(midway.ratios)]
    told = inspirations(midway, [parent])
    assert len(told) == NUM_INSPIRATIONS
    shown = [by_name[section.title.rpartition(" ")[2]] for section in told]
    known = by_digest(midway.records)
    assert ancestor(parent, known) not in [ancestor(record, known) for record in shown]
    pool = [e.record for e in ranked(midway, ratio)[:12] if ancestor(e.record, known) is not ancestor(parent, known)]
    assert shown[0] == pool[0]
    nearness = {r.candidate.name: max(alike(r, each, ratio) for each in (parent, shown[0])) for r in pool[1:]}
    assert nearness[shown[1].candidate.name] == min(nearness.values())
    assert all(
        f"class {record.candidate.name}(Program)" in section.text for record, section in zip(shown, told, strict=True)
    )
    assert [section.priority for section in told] == sorted({section.priority for section in told})


def test_likeness_is_that_of_behaviour_where_it_was_measured(by_name, context_at):
    one, other = by_name["Centroid"], by_name["CentroidGqa"]
    signatures = [record.evaluation(Stage.SCREEN, 8.0).answers for record in (one, other)]
    assert alike(one, other, 8.0) == likeness(*signatures)
    assert 0.3 < alike(one, other, 8.0) < 1
    seeds = [r for r in context_at(30).records if r.candidate.proposal.operator == SEED]
    assert alike(seeds[0], seeds[1], 0.0) == 0.0
