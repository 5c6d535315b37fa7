"""The grammar: nearly every draw is a program, and changes are what they say."""

import ast
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from search.agents.breed import _field_bytes, fits_and_is_new
from search.agents.changing.cross import cross, obstacle
from search.agents.changing.mutate import OPERATORS, PRIORS, reserve, restore, retune, reuse
from search.agents.changing.regrow import along_pages, budget, gate, over_heads, refine, regrow, remember
from search.agents.changing.reshape import narrow, reduce_otherwise, resplit, share_heads
from search.agents.changing.source import Source
from search.agents.changing.subtrees import apply, operate, perturb, prune, swap
from search.agents.drawing.draft import field_bytes_at
from search.agents.drawing.generate import generate
from search.agents.grammar import Grammar
from search.fit import Terms, fit
from search.records import Proposal
from vortex_dsl import ProgramError, Shape, load_program, trace, zoo

ROOT = Path(__file__).resolve().parents[3]
SHAPE = Shape(group=2, head_dim=64)


def loads(text, shape=SHAPE):
    try:
        return trace(load_program(text), shape)
    except ProgramError:
        return None


def test_nearly_every_random_draw_loads_and_traces():
    graphs = [loads(generate(random.Random(i), 64, i)) for i in range(300)]
    assert sum(graph is not None for graph in graphs) >= 0.95 * 300
    assert len({graph.digest for graph in graphs if graph}) >= 270


@pytest.mark.parametrize(("group", "head_dim"), [(1, 32), (8, 128)])
def test_draws_fit_the_model_they_are_for(group, head_dim):
    texts = [generate(random.Random(i), head_dim, i) for i in range(30)]
    assert sum(loads(text, Shape(group, head_dim)) is not None for text in texts) >= 29


def test_a_random_program_reads_like_one():
    program = load_program(generate(random.Random(1), 64, 7))
    assert program.name.endswith("7")
    assert program.doc.startswith("Rank pages by")
    assert "pages" in program.tunables
    assert max(map(len, program.text.splitlines())) <= 160


def test_proposals_of_the_grammar_load_trace_and_fit(context_at):
    operators = Counter()
    for step in range(30, 70):
        proposal = Grammar().propose(context_at(step))
        operators.update(proposal.operator.split("+"))
        assert fits_and_is_new(proposal, context_at(step))
    assert {"random", "cross"} < set(operators) <= {"random", "cross", *PRIORS}


def test_draws_are_meant_for_each_of_the_cost_ratios_in_turn(context_at):
    """What has room for its fields at the least ratio alone is drawn too, and what has at the greatest."""
    context = replace(context_at(30), lengths=(4000, 3000), ratios=(8.0, 32.0))
    meant = {_field_bytes(context, random.Random(i)) for i in range(20)}
    assert meant == {field_bytes_at(ratio, context.head_dim, 3000) for ratio in (8.0, 32.0)}
    assert _field_bytes(replace(context, ratios=()), random.Random(0)) == 0


def test_proposals_reach_the_least_cost_ratio_and_are_new_at_all_of_them(context_at):
    """What was seen with another budget is not new."""
    context = replace(context_at(30), num_layers=30, lengths=(3100, 4000), ratios=(8.0, 16.0))
    terms = Terms(Shape(context.group, context.head_dim), 30, context.lengths)
    for step in range(30, 40):
        proposal = Grammar().propose(replace(context, step=step))
        found = fit(proposal.text, proposal.values, terms, 8.0)
        assert found.refusal == ""
        assert fits_and_is_new(proposal, context)
        known = replace(context, seen=context.seen | {found.digest})
        assert not fits_and_is_new(proposal, known)


def test_a_program_without_a_budget_and_too_dear_at_one_length_does_not_fit(context_at):
    context = replace(context_at(30), num_layers=30, lengths=(2000, 8000), ratios=(8.0,))
    trap = zoo.text("centroid").replace("self.pages)", "where(page.count < 200, 200, 1))")
    trap = trap.replace("import Int, Program, dot, topk", "import Int, Program, dot, topk, where")
    trap = trap.replace("    pages = Int(64, low=1, high=1024, log=True)", "    dense_layers = Int(0, 0, 8)")
    proposal = Proposal(trap, "llm", "explore")
    assert not fits_and_is_new(proposal, context)
    assert fits_and_is_new(proposal, replace(context, lengths=(8000,)))


@pytest.mark.parametrize("name", [name for name in zoo.names() if name not in ("dense", "streaming")])
def test_most_changes_of_the_zoo_load(name):
    made, good = 0, 0
    for i in range(40):
        source, rng = Source.parse(zoo.text(name), 64), random.Random(i)
        operator = OPERATORS[i % len(OPERATORS)][0]
        if operator(source, rng):
            made += 1
            good += loads(source.text()) is not None
    assert good >= 0.6 * made
    assert made >= 3


def changed(name, operator, seeds=range(20)):
    """Apply an operator to a program of the zoo until it applies and gives another program."""
    before = loads(zoo.text(name)).digest
    for i in seeds:
        source = Source.parse(zoo.text(name), 64)
        what = operator(source, random.Random(i))
        graph = loads(source.text()) if what else None
        if graph and graph.digest != before:
            return what
    pytest.fail(f"{operator.__name__} never applied to {name}")
    return None


