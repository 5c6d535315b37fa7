"""Building a typed, hash-consed, canonical graph from the operations that a program performs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vortex_dsl.errors import did_you_mean
from vortex_dsl.graph.binding import attribute, bind, is_number, seen
from vortex_dsl.graph.graph import PAGE_VALUES, SETTINGS, Graph
from vortex_dsl.graph.interner import Interner
from vortex_dsl.node import LEAVES, Node, reachable
from vortex_dsl.ops import OPS
from vortex_dsl.ops.op import Take
from vortex_dsl.values import DIM, HEAD, PAGE, TOKEN, Axis, Kind, Type, TypeRuleError, ordered, show_axes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vortex_dsl.tunables import State
    from vortex_dsl.values import Shape

MAX_SELECTIONS = 64  # in one, each counted as often as it is used: backends may choose once per use


class Builder:
    """Turns calls of operations into nodes: first summarize's, then `declare`, then select's, then `raw`.

    `states` are the program's, by name.
    """

    def __init__(self, shape: Shape, page_size: int, states: Mapping[str, State] | None = None) -> None:
        self.shape = shape
        self._interner = Interner()
        self._fields: dict[str, Node] = {}
        page, head = Axis(PAGE, None), Axis(HEAD, shape.group)
        token, dim = Axis(TOKEN, page_size), Axis(DIM, shape.head_dim)
        axes = {axis.name: axis for axis in (page, head, dim)}
        self._states = {
            name: self._interner.state(Type(ordered(tuple(axes[axis] for axis in state.axes))), state.init, i)
            for i, (name, state) in enumerate((states or {}).items())
        }
        self._inputs = {
            "k": Type((token, dim)),
            "v": Type((token, dim)),
            "q": Type((head, dim)),
            "page.k": Type((page, token, dim)),
            "page.v": Type((page, token, dim)),
            "page.index": Type((page,)),
            "page.reserved": Type((page,), Kind.BOOL),
            **dict.fromkeys(("page.count", "layer.index", "layer.count", "kv_head.index", "scale"), Type()),
        }

    def input(self, name: str) -> Node:
        """Give an input by name (`k`, `q`, `page.index`, `scale`, …) or a declared field as `page.<field>`."""
        if name in self._inputs:
            return self._interner.leaf("input", self._inputs[name], attrs=(("name", name),))
        field = name.removeprefix("page.")
        if field in self._fields:
            return self._interner.field(self._fields[field])
        if field in self._states:
            return self._states[field]
        own = (f"page.{name}" for name in (*self._fields, *self._states))
        known = [*(name for name in self._inputs if "." in name), *own]
        message = f"'{name}' is nothing that a program receives" + did_you_mean(name, known)
        raise TypeRuleError(message)

    @property
    def fields(self) -> Mapping[str, Node]:
        """Give what was declared, by name."""
        return self._fields

    def declare(self, fields: Mapping[str, Any]) -> None:
        """Say what summarize returned, so that select can read it; bfloat16 where no kind was said."""
        for name, value in fields.items():
            if name in PAGE_VALUES:
                message = f"a field may not be called '{name}', the platform gives that name to pages; choose another"
                raise TypeRuleError(message)
            if name in self._states:
                message = f"'{name}' is a field and a state, and page.{name} can be only one; rename one of them"
                raise TypeRuleError(message)
            self._fields[name] = self._stored(name, self._operand(value))

    def _stored(self, name: str, node: Node) -> Node:
        if {PAGE, HEAD} & set(node.type.names) or node.type.kind is Kind.SELECTION:
            message = f"the field '{name}' is {node.type}; summarize may only use one page's k and v"
            raise TypeRuleError(message)
        return node if node.op == "to" else self._interner.record("to", (node,), (("storage", "bfloat16"),))

    def call(self, name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Node:
        """Perform one operation; known numbers that meet a value become float32 constants."""
        op = OPS[name]
        bound = bind(op, args, kwargs or {})
        operands, attrs = [], []
        for param in op.params:
            value = bound[param.name]
            if param.take in (Take.VALUE, Take.SELECTION):
                operands.append(self._operand(value, op.name))
            elif param.take is Take.VALUES:
                operands += [self._operand(each, op.name) for each in value]
            elif param.take is Take.STATES:
                operands += [node for state in value.items() for node in self._written(*state)]
            else:
                attrs.append((param.name, attribute(op, param, value)))
        return self._interner.record(name, tuple(operands), tuple(attrs))

    def _written(self, name: str, value: Any) -> tuple[Node, Node]:
        """Give a state that is written, and the value."""
        if name not in self._states:
            near = did_you_mean(name, [*self._states]) or f"; declare it in the class: {name} = State()"
            raise TypeRuleError(f"'remember' of {name!r}, which is no state of the program{near}")
        return self._states[name], self._operand(value, "remember")

    def _operand(self, value: Any, op: str = "a field") -> Node:
        if isinstance(value, Node):
            return value
        if is_number(value):
            return self._interner.number(value)
        message = f"'{op}' of {seen(value)}; an operand must be a value or a known number"
        if isinstance(value, list | tuple):
            message += "; make a list of numbers a value with vector(numbers, axis)"
        raise TypeRuleError(message)

    def raw(self, fields: Mapping[str, Any], selection: Node, settings: Mapping[str, int]) -> Graph:
        """Close the graph as the program wrote it: check the result.

        `fields` is what summarize returned (again), `settings` the values of the six platform tunables.
        """
        if list(fields) != list(self._fields):
            self.declare(fields)
        updates: tuple[tuple[Node, Node], ...] = ()
        if isinstance(selection, Node) and selection.op == "remember":
            selection, *pairs = selection.args
            updates = tuple(zip(pairs[::2], pairs[1::2], strict=True))
        if not isinstance(selection, Node) or selection.type.kind is not Kind.SELECTION:
            seen = f"a value with axes {show_axes(selection.type)}" if isinstance(selection, Node) else repr(selection)
            message = f"select returns {seen:.60}; return a selection such as topk(score, self.pages)"
            raise TypeRuleError(message)
        _require_few_selections(selection)
        numbers = {name: int(settings[name]) for name in SETTINGS}
        graph = Graph(selection, updates, self.shape, dead=(), identity="", **numbers)
        self._require_written(graph)
        live = {*reachable(graph.roots), *self._states.values()}
        dead = tuple(node for node in self._interner.nodes if node not in live and node.op not in LEAVES)
        return replace(graph, dead=tuple(node for node in dead if node.op != "remember"))

    def _require_written(self, graph: Graph) -> None:
        """Refuse a state that is read and never written: it would only be a number."""
        read = {node for node in graph.select_nodes if node.op == "state"}
        for name, leaf in self._states.items():
            if leaf in read and leaf not in dict(graph.updates):
                message = f"the state '{name}' is read but never written; return topk(...).remember({name}=value)"
                raise TypeRuleError(message)


def _require_few_selections(root: Node) -> None:
    """Refuse a selection that is made of very many: shared ones double with every union of them."""
    count: dict[Node, int] = {}
    for node in reachable((root,)):
        count[node] = sum(count[arg] for arg in node.args) + 1 if node.type.kind is Kind.SELECTION else 0
    if count[root] > MAX_SELECTIONS:
        message = f"select combines more than {MAX_SELECTIONS} selections, one used twice counted twice; combine fewer"
        raise TypeRuleError(message)
