"""Which pages a backend must attend to and which it may: by the scores of a program in float64.

Sums of floats depend on their order, so backends may differ in pages whose score lies next to the cut, and in no
others. Import by `importlib.util.spec_from_file_location`, as the tests beside this file do.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vortex_dsl.backends import reference
from vortex_dsl.ops import ENTRIES
from vortex_dsl.ops.frame import Frame, numeric
from vortex_dsl.ops.selection import _mass, _room
from vortex_dsl.values import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.node import Node

TOLERANCE = 1e-5  # of a score, relative to it and to the largest finite one of its row
ROUNDING = (  # transcendentals, quotients and roots: backends may round them differently
    "div", "pow", "exp", "log", "sqrt", "sigmoid", "silu", "tanh", "norm", "logsumexp", "softmax", "normalize", "topp",
)  # fmt: skip
EXACT_KINDS = ("bfloat16", "float16", "float32", "fp8_e4m3", "sign")  # int8 and int4 divide by a scale


def is_exact(graph: Graph) -> bool:
    """Whether a program has no transcendental, quotient or root, a mean over a power of two aside."""
    nodes = (*graph.summary_nodes, *graph.select_nodes)
    kinds = {field.storage for field in graph.fields} | {n.attr("storage") for n in nodes if n.op == "to"}
    return not any(node.op in ROUNDING or _divides(node) for node in nodes) and kinds <= set(EXACT_KINDS)


def _divides(node: Node) -> bool:
    if node.op not in ("mean", "var"):
        return False
    axes = [axis for axis in node.args[0].type.axes if axis.name in node.attr("axes")]
    return any(axis.length is None or axis.length & (axis.length - 1) for axis in axes)


States = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Row:
    """One sequence and KV head at one step, all float32.

    q: [head, dim]; k, v: [length, dim]; states: what the last verdict of this row gave, None at the first choice.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    place: reference.Place
    states: tuple[States, States] | None = None


