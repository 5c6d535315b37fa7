"""A tape's order of work: composites as their parts, and segments that work once, by blocks, or on chosen pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vortex_dsl.analysis.schedule import is_limited
from vortex_dsl.analysis.stages import mixes_pages
from vortex_dsl.graph.interner import Interner
from vortex_dsl.node import LEAVES, Node, reachable
from vortex_dsl.ops import ENTRIES
from vortex_dsl.ops.op import Parts
from vortex_dsl.values import PAGE, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vortex_dsl.graph.graph import Graph


@dataclass(frozen=True)
class Roots:
    """What a program has to compute: its selection, and the new values of states, by the state's leaf."""

    selection: Node
    updates: tuple[tuple[Node, Node], ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Give select's nodes, operands first."""
        return reachable((self.selection, *(value for _, value in self.updates)), stop="field")


def simplified(graph: Graph) -> Roots:
    """Give select without composites: each is made of its parts, as its entry in the table says.

    A reduction over pages and other axes goes over the others first, page by page.
    """
    pool = Interner(max_operations=None)
    made: dict[Node, Node] = {}

    def simple(node: Node) -> Node:
        """Give the parts of a node whose operands are simple."""
        entry = ENTRIES[node.op].tape
        if not isinstance(entry, Parts):
            return _by_page_last(pool, node)
        whole = entry.made(pool, node)
        for part in reachable((whole,), stop="field"):
            if part not in settled:
                settled[part] = part if part.op in LEAVES else simple(_renewed(pool, part, settled))
        return settled[whole]

    settled: dict[Node, Node] = {}
    for node in graph.select_nodes:
        if node.op in LEAVES:
            made[node] = node
            pool.keep(node)
        else:
            made[node] = simple(_renewed(pool, node, made))
        settled[made[node]] = made[node]
    return Roots(made[graph.selection], tuple((made.get(leaf, leaf), made[value]) for leaf, value in graph.updates))


def _renewed(pool: Interner, node: Node, made: Mapping[Node, Node]) -> Node:
    """Give a node over the operands that were made of its own."""
    return pool.make(node.op, tuple(made[arg] for arg in node.args), node.attrs)


def _by_page_last(pool: Interner, node: Node) -> Node:
    attrs: dict[str, Any] = dict(node.attrs)
    if PAGE not in attrs.get("axes", ()):
        return node
    others = tuple(name for name in node.attr("axes") if name != PAGE)
    if not others:
        return node
    inner = pool.make(node.op, node.args, (("axes", others),))
    return pool.make(node.op, (inner,), (("axes", (PAGE,)),))


@dataclass(frozen=True)
class Segment:
    """Nodes that are computed together, operands first: by blocks of pages, or else once.

    among: the selection whose pages alone are worked on, None for all.
    """

    by_blocks: bool
    among: Node | None
    nodes: list[Node] = field(default_factory=list)


def segments_of(roots: Roots) -> tuple[Segment, ...]:
    """Cut select into segments, each of which needs only leaves and what those before it computed.

    Even rounds are performed once, and mix pages or have none; odd ones go page by page, on all pages first.
    """
    limited, rounds = _limited(roots), dict[Node, int]()
    found: dict[tuple[int, int], Segment] = {}
    order: list[Node | None] = [None]
    for node in roots.nodes:
        if node.op in LEAVES:
            continue
        among = limited.get(node)
        if among not in order:
            order.append(among)
        before = [(rounds[arg], limited.get(arg)) for arg in (*node.args, *([among] if among else [])) if arg in rounds]
        rounds[node] = _round(before, among, by_blocks=is_page_wise(node))
        key = (rounds[node], order.index(among))
        found.setdefault(key, Segment(is_page_wise(node), among)).nodes.append(node)
    return tuple(found[key] for key in sorted(found))


def _round(before: Sequence[tuple[int, Node | None]], among: Node | None, *, by_blocks: bool) -> int:
    """Give the first round in which a node can run, whose operands run in these rounds, on pages of those."""
    least = max((turn + (by_blocks and turn % 2 and other is not among) for turn, other in before), default=0)
    return int(least) + (int(least) % 2 != by_blocks)


def is_page_wise(node: Node) -> bool:
    """Whether a node is computed of each page for itself."""
    return PAGE in node.type.names and node.type.kind is not Kind.SELECTION and not mixes_pages(node)


def _limited(roots: Roots) -> dict[Node, Node]:
    """Give page-wise nodes that nothing but one refinement's score needs, and the selection that it refines."""
    selections = [node for node in roots.nodes if node.type.kind is Kind.SELECTION]
    wanted: dict[Node, set[Node | None]] = {}
    for value in (value for _, value in roots.updates):
        _want(wanted, value, None)
    for selection in selections:
        values = [arg for arg in selection.args if arg.type.kind is not Kind.SELECTION]
        for i, value in enumerate(values):
            _want(wanted, value, selection.args[0] if i == 0 and is_limited(selection) else None)
    only = {node: next(iter(among)) for node, among in wanted.items() if len(among) == 1 and is_page_wise(node)}
    return {node: selection for node, selection in only.items() if selection is not None}


def _want(wanted: dict[Node, set[Node | None]], value: Node, among: Node | None) -> None:
    for node in reachable((value,), stop="field"):
        if node.op not in LEAVES:
            wanted.setdefault(node, set()).add(among)
