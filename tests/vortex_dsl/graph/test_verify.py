"""The verifier: each rule is broken once, and what is said names the rule, the node and the pass. So with python -O."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace

import pytest

from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.errors import CompilerError
from vortex_dsl.graph.interner import Interner
from vortex_dsl.graph.verify import RULES, WELL_TYPED, VerifierError, verify
from vortex_dsl.node import Node
from vortex_dsl.values import DIM, HEAD, PAGE, TOKEN, Axis, Type

SHAPE = Shape(group=2, head_dim=16)
QUERY, KEYS, PAGES = (
    Type((Axis(HEAD, 2), Axis(DIM, 16))),
    Type((Axis(TOKEN, 16), Axis(DIM, 16))),
    Type((Axis(PAGE, None),)),
)
GRAPH = trace(load_program(zoo.text("ema")), SHAPE)  # one field, and one state by page
INTERNER = Interner()


def read(name, type_):
    """Make an input."""
    return Node("input", (), (("name", name),), type_)


def stored(value, storage="bfloat16"):
    """Make the field that keeps a value."""
    return INTERNER.field(INTERNER.make("to", (value,), (("storage", storage),)))


def mean(value, *axes):
    return INTERNER.make("mean", (value,), (("axes", axes),))


def choosing(score):
    """Make a graph that chooses by a score over pages and remembers nothing."""
    return replace(GRAPH, selection=INTERNER.make("topk", (score, INTERNER.number(4.0))), updates=())


def scoring(field):
    """Make a graph that chooses by the mean of a field."""
    return choosing(mean(field, *(name for name in field.type.names if name != PAGE)))


def state(index, type_=PAGES):
    return INTERNER.state(type_, 0.0, index)


def twice(leaf):
    """Make another node that is equal to a leaf, as none of an interner is."""
    return Node(leaf.op, leaf.args, leaf.attrs, leaf.type)


CENTER = stored(mean(read("k", KEYS), TOKEN))
SCORE = mean(CENTER, DIM)
BROKEN = {
    "the root is a selection": lambda: replace(GRAPH, selection=GRAPH.selection.args[0]),
    "no value of summarize has the axis page or head": lambda: scoring(stored(read("k", QUERY))),
    "summarize reads only k and v": lambda: scoring(stored(mean(read("q", KEYS), TOKEN))),
    "select reads neither k nor v of summarize": lambda: choosing(
        INTERNER.make("dot", (CENTER, mean(read("k", KEYS), TOKEN)), (("axis", DIM),))
    ),
    "no two fields are equal": lambda: choosing(INTERNER.make("add", (SCORE, mean(twice(CENTER), DIM)))),
    "only states are written": lambda: replace(choosing(SCORE), updates=((CENTER, SCORE),)),
    "no two states have one index": lambda: replace(
        choosing(SCORE), updates=((state(0), SCORE), (state(0, Type()), INTERNER.number(1.0)))
    ),
    "what is written to a state has no axis that the state lacks": lambda: replace(
        choosing(SCORE), updates=((state(0), CENTER),)
    ),
    "every state that is read is written": lambda: replace(GRAPH, updates=()),
}
SUM = INTERNER.make("add", (SCORE, SCORE))
ILL_TYPED = {
    "another type": Node("add", SUM.args, (), Type()),
    "operands that its rule refuses": Node("dot", (SCORE, SCORE), (("axis", DIM),), PAGES),
    "no entry in the table": Node("frobnicate", SUM.args, (), PAGES),
    "a leaf with an operand": Node("input", (SCORE,), (("name", "q"),), PAGES),
    "a field of what is not stored": Node("field", (SCORE,), (), PAGES),
}


def test_a_graph_as_it_should_be_breaks_no_rule():
    for name in zoo.names():
        verify(trace(load_program(zoo.text(name)), SHAPE), "tracing")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.says)
def test_each_rule_is_kept_by_the_verifier(rule):
    graph = BROKEN[rule.says]()
    with pytest.raises(VerifierError) as caught:
        verify(graph, "the pass 'hoist'")
    assert (caught.value.rule, caught.value.after) == (rule.says, "the pass 'hoist'")
    assert caught.value.node in [*rule.broken_by(graph)]


@pytest.mark.parametrize("node", ILL_TYPED.values(), ids=ILL_TYPED)
def test_each_node_has_the_type_of_its_entry(node):
    score = node if node.type == PAGES else Node("add", (SCORE, node), (), PAGES)
    graph = replace(GRAPH, selection=Node("topk", (score, INTERNER.number(4.0)), (), GRAPH.selection.type), updates=())
    with pytest.raises(VerifierError) as caught:
        verify(graph, "tracing")
    assert (caught.value.rule, caught.value.node) == (WELL_TYPED, node)


def test_what_has_been_checked_is_not_typed_again():
    node, checked = ILL_TYPED["another type"], {ILL_TYPED["another type"]}
    score = Node("add", (SCORE, node), (), PAGES)
    graph = replace(GRAPH, selection=Node("topk", (score, INTERNER.number(4.0)), (), GRAPH.selection.type), updates=())
    verify(graph, "tracing", checked)
    assert checked >= {graph.selection, SCORE, CENTER, node}


def test_the_error_says_rule_node_and_pass_and_travels_between_processes():
    error = VerifierError("the root is a selection", SCORE, "the pass 'hoist'")
    told = "after the pass 'hoist' a graph is broken at <mean float[page]>: the root is a selection; "
    assert str(error).startswith(told)
    assert isinstance(error, CompilerError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


OPTIMISED = """
from dataclasses import replace
from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.graph.verify import VerifierError
from vortex_dsl.passes import pipeline

assert False, "python -O removes this"
shape = Shape(group=2, head_dim=16)
print(*(trace(load_program(zoo.text(name)), shape).digest for name in ("ema", "quest")))


def broken(graph):
    return replace(graph, selection=graph.selection.args[0])


pipeline.PASSES = (pipeline.Pass(broken),)
try:
    trace(load_program(zoo.text("ball")), shape)
except VerifierError as error:
    print(error)
"""


def test_python_without_assertions_traces_and_verifies_alike():
    done = subprocess.run(
        [sys.executable, "-O", "-c", OPTIMISED], capture_output=True, text=True, check=True, timeout=60
    )
    digests, told = done.stdout.splitlines()
    assert digests.split() == [trace(load_program(zoo.text(name)), SHAPE).digest for name in ("ema", "quest")]
    assert told.startswith("after the pass 'broken' a graph is broken at <")
