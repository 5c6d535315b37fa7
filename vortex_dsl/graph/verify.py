"""Rules that every graph keeps, checked when it is built and after every pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.node import LEAVES, Node, reachable
from vortex_dsl.ops import ENTRIES
from vortex_dsl.values import HEAD, PAGE, Kind

if TYPE_CHECKING:
    from vortex_dsl.graph.graph import Graph


def verify(graph: Graph, checked: set[Node] | None = None) -> None:
    """Check a graph; an assertion that fails here is a bug of ours, never of a program.

    `checked` remembers operations from one call to the next, which need not be looked at again: nodes never change.
    """
    assert graph.selection.type.kind is Kind.SELECTION, "the root is no selection"
    checked = set() if checked is None else checked
    for node in reachable(graph.roots):
        if node not in checked:
            _verify_node(node)
    checked.update(reachable(graph.roots))
    _verify_states(graph)
    for node in graph.summary_nodes:
        assert not {PAGE, HEAD} & set(node.type.names), f"summarize holds {node.type}"
        assert node.op != "input" or node.attr("name") in ("k", "v"), f"summarize reads {node.attr('name')}"
    assert not {"k", "v"} & graph.inputs, "select reads summarize's inputs"
    assert len({field.leaf.digest for field in graph.fields}) == len(graph.fields), "two fields are equal"


def _verify_states(graph: Graph) -> None:
    leaves = [leaf for leaf, _ in graph.updates]
    assert all(leaf.op == "state" for leaf in leaves), "what is written is no state"
    assert len({leaf.attr("index") for leaf in leaves}) == len(leaves), "two states have one index"
    for leaf, value in graph.updates:
        assert set(value.type.axes) <= set(leaf.type.axes), f"{value!r} does not fit into {leaf!r}"
    read = {node for node in graph.select_nodes if node.op == "state"}
    assert read <= set(leaves), "a state is read and never written"


def _verify_node(node: Node) -> None:
    """Check that a node's type is what its rule gives, and that stored values only feed fields."""
    if node.op in LEAVES:
        is_field = node.op == "field"
        assert [arg.op for arg in node.args] == ["to"] * is_field, f"the leaf {node!r} has operands {node.args}"
        return
    type_ = ENTRIES[node.op].rule(tuple(arg.type for arg in node.args), dict(node.attrs))
    assert type_ == node.type, f"{node!r} should be {type_}"