@dataclass(frozen=True)
class Verdict:
    """Candidates chosen whatever the order of sums, and in some order: bool [complete pages] each.

    `exact`: no sum was rounded, so there is one right choice. `states`: written by this choice, in both precisions.
    """

    must: torch.Tensor
    may: torch.Tensor
    exact: bool
    states: tuple[States, States] | None = None

    def objection(self, graph: Graph, attended: torch.Tensor) -> str:
        """Say what is wrong with the pages attended at a length, nothing if they are right. attended: bool [N]."""
        must, may = (self._with_reserved(graph, chosen, attended) for chosen in (self.must, self.may))
        missing, surplus = (must & ~attended).nonzero()[:, 0].tolist(), (attended & ~may).nonzero()[:, 0].tolist()
        return ", ".join([f"without pages {missing}"] * bool(missing) + [f"with pages {surplus}"] * bool(surplus))

    def _with_reserved(self, graph: Graph, chosen: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        index = torch.arange(len(attended))
        all_pages = (index < graph.sink) | (index >= len(attended) - graph.window)
        all_pages[: len(chosen)] |= chosen
        return all_pages


def judge(graph: Graph, row: Row) -> Verdict:
    """Evaluate a row in float64 and say which candidates are beyond doubt."""
    reserved = reference.reserved_pages(graph, row.k.shape[0])
    complete = row.k.shape[0] // graph.page_size
    none = torch.zeros(complete, dtype=torch.bool)
    before = _states(graph, row, complete)
    if complete == 0:
        return Verdict(none, none, True, before)
    candidates = ~reserved[:complete]
    both = zip((torch.float32, torch.float64), before, strict=True)
    single, double = (_values(graph, row, reserved, dtype, states) for dtype, states in both)
    exact = is_exact(graph) and all(torch.equal(single[n].double(), double[n].double()) for n in double)
    must, may = none, none
    if bool(candidates.any()):
        must, may = _Bounds(single, double, candidates).of(graph.selection, exact=exact)
    return Verdict(must, may, exact, (_written(graph, single, before[0]), _written(graph, double, before[1])))


def judge_steps(
    graph: Graph, qs: torch.Tensor, ks: torch.Tensor, vs: torch.Tensor, prompt_tokens: int, scale: float
) -> dict[tuple[int, int, int, int], Verdict | None]:
    """Judge what `decode` does, by step, layer, sequence and KV head; None for dense layers. Shapes as of `decode`."""
    layers, batch, num_kv_heads = ks.shape[:3]
    grouped = qs.unflatten(3, (num_kv_heads, -1))
    verdicts: dict[tuple[int, int, int, int], Verdict | None] = {}
    periods: dict[int, int] = {}
    for step, layer in itertools.product(range(qs.shape[0]), range(layers)):
        length = prompt_tokens + step + 1
        first = layer - (layer - graph.dense_layers) % graph.share_layers
        renews = layer == first and periods.get(layer) != length // graph.refresh_steps
        if renews:
            periods[layer] = length // graph.refresh_steps
        for i, head in itertools.product(range(batch), range(num_kv_heads)):
            last = verdicts.get((step - 1, layer, i, head))
            place = reference.Place(layer, layers, head, scale)
            k, v = ks[layer, i, head, :length], vs[layer, i, head, :length]
            row = Row(grouped[step, layer, i, head], k, v, place, last.states if last else None)
            if layer < graph.dense_layers:
                verdicts[step, layer, i, head] = None
            elif layer != first:
                verdicts[step, layer, i, head] = verdicts[step, first, i, head]
            else:
                verdicts[step, layer, i, head] = judge(graph, row) if renews else last
    return verdicts


def _states(graph: Graph, row: Row, complete: int) -> tuple[States, States]:
    """Give the states before a choice for as many pages as there are now, new ones as they start."""
    given = row.states or ((None,) * len(graph.states),) * 2
    single, double = (
        tuple(reference.grown(state, x, complete).to(dtype) for state, x in zip(graph.states, states, strict=True))
        for dtype, states in zip((torch.float32, torch.float64), given, strict=True)
    )
    return single, double


def _written(graph: Graph, values: Mapping[Node, torch.Tensor], before: States) -> States:
    """Give the states after a choice, with the axes of the state."""
    frame = Frame(0)
    return tuple(
        numeric(frame.align(values[state.update], state.update.type, state.type)).expand_as(x).clone()
        for state, x in zip(graph.states, before, strict=True)
    )


def _values(
    graph: Graph, row: Row, reserved: torch.Tensor, dtype: torch.dtype, states: States
) -> dict[Node, torch.Tensor]:
    """Compute every node of select that is no selection, in one floating type. Fields as they are stored."""
    complete, size = row.k.shape[0] // graph.page_size, graph.page_size
    k, v = (x[: complete * size].to(dtype).unflatten(0, (complete, size)) for x in (row.k, row.v))
    summary = {node: {"k": k, "v": v}[node.attr("name")] for node in graph.summary_nodes if node.op == "input"}
    stored = tuple(field.leaf.args[0] for field in graph.fields)
    _evaluate((*graph.summary_nodes, *stored), summary, Frame(lead=1), dtype)
    env = {field.leaf: _every_page(summary[field.leaf.args[0]], complete) for field in graph.fields}
    env |= {state.leaf: x for state, x in zip(graph.states, states, strict=True)}
    given = _inputs(row, reserved[:complete], (k, v), dtype)
    env |= {node: given[node.attr("name")] for node in graph.select_nodes if node.op == "input"}
    numeric_nodes = [node for node in graph.select_nodes if node.type.kind is not Kind.SELECTION]
    _evaluate(numeric_nodes, env, Frame(0, candidates=~reserved[:complete]), dtype)
    return {node: env[node] for node in numeric_nodes}


def _every_page(x: torch.Tensor, pages: int) -> torch.Tensor:
    return x.expand(pages, *x.shape[1:])


def _inputs(
    row: Row, reserved: torch.Tensor, pages: tuple[torch.Tensor, torch.Tensor], dtype: torch.dtype
) -> Mapping[str, torch.Tensor]:
    place, count = row.place, -(-row.k.shape[0] // max(1, pages[0].shape[1]))
    numbers = {
        "page.count": count,
        "layer.index": place.layer_index,
        "layer.count": place.layer_count,
        "kv_head.index": place.kv_head,
        "scale": torch.tensor(float(place.scale)).item(),
    }
    return {
        "q": row.q.to(dtype),
        "page.k": pages[0],
        "page.v": pages[1],
        "page.index": torch.arange(len(reserved), dtype=dtype),
        "page.reserved": reserved,
        **{name: torch.tensor(float(number), dtype=dtype) for name, number in numbers.items()},
    }


def _evaluate(nodes: Iterable[Node], env: dict[Node, torch.Tensor], frame: Frame, dtype: torch.dtype) -> None:
    """Compute nodes as the reference does, in a given floating type; storing rounds from float32."""
    for node in nodes:
        if node in env:
            continue
        if node.op == "constant":
            value = torch.tensor(node.number)[(None,) * frame.lead]
        else:
            args = [_operand(node, env[arg], dtype) for arg in node.args]
            value = ENTRIES[node.op].meaning(frame, node, *args)
        env[node] = value.to(dtype) if value.is_floating_point() else value


def _operand(node: Node, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Let booleans count as numbers of the given type, but where conditions are meant."""
    if node.op == "to":
        return x.float()
    return x if node.op in ("where", "and", "or", "invert") else numeric(x).to(dtype)


@dataclass(frozen=True)
class _Bounds:
    """Turns scores into the candidates that are certainly, and possibly, chosen: two bool [page]."""

    single: Mapping[Node, torch.Tensor]
    double: Mapping[Node, torch.Tensor]
    candidates: torch.Tensor

    def of(self, selection: Node, *, exact: bool) -> tuple[torch.Tensor, torch.Tensor]:
        if exact:
            chosen = self._meaning(selection)
            return chosen, chosen
        return self._bounds(selection)

    def _meaning(self, selection: Node) -> torch.Tensor:
        env = dict(self.single)
        below = [arg for arg in selection.args if arg.type.kind is Kind.SELECTION]
        env |= {arg: self._meaning(arg) for arg in below}
        frame = Frame(0, candidates=self.candidates)
        return ENTRIES[selection.op].meaning(frame, selection, *(env[arg] for arg in selection.args))

    def _bounds(self, selection: Node) -> tuple[torch.Tensor, torch.Tensor]:
        if selection.op in ("every_page", "reserved_only"):
            chosen = self.candidates & (selection.op == "every_page")
            return chosen, chosen
        if selection.op == "union":
            (must, may), (other_must, other_may) = map(self._bounds, selection.args)
            return must | other_must, may | other_may
        if selection.op == "refine":
            return self._best(selection.args[1], selection.args[2], *self._bounds(selection.args[0]))
        score, *numbers = selection.args
        if selection.op == "topk":
            return self._best(score, numbers[0], self.candidates, self.candidates)
        if selection.op == "above":
            return self._above(score, *numbers)
        assert selection.op == "topp", f"no bounds are known for '{selection.op}'"
        return self._topp(score, *numbers)

    def _score(self, score: Node) -> tuple[torch.Tensor, torch.Tensor]:
        """Give scores and how far each may be off."""
        s = self.double[score].double()
        s = s.where(~s.isnan(), -math.inf).broadcast_to(self.candidates.shape)
        finite = s[s.isfinite()]
        largest = float(finite.abs().max()) if len(finite) else 0.0
        return s, torch.full_like(s, TOLERANCE * largest)

    def _room(self, n: Node, allowed: torch.Tensor) -> int:
        return int(_room(self.single[n].float(), allowed))

    def _best(self, score: Node, n: Node, must: torch.Tensor, may: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Bound the n best of pages that are certainly, and possibly, there to choose from."""
        s, off = self._score(score)
        surely, perhaps = _better(s, off)
        room = (self._room(n, must), self._room(n, may))
        certain = must & ((perhaps & may).sum(-1) < room[0])
        return certain, may & ((surely & must).sum(-1) < room[1])

    def _above(self, score: Node, threshold: Node, limit: Node) -> tuple[torch.Tensor, torch.Tensor]:
        s, off = self._score(score)
        t = self.double[threshold].double()
        off_t = off + TOLERANCE * t.abs()
        must, may = self.candidates & (s - off_t > t), self.candidates & (s + off_t > t)
        return self._best(score, limit, must, may)

    def _topp(self, score: Node, p: Node, limit: Node) -> tuple[torch.Tensor, torch.Tensor]:
        s, off = self._score(score)
        surely, perhaps = (better & self.candidates for better in _better(s, off))
        mass = _mass(Frame(0, candidates=self.candidates), self.double[score].double()).broadcast_to(s.shape)
        taken = mass.where(~self.candidates, 0.0).sum()
        before = [(mass * better).sum(-1) + taken for better in (surely, perhaps)]
        p_, room = self.double[p].double(), self._room(limit, self.candidates)
        may = self.candidates & (before[0] < p_ + TOLERANCE) & (surely.sum(-1) < room)
        return self.candidates & (before[1] < p_ - TOLERANCE) & (perhaps.sum(-1) < room), may


def _better(s: torch.Tensor, off: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Say of each page (rows) which others (columns) are certainly, and possibly, before it in falling order."""
    others = ~torch.eye(len(s), dtype=torch.bool)
    low, high = (s - off, s + off)
    return (low[None] > high[:, None]) & others, (high[None] >= low[:, None]) & others
