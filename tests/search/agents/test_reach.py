"""What the grammar reaches: every operation that a program can write, every tunable, every kind of storage."""

import ast
import random

import pytest

from search.agents.changing import subtrees
from search.agents.changing.mutate import OPERATORS
from search.agents.changing.source import Source
from search.agents.drawing.generate import generate
from vortex_dsl import ProgramError, Shape, load_program, trace
from vortex_dsl.analysis.cost import cost_of
from vortex_dsl.frontend.syntax import OPERATORS as WRITTEN_AS
from vortex_dsl.ops import OPS
from vortex_dsl.storage import KINDS
from vortex_dsl.tunables import PLATFORM_TUNABLES

SHAPE = Shape(group=3, head_dim=64)
NUM_DRAWS = 700
NUM_JUDGED = 250
NUM_CHANGES = 16  # of each operator
MAX_ATTEMPTS = 400  # some operators apply to few programs
NUM_APPLIED = 250  # enough for each elementwise operation of the table to be drawn


def graph_of(text):
    try:
        return trace(load_program(text), SHAPE)
    except ProgramError:
        return None


@pytest.fixture(scope="module")
def drawn():
    return [generate(random.Random(i), SHAPE.head_dim, i) for i in range(NUM_DRAWS)]


@pytest.fixture(scope="module")
def changed(drawn):
    """Texts by operator."""
    texts = {operator: [] for operator, _ in OPERATORS}
    for place, (operator, made) in enumerate(texts.items()):
        wanted = NUM_APPLIED if operator is subtrees.apply else NUM_CHANGES
        for i in range(MAX_ATTEMPTS):
            if len(made) == wanted:
                break
            rng = random.Random(1000 * place + i)
            source = Source.parse(rng.choice(drawn), SHAPE.head_dim)
            if operator(source, rng):
                made.append(source.text())
    return texts


def words_of(text):
    """Name the operations that a text writes, by the names of the table."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            yield node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        for sign in (getattr(node, "op", None), *getattr(node, "ops", ())):
            yield WRITTEN_AS.get(type(sign), "")


def test_every_operation_is_written(drawn, changed):
    texts = [*drawn, *(text for made in changed.values() for text in made)]
    missing = set(OPS)
    for text in texts:
        new = missing & set(words_of(text))
        missing -= new if new and graph_of(text) else set()
    assert missing == set()


def test_every_kind_of_storage_and_every_input_is_used(drawn):
    words = "\n".join(drawn)
    assert [kind for kind in KINDS if kind != "bfloat16" and f'.to("{kind}")' not in words] == []
    inputs = ("page.index", "page.count", "page.reserved", "page.k", "layer.index", "layer.count", "kv_head.index")
    assert [name for name in inputs if name not in words] == []
    assert [name for name in PLATFORM_TUNABLES if name != "page_size" and f"{name} = " not in words] == []


def test_what_starts_an_engine_of_its_own_is_rare(drawn):
    rare = ("State(", "share_layers = ", "refresh_steps = ")
    assert sum(any(word in text for word in rare) for text in drawn) <= 0.15 * NUM_DRAWS
    assert not any("page_size = " in text for text in drawn)


def test_draws_waste_few_evaluations(drawn, capsys):
    """Equal in digest, too large for the engine, or hopeless by the cost model."""
    graphs = [graph_of(text) for text in drawn[:NUM_JUDGED]]
    assert None not in graphs
    costs = [cost_of(graph, 8000) for graph in graphs]
    equal = len(graphs) - len({graph.digest for graph in graphs})
    large = sum(cost.bytes_per_page > 16 * SHAPE.head_dim for cost in costs)
    hopeless = sum(cost.ratio <= 1.1 for cost in costs)
    with capsys.disabled():
        print(f"of {NUM_JUDGED} draws: {equal} equal, {large} too large, {hopeless} hopeless")
    assert equal <= 5
    assert large <= 5
    assert hopeless <= 5


@pytest.mark.parametrize("operator", [operator for operator, _ in OPERATORS], ids=lambda each: each.__name__)
def test_most_changes_load(operator, changed):
    texts = changed[operator][:NUM_CHANGES]
    good = sum(graph_of(text) is not None for text in texts)
    assert len(texts) >= 5
    assert good >= 0.75 * len(texts)


def test_an_operation_of_the_table_is_applied_without_being_named(monkeypatch):
    """A new elementwise entry needs no line in the proposer."""
    named = {op.name for op in subtrees.ELEMENTWISE}
    assert {op.name for op in OPS.values() if op.kind == "function" and op.fold} <= named
    monkeypatch.setattr(subtrees, "ELEMENTWISE", (OPS["silu"],))
    source = Source.parse(generate(random.Random(1), 64, 1), 64)
    assert "silu(" in subtrees.apply(source, random.Random(1))
