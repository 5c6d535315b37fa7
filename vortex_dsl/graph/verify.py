"""What every graph keeps, as one table of rules: checked when it is built and after every pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vortex_dsl.errors import CompilerError
from vortex_dsl.node import LEAVES, Node, reachable
from vortex_dsl.ops import ENTRIES
from vortex_dsl.values import HEAD, PAGE, Kind, TypeRuleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vortex_dsl.graph.graph import Graph


class VerifierError(CompilerError):
    """A graph breaks a rule. Says which rule, at which node, and after what."""

    def __init__(self, rule: str, node: Node, after: str) -> None:
        super().__init__(rule, node, after)
        self.rule = rule
        self.node = node
        self.after = after

    def __str__(self) -> str:
        return f"after {self.after} a graph is broken at {self.node!r}: {self.rule}; this is an error of the compiler"


@dataclass(frozen=True)
class Rule:
    """One rule: what holds, and which nodes of a graph break it."""

    says: str
    broken_by: Callable[[Graph], Iterable[Node]]


def _chooses_nothing(graph: Graph) -> list[Node]:
    return [] if graph.selection.type.kind is Kind.SELECTION else [graph.selection]


def _wide_in_summarize(graph: Graph) -> list[Node]:
    return [node for node in graph.summary_nodes if {PAGE, HEAD} & set(node.type.names)]


def _read_by_summarize(graph: Graph) -> list[Node]:
    return [node for node in graph.summary_nodes if node.op == "input" and node.attr("name") not in ("k", "v")]


def _read_by_select(graph: Graph) -> list[Node]:
    return [node for node in graph.select_nodes if node.op == "input" and node.attr("name") in ("k", "v")]


def _equal_fields(graph: Graph) -> list[Node]:
    number = Counter(field.leaf.digest for field in graph.fields)
    return [field.leaf for field in graph.fields if number[field.leaf.digest] > 1]


def _written_but_no_state(graph: Graph) -> list[Node]:
    return [leaf for leaf, _ in graph.updates if leaf.op != "state"]


def _states_of_one_index(graph: Graph) -> list[Node]:
    number = Counter(leaf.attr("index") for leaf, _ in graph.updates)
    return [leaf for leaf, _ in graph.updates if number[leaf.attr("index")] > 1]


def _too_wide_for_its_state(graph: Graph) -> list[Node]:
    return [value for leaf, value in graph.updates if not set(value.type.axes) <= set(leaf.type.axes)]


def _read_but_never_written(graph: Graph) -> list[Node]:
    written = {leaf for leaf, _ in graph.updates}
    return [node for node in graph.select_nodes if node.op == "state" and node not in written]


def _ill_typed(node: Node) -> bool:
    """Say whether a node's type is not what the operation table gives, and whether a leaf has wrong operands."""
    if node.op in LEAVES:
        return [arg.op for arg in node.args] != ["to"] * (node.op == "field")
    if node.op not in ENTRIES:
        return True
    try:
        return ENTRIES[node.op].rule(tuple(arg.type for arg in node.args), dict(node.attrs)) != node.type
    except TypeRuleError:
        return True


WELL_TYPED = "a node has the operands and the type that its entry in the operation table gives"
RULES = (
    Rule("the root is a selection", _chooses_nothing),
    Rule("no value of summarize has the axis page or head", _wide_in_summarize),
    Rule("summarize reads only k and v", _read_by_summarize),
    Rule("select reads neither k nor v of summarize", _read_by_select),
    Rule("no two fields are equal", _equal_fields),
    Rule("only states are written", _written_but_no_state),
    Rule("no two states have one index", _states_of_one_index),
    Rule("what is written to a state has no axis that the state lacks", _too_wide_for_its_state),
    Rule("every state that is read is written", _read_but_never_written),
)


def verify(graph: Graph, after: str, checked: set[Node] | None = None) -> None:
    """Check a graph that has just come out of `after`. Raises VerifierError for the first rule that is broken.

    `checked` remembers operations from one call to the next, which need not be typed again: nodes never change.
    """
    checked = set() if checked is None else checked
    nodes = reachable(graph.roots)
    for node in nodes:
        if node not in checked and _ill_typed(node):
            raise VerifierError(WELL_TYPED, node, after)
    checked.update(nodes)
    for rule in RULES:
        for node in rule.broken_by(graph):
            raise VerifierError(rule.says, node, after)
