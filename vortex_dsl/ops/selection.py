"""Selections: which candidate pages a query attends to beside the reserved ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from vortex_dsl.ops.frame import Frame, numeric
from vortex_dsl.ops.op import Coverage, InTorch, Op, OpKind, Param, Take, refuse, require_numeric
from vortex_dsl.values import PAGE, Axis, Kind, Type, show_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from kernels.selection import Pages, Ranking
    from vortex_dsl.node import Node

SELECTION = Type((Axis(PAGE, None),), Kind.SELECTION)
_LOWEST = -(2**31)


def _rule(name: str, num_selections: int, scalars: tuple[str, ...] = ()) -> Callable[..., Type]:
    """Make a rule: first selections, then (if there are scalars) a score with the axis page, then scalars."""

    def rule(types: tuple[Type, ...], _attrs: Mapping[str, Any]) -> Type:
        selections, numbers = types[:num_selections], types[num_selections:]
        if any(given.kind is Kind.REMEMBERED for given in selections):
            message = f"'{name}' of a selection after '.remember(...)'; let remember be the last thing done"
            raise refuse(message)
        if any(given.kind is not Kind.SELECTION for given in selections):
            message = f"'{name}' of a value that is no selection; give it a selection such as topk(score, n)"
            raise refuse(message)
        require_numeric(name, numbers)
        if numbers and numbers[0].names != (PAGE,):
            message = (
                f"'{name}' of a score with axes {show_axes(numbers[0])}; reduce it to exactly [page], "
                "for instance with .max('head')"
            )
            raise refuse(message)
        for what, given in zip(scalars, numbers[1:], strict=True):
            if given.axes:
                message = (
                    f"'{what}' of '{name}' has axes {show_axes(given)}; it must be a number or a value without axes"
                )
                raise refuse(message)
        return SELECTION

    return rule


def sortable(score: Tensor) -> Tensor:
    """Map float32 to int32 that sorts alike: NaN as -inf, both zeros equal, nothing as low as -2**31."""
    import torch

    clean = score.where(~score.isnan(), -float("inf")) + 0.0
    bits = clean.contiguous().view(torch.int32)
    return bits.where(bits >= 0, bits ^ 0x7FFFFFFF)


def _room(n: Tensor, allowed: Tensor) -> Tensor:
    """Floor n, take NaN as 0, and clamp it to [0, number of allowed pages]: int64 [*lead]."""
    n = numeric(n)
    most = allowed.sum(-1)
    return n.where(~n.isnan(), 0.0).floor().clamp(min=0.0).minimum(most.float()).long()


def _best(score: Tensor, allowed: Tensor, room: Tensor) -> Tensor:
    """Choose the `room` allowed pages of highest score, ties to the lower index: bool [*lead, page].

    Score and index together are one integer, so that no two pages are equal.
    """
    import torch

    room = room.broadcast_to(allowed.shape[:-1])
    most = int(room.max()) if room.numel() else 0
    if most == 0:
        return allowed & False
    keys = sortable(numeric(score)).where(allowed, _LOWEST).long() * 2**32
    from_end = torch.arange(allowed.shape[-1] - 1, -1, -1, device=score.device)
    best = (keys + from_end).topk(most, dim=-1).indices
    taken = torch.arange(most, device=score.device) < room[..., None]
    return (allowed & False).scatter(-1, best, taken)


def _candidates(frame: Frame) -> Tensor:
    assert frame.candidates is not None, "a selection needs to know the candidates"
    return frame.candidates


def _taken(frame: Frame, score: Tensor, allowed: Tensor, n: Tensor) -> Tensor:
    if frame.best is not None:
        return frame.best(numeric(score), allowed, numeric(n))
    return _best(score, allowed, _room(n, allowed))


def _topk(frame: Frame, _node: Node, score: Tensor, n: Tensor) -> Tensor:
    return _taken(frame, score, _candidates(frame), n)


def _mass(frame: Frame, score: Tensor) -> Tensor:
    """Softmax over all complete pages; a NaN score is -inf, and all is 0 when every score is -inf."""
    score = numeric(score)
    score = frame.masked(score.where(~score.isnan(), -float("inf")), SELECTION, -float("inf"))
    best = score.amax(-1, keepdim=True)
    weight = (score - best).exp().where(score != best, 1.0).where(score > -float("inf"), 0.0)
    return weight / weight.sum(-1, keepdim=True).clamp(min=1.0)


def _topp(frame: Frame, _node: Node, score: Tensor, p: Tensor, limit: Tensor) -> Tensor:
    allowed = _candidates(frame)
    mass = _mass(frame, score).double().broadcast_to(allowed.shape)
    taken = mass.where(~allowed, 0.0).sum(-1, keepdim=True)
    keys = sortable(numeric(score)).where(allowed, _LOWEST)
    order = keys.sort(dim=-1, descending=True, stable=True).indices
    falling = mass.where(allowed, 0.0).gather(-1, order)
    before = taken + falling.cumsum(-1).roll(1, -1)
    before[..., :1] = taken
    rank = order.new_ones(order.shape).cumsum(-1) - 1
    wanted = (before < numeric(p).double()[..., None]) & (rank < _room(limit, allowed)[..., None])
    return (allowed & False).scatter(-1, order, wanted) & allowed


def _above(frame: Frame, _node: Node, score: Tensor, threshold: Tensor, limit: Tensor) -> Tensor:
    allowed = _candidates(frame) & (numeric(score) > numeric(threshold)[..., None])
    return _taken(frame, score, allowed, limit)


def _refine(frame: Frame, _node: Node, chosen: Tensor, score: Tensor, n: Tensor) -> Tensor:
    return _taken(frame, score, chosen, n)


def _remember_rule(types: tuple[Type, ...], _attrs: Mapping[str, Any]) -> Type:
    selection, pairs = types[0], types[1:]
    if selection.kind is Kind.REMEMBERED:
        raise refuse("'remember' twice; name all states in one call of it")
    if selection.kind is not Kind.SELECTION:
        raise refuse("'remember' of a value that is no selection; write topk(score, n).remember(name=value)")
    for state, value in zip(pairs[::2], pairs[1::2], strict=True):
        require_numeric("remember", (value,))
        if not set(value.axes) <= set(state.axes):
            message = f"'remember' of a value with axes {show_axes(value)} in a state with axes {show_axes(state)}"
            raise refuse(f"{message}; reduce it to the state's axes, or declare State with its axes")
    return Type(SELECTION.axes, Kind.REMEMBERED)


def _sorting(node: Node, size: Callable[[Type], float]) -> float:
    return 8 * size(node.type)


# In Triton: what to take by score, or flags int8 [rows, max_pages]. Scores are float32 [rows, max_pages], numbers are
# Python's or float32 [rows], parts int8 [rows, max_pages].


def _choose_best(_pages: Pages, parts: list[Tensor], score: Tensor, n: Tensor | float) -> Ranking:
    from kernels.selection import Ranking

    return Ranking(score, n, among=parts[0] if parts else None)


def _choose_nucleus(
    pages: Pages, _parts: list[Tensor], score: Tensor, p: Tensor | float, limit: Tensor | float
) -> Ranking:
    from kernels.nucleus import nucleus
    from kernels.selection import Ranking

    return Ranking(score, nucleus(score, p, limit, pages))


def _choose_above(
    _pages: Pages, _parts: list[Tensor], score: Tensor, threshold: Tensor | float, limit: Tensor | float
) -> Ranking:
    from kernels.selection import Ranking

    return Ranking(score, limit, threshold=threshold)


def _alike(pages: Pages, *, chosen: bool) -> Tensor:
    """Choose every page or none; pages that are no candidates may be marked too."""
    return pages.seq_lens.new_full((pages.num_rows, pages.max_pages), int(chosen)).char()


_SCORE = Param("score")
_BY_LIMIT = Coverage(most=lambda _parts, limit: limit, all_of=lambda _parts, limit: limit)
_BY_LIMIT_AT_MOST = Coverage(most=lambda _parts, limit: limit, all_of=lambda _parts, _limit: 0)  # scores decide

ENTRIES = (
    Op(
        "topk",
        OpKind.SELECTION,
        (_SCORE, Param("n")),
        "the n candidates of highest score, ties to the lower index",
        'topk(dot(q.mean("head"), page.center, "dim"), self.pages)',
        _rule("topk", 0, ("n",)),
        _topk,
        _sorting,
        triton=_choose_best,
        coverage=_BY_LIMIT,
        by_rank=True,
        tape="best",
    ),
    Op(
        "topp",
        OpKind.SELECTION,
        (_SCORE, Param("p"), Param("limit")),
        "candidates by falling score until their softmax mass, with that of reserved pages, reaches p; at most limit",
        'topp((dot(q, page.center, "dim") * self.scale).max("head"), 0.9, limit=self.pages)',
        _rule("topp", 0, ("p", "limit")),
        _topp,
        _sorting,
        triton=_choose_nucleus,
        coverage=_BY_LIMIT_AT_MOST,
        tape="nucleus",
    ),
    Op(
        "above",
        OpKind.SELECTION,
        (_SCORE, Param("threshold"), Param("limit")),
        "candidates with score > threshold, best first, at most limit",
        "above(page.index % 16 == 0, 0, limit=page.count)",
        _rule("above", 0, ("threshold", "limit")),
        _above,
        _sorting,
        triton=_choose_above,
        coverage=_BY_LIMIT_AT_MOST,
        tape="best",
    ),
    Op(
        "union",
        OpKind.SELECTION,
        (Param("a", Take.SELECTION), Param("b", Take.SELECTION)),
        "candidates that either selection chooses",
        "union(topk(page.weight, 8), topk(page.radius, 8))",
        _rule("union", 2),
        lambda _frame, _node, a, b: a | b,
        commutative=True,
        idempotent=True,
        triton=lambda _pages, parts: parts[0] | parts[1],
        coverage=Coverage(most=lambda parts, _limit: sum(parts), all_of=lambda parts, _limit: max(parts)),
        tape="or",
    ),
    Op(
        "refine",
        OpKind.SELECTION,
        (Param("selection", Take.SELECTION), _SCORE, Param("n")),
        "the n best, by a finer score, of the candidates that a selection chooses",
        'refine(topk(page.radius, 32), dot(q, page.keys, "dim").max("head", "token"), self.pages)',
        _rule("refine", 1, ("n",)),
        _refine,
        _sorting,
        triton=_choose_best,
        coverage=Coverage(most=lambda parts, limit: min(*parts, limit), all_of=lambda parts, limit: min(*parts, limit)),
        by_rank=True,
        tape="best",
    ),
    Op(
        "remember",
        OpKind.METHOD,
        (Param("selection", Take.SELECTION), Param("states", Take.STATES)),
        "the same selection; each value is kept in its state, which select reads as page.<state> at the next choice",
        "topk(page.weight + page.last, self.pages).remember(last=page.weight)",
        _remember_rule,
        lambda _frame, _node, selection, *_pairs: selection,
        lambda _node, _size: 0,
        tape=InTorch("no finished graph has it: a selection and what it remembers are two roots"),
    ),
    Op(
        "every_page",
        OpKind.SELECTION,
        (),
        "all candidates",
        "every_page()",
        _rule("every_page", 0),
        lambda frame, _node: _candidates(frame),
        lambda _node, _size: 0,
        triton=lambda pages, _parts: _alike(pages, chosen=True),
        coverage=Coverage(most=lambda _parts, _limit: math.inf, all_of=lambda _parts, _limit: math.inf),
        tape="candidates",
    ),
    Op(
        "reserved_only",
        OpKind.SELECTION,
        (),
        "no candidate: only sink and window pages",
        "reserved_only()",
        _rule("reserved_only", 0),
        lambda frame, _node: _candidates(frame) & False,
        lambda _node, _size: 0,
        triton=lambda pages, _parts: _alike(pages, chosen=False),
        coverage=Coverage(most=lambda _parts, _limit: 0, all_of=lambda _parts, _limit: 0),
        tape="nothing",
    ),
)