@pytest.mark.parametrize(
    ("operator", "name", "sign"),
    [
        (retune, "quest", "in place of 64"),
        (reserve, "quest", "="),
        (restore, "quest", "in "),
        (reuse, "quest", "="),
        (reduce_otherwise, "quest", "in place of m"),
        (over_heads, "quest", "head"),
        (share_heads, "quest", "softmax"),
        (share_heads, "centroid_gqa", "without softmax"),
        (resplit, "quest", "sub-pages"),
        (resplit, "quest_sub", "sub-pages"),
        (narrow, "quest", "channels"),
        (gate, "quest", "value norm"),
        (along_pages, "quest", ""),
        (along_pages, "two_stage", ""),
        (budget, "quest", ""),
        (refine, "quest", "then refined"),
        (remember, "quest", ""),
        (regrow, "quest", "in maximum"),
        (perturb, "smooth", "in place of"),
        (swap, "ball", "in place of"),
        (apply, "ball", "in place of"),
        (operate, "ball", "in place of"),
        (prune, "ball", "in place of"),
    ],
)
def test_an_operator_changes_what_it_says(operator, name, sign):
    assert sign in changed(name, operator)


@pytest.mark.parametrize("call", ["topk(score=s, n=self.pages)", "topp(limit=4, p=0.5, score=s)", "topk(n=2, score=s)"])
def test_a_score_by_keyword_stops_no_operator(call):
    text = f"""from vortex_dsl import Int, Program, topk, topp


class ByKeyword(Program):
    "Choose by a score that is given by its name."

    pages = Int(4, low=1, high=64)

    def summarize(self, k, v):
        return {{"center": k.mean("token")}}

    def select(self, q, page):
        s = (q * page.center).sum("dim").max("head")
        return {call}
"""
    assert loads(text)
    for operator, _ in OPERATORS:
        for i in range(5):
            operator(Source.parse(text, 64), random.Random(i))


def test_storage_is_replaced_and_not_piled_up():
    source = Source.parse(zoo.text("centroid"), 64)
    for i in range(5):
        restore(source, random.Random(i))
    assert source.text().count(".to(") == 1


@pytest.mark.parametrize(
    ("first", "second"), [("quest", "centroid"), ("centroid_gqa", "value_gated"), ("ball", "ball")]
)
def test_crossover_keeps_both_summaries(first, second):
    good, ways = 0, set()
    for i in range(12):
        source, other = Source.parse(zoo.text(first), 64), Source.parse(zoo.text(second), 64)
        before = other.text()
        how = cross(source, other, random.Random(i))
        assert other.text() == before
        graph = loads(source.text())
        good += graph is not None
        ways.add(how)
        assert len(source.fields.keys) == len(Source.parse(zoo.text(first), 64).fields.keys) + len(other.fields.keys)
    assert good == 12
    assert len(ways) >= 3


def test_crossover_with_an_oracle_reads_raw_pages_in_a_second_stage_only():
    texts = []
    for i in range(12):
        source = Source.parse(zoo.text("quest"), 64)
        cross(source, Source.parse(zoo.text("oracle_mass"), 64), random.Random(i))
        texts.append(source.text())
    assert any("refine" in text for text in texts)
    assert all(loads(text) for text in texts)


@pytest.mark.parametrize("name", ["dense", "streaming"])
def test_what_has_no_score_is_not_crossed(name):
    source, other = Source.parse(zoo.text("quest"), 64), Source.parse(zoo.text(name), 64)
    for pair in ((source, other), (other, source)):
        assert cross(*pair, random.Random(0)) is None
        assert "does not end in a choice by score" in obstacle(*pair)


@pytest.mark.parametrize("first", zoo.names())
def test_every_pair_of_the_zoo_crosses_or_says_why_not(first):
    for i, second in enumerate(zoo.names()):
        source, other = Source.parse(zoo.text(first), 64), Source.parse(zoo.text(second), 64)
        why, how = obstacle(source, other), cross(source, other, random.Random(f"{first} {i}"))
        assert bool(why) != bool(how)
        assert why or loads(source.text()), f"{first} and {second}: {how}\n{source.text()}"


def test_what_was_crossed_can_be_crossed_again():
    for i in range(20):
        rng = random.Random(i)
        source, others = Source.parse(zoo.text("quest"), 64), ("ema", "sparq", "ema", "quest")
        for name in others:
            assert cross(source, Source.parse(zoo.text(name), 64), rng)
        assert loads(source.text()), source.text()


def test_values_become_defaults():
    source = Source.parse(zoo.text("quest"), 64)
    source.bake({"pages": 4, "window": 3}, {"window": "Int(2, 1, 64)"})
    program = load_program(source.text())
    assert (program.values["pages"], program.values["window"], program.overrides) == (4, 3, ())


def test_a_text_survives_being_read_and_written():
    for name in zoo.names():
        text = Source.parse(zoo.text(name), 64).text()
        assert loads(text).digest == loads(zoo.text(name)).digest
        assert ast.parse(text)


def test_draws_do_not_depend_on_the_process():
    """Sets are iterated in an order that differs between processes: no decision may hang on it."""
    script = (
        "import random; from search.agents.changing.source import Source;"
        "from search.agents.changing.mutate import mutate;"
        "from search.agents.changing.cross import cross; from search.agents.drawing.generate import generate;"
        "from vortex_dsl import zoo;"
        "s, o = (Source.parse(zoo.text(n), 64) for n in ('quest_sub', 'mass_lse')); r = random.Random(1);"
        "print([mutate(s, r) for _ in range(9)], cross(s, o, r), s.text(), generate(r, 64, 1))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, cwd=ROOT, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert b"class" in outputs.pop()


def test_a_docstring_before_the_imports_is_left_out_of_what_is_written():
    text = zoo.text("centroid")
    assert Source.parse(f'"""A remark."""\n{text}', 64).text() == Source.parse(text, 64).text()
