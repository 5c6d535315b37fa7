"""The typed graph of a program: what every backend, the cost model and the verifier read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vortex_dsl.node import LEAVES, Node, reachable
from vortex_dsl.values import PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from vortex_dsl.values import Shape, Type

SETTINGS = ("sink", "window", "page_size", "dense_layers", "share_layers", "refresh_steps")
PAGE_VALUES = ("k", "v", "index", "count", "reserved")  # what `page` has in select beside fields and states
# Inputs of select that are a page's keys and values themselves, by what summarize calls them.
RAW_PAGES = {"page.k": "k", "page.v": "v"}


@dataclass(frozen=True)
class Field:
    """A field of the page summary. `leaf` is what select reads, `node` what summarize computes."""

    index: int
    leaf: Node

    @property
    def name(self) -> str:
        """Give the canonical name; the one in the text does not matter."""
        return f"field{self.index}"

    @property
    def node(self) -> Node:
        """Give the value before it is stored."""
        return self.as_read.args[0]

    @property
    def as_read(self) -> Node:
        """Give the value as select reads it."""
        return self.leaf.args[0]

    @property
    def storage(self) -> str:
        """Give the storage kind."""
        return self.as_read.attr("storage")

    @property
    def type(self) -> Type:
        """Give the type of one page's field: its own axes, without `page`."""
        return self.node.type


@dataclass(frozen=True)
class State:
    """What is remembered of a request from one choice to the next: `leaf` is what select reads, `update` writes it."""

    leaf: Node
    update: Node

    @property
    def index(self) -> int:
        """Give its place in the order of states."""
        return self.leaf.attr("index")

    @property
    def init(self) -> float:
        """Give what every element is before it is first written."""
        return self.leaf.attr("init")

    @property
    def type(self) -> Type:
        """Give its type: axes from page, head and dim."""
        return self.leaf.type

    @property
    def paged(self) -> bool:
        """Whether it has one entry per page; then pages come first."""
        return PAGE in self.type.names

    def fresh(self, rows: int, max_pages: int, device: torch.device) -> torch.Tensor:
        """Give the state of rows whose requests have not chosen yet: float32 [rows, *axes]."""
        import torch

        lengths = (max_pages if axis.length is None else axis.length for axis in self.type.axes)
        return torch.full((rows, *lengths), self.init, device=device)


@dataclass(frozen=True, eq=False)
class Graph:
    """A canonical program. Its roots are `selection` and what is written to states.

    Leaves named "field" hang summarize below select. A leaf's operation is "input" (attribute `name`, as given to
    Builder.input), "constant" (a number), "field" (one of `fields`; its operand belongs to summarize) or "state"
    (one of `states`). `updates` are pairs of a state's leaf and the value that it is given when pages are chosen.
    `dead` are operations that no root needs, before a pass has left them out; `identity` is the digest of the
    program where later passes have fitted the graph to one shape of model.
    """

    selection: Node
    updates: tuple[tuple[Node, Node], ...]
    shape: Shape
    sink: int
    window: int
    page_size: int
    dense_layers: int
    share_layers: int
    refresh_steps: int
    dead: tuple[Node, ...] = ()
    identity: str = ""

    @property
    def roots(self) -> tuple[Node, ...]:
        """Give the selection and the new values of states."""
        return (self.selection, *(value for _, value in self.updates))

    @cached_property
    def states(self) -> tuple[State, ...]:
        """Give the states in canonical order."""
        return tuple(sorted((State(*update) for update in self.updates), key=lambda state: state.index))

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Give the fields that select reads, in canonical order; equal ones are one."""
        leaves = {node for node in reachable(self.roots) if node.op == "field"}
        return tuple(Field(i, leaf) for i, leaf in enumerate(sorted(leaves, key=lambda leaf: leaf.digest)))

    @property
    def stored(self) -> tuple[str, ...]:
        """Identify what is stored of a page: graphs of one shape and page size store the same where this is equal."""
        return tuple(field.leaf.digest for field in self.fields)

    @cached_property
    def summary_nodes(self) -> tuple[Node, ...]:
        """Give summarize's nodes, operands first."""
        return reachable(tuple(field.node for field in self.fields))

    @cached_property
    def select_nodes(self) -> tuple[Node, ...]:
        """Give select's nodes, operands first; a field is a leaf here."""
        return reachable(self.roots, stop="field")

    @cached_property
    def inputs(self) -> frozenset[str]:
        """Give the names of the inputs that select reads."""
        return frozenset(node.attr("name") for node in self.select_nodes if node.op == "input")

    @property
    def num_operations(self) -> int:
        """Count the operations of summarize and select."""
        return sum(node.op not in LEAVES for node in reachable(self.roots))

    def field(self, leaf: Node) -> Field:
        """Give the field that a "field" leaf reads."""
        return next(field for field in self.fields if field.leaf is leaf)

    def is_reserved(self, index: Any, count: Any) -> Any:
        """Tell which pages are always attended: sink and window, by index, of `count` with the partial one.

        Of numbers or tensors, which broadcast. The kernels' twins of it are tested against it.
        """
        return (index < self.sink) | (index >= count - self.window)

    @property
    def settings(self) -> tuple[tuple[str, int], ...]:
        """Give the values of the six platform tunables."""
        return tuple((name, getattr(self, name)) for name in SETTINGS)

    @cached_property
    def digest(self) -> str:
        """Identity of what the program does, whatever the model's shape: 16 hex digits."""
        if self.identity:
            return self.identity
        text = f"{self.selection.digest}{[state.update.digest for state in self.states]}{self.settings!r}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def listing(self) -> str:
        """Give the program as a text to read, operation by operation; dead code last."""
        names: dict[Node, str] = {}
        lines = ["summarize(k, v):", *_listing(self.summary_nodes, names)]
        for field in self.fields:
            lines.append(f"  {field.name} = {names[field.node]} as {field.storage}")
            names[field.leaf] = f"page.{field.name}"
        lines += ["select(q, page):", *_listing(self.select_nodes, names), f"  return {names[self.selection]}"]
        _listing(tuple(state.leaf for state in self.states), names)  # those too that are written and never read
        lines += [f"  {names[state.leaf]} becomes {names[state.update]}" for state in self.states]
        dead = _listing(reachable(self.dead), names)
        return "\n".join([*lines, *(["never needed:", *dead] if dead else [])])

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings)
        return f"graph {self.digest} ({settings})\n{self.listing}"


def _listing(nodes: tuple[Node, ...], names: dict[Node, str]) -> list[str]:
    lines = []
    for node in nodes:
        if node in names:
            continue
        if node.op == "input":
            names[node] = node.attr("name")
        elif node.op == "state":
            names[node] = f"page.state{node.attr('index')}"
        elif node.number is not None:
            names[node] = f"{node.number:g}"
        else:
            names[node] = f"%{1 + sum(name.startswith('%') for name in names.values())}"
            lines.append(f"  {names[node]}: {node.type} = {_expression(node, names)}")
    return lines


def _expression(node: Node, names: Mapping[Node, str]) -> str:
    attrs = [f"{name}={value!r}" if len(repr(value)) < 60 else f"{name}=…" for name, value in node.attrs]
    return f"{node.op}({', '.join([names[arg] for arg in node.args] + attrs)})"
