"""How operations are written on a tape: a function for each family that the table names.

An entry's `tape` names one of the machine's functions for elementwise operations and reductions, or one of FAMILIES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernels.host import lines
from kernels.host.elementwise import MAPS
from kernels.host.lines import SIZES
from kernels.host.tape import REDUCTIONS
from vortex_dsl.backends.tape.places import (
    NONE,
    ONE,
    PAGES,
    Line,
    Place,
    Size,
    Unwritable,
    Value,
    lengths_of,
    merged,
    product,
    strides,
)
from vortex_dsl.ops import ENTRIES
from vortex_dsl.ops.frame import Frame
from vortex_dsl.ops.hashing import MASK32, mix32
from vortex_dsl.ops.op import InTorch, Parts
from vortex_dsl.values import DIM, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from vortex_dsl.backends.tape.places import Lengths
    from vortex_dsl.backends.tape.writer import Writer
    from vortex_dsl.node import Node
    from vortex_dsl.values import Type

DOT_AXES = 4
OWN_RUN = 16  # numbers one after the other, from which on an operand need not be repeated first
OWN_VECTORS = 8  # of a page, from which on it is quicker to multiply them as they lie with the page's own queries


def emitted(writer: Writer, node: Node) -> Value:
    """Write the instructions that compute a node."""
    entry = ENTRIES[node.op].tape
    if isinstance(entry, InTorch):
        raise Unwritable(f"'{node.op}' runs in torch: {entry.reason}")
    assert isinstance(entry, str), "composites are gone"
    return _emission(entry)(writer, node)


def _map(writer: Writer, node: Node) -> Value:
    """Take the order of an operand that has all axes already, canonical order where none has."""
    values = [writer.value(arg) for arg in node.args]
    whole = next((value.lengths for value in values if len(value.lengths) == len(node.type.names)), None)
    lengths = whole or lengths_of(node.type)
    if len(values) == 2 and (more := _broadcast(lengths, values)) is not None:
        value = writer.made(lengths)
        fn = MAPS.index(str(ENTRIES[node.op].tape))
        writer.emit("broadcast", value.place, *(operand.place for operand in values), fn=fn, more=more)
        return value
    operands = [writer.copied(value, tuple(lengths), lengths).place for value in values]
    seed = mix32(node.attr("seed") & MASK32) if node.op == "hash" else 0
    return writer.mapped(str(ENTRIES[node.op].tape), lengths, *operands, seed=seed)


def _broadcast(lengths: Lengths, values: list[Value]) -> Line | None:
    """Tell how far it is in operands that lack axes, None where it is quicker to repeat them first."""
    if all(tuple(value.lengths) == tuple(lengths) for value in values):
        return None
    steps = [[strides(value.lengths).get(name, NONE) for name in lengths] for value in values]
    more = merged([*lengths.values()], steps, lines.AXES)
    last = 2 * (lines.AXES - 1)
    ends = [more[lines.STRIDES + last], more[lines.OTHER_STRIDES + last]]
    length = more[SIZES + last]
    assert isinstance(length, Size)
    is_long = length.each > 0 or length.fixed >= OWN_RUN
    return more if is_long and all(end in (NONE, ONE) for end in ends) else None


def _reduce(writer: Writer, node: Node) -> Value:
    source, gone = writer.value(node.args[0]), node.attr("axes")
    kept = {name: length for name, length in source.lengths.items() if name not in gone}
    operand = writer.copied(source, (*kept, *(name for name in source.lengths if name in gone)))
    value = writer.made(kept)
    inner = product([source.lengths[name] for name in gone])
    more: Line = {SIZES: product([*kept.values()]), SIZES + 2: inner}
    writer.emit(str(ENTRIES[node.op].tape), value.place, operand.place, more=more)
    return value


def _dot(writer: Writer, node: Node) -> Value:
    """Multiply what is stored as it lies, where one operand is, or else sum products along the axis."""
    stored = [arg for arg in node.args if arg in writer.fields and _is_multiplied(node, arg)]
    if stored:
        return _contract(writer, node, max(stored, key=lambda leaf: _num_vectors(leaf.type)))
    axis, operands, steps = node.attr("axis"), [], []
    lengths = lengths_of(node.type)
    for arg in node.args:
        source = writer.value(arg)
        operand = writer.copied(source, (*(name for name in source.lengths if name != axis), axis))
        by_name = strides(operand.lengths)
        operands.append(operand)
        steps.append([by_name.get(name, NONE) for name in lengths])
    value = writer.made(lengths)
    more = merged([*lengths.values()], steps, DOT_AXES) | {SIZES + 2 * DOT_AXES: operands[0].lengths[axis]}
    writer.emit("dot", value.place, *(operand.place for operand in operands), more=more)
    return value


def _num_vectors(type_: Type) -> int:
    return product([length for name, length in lengths_of(type_).items() if name not in (PAGE, DIM)]).fixed


def _is_multiplied(node: Node, leaf: Node) -> bool:
    """Whether a dot product is that of a leaf's vectors with queries, which may be each page's own."""
    if node.attr("axis") != DIM or node.args[0] is node.args[1]:
        return False
    query = next(arg for arg in node.args if arg is not leaf)
    shared = set(query.type.names) & set(leaf.type.names)
    return shared == {DIM} or (shared == {DIM, PAGE} and _num_vectors(leaf.type) >= OWN_VECTORS)


def _contract(writer: Writer, node: Node, leaf: Node) -> Value:
    other = next(arg for arg in node.args if arg is not leaf)
    own, given = PAGE in other.type.names, writer.value(other)
    queries = {name: length for name, length in lengths_of(other.type).items() if name not in (PAGE, DIM)}
    query = writer.copied(given, (*((PAGE,) if own else ()), *queries, DIM))
    vectors = {name: length for name, length in lengths_of(leaf.type).items() if name not in (PAGE, DIM)}
    value = writer.made({PAGE: PAGES, **vectors, **queries})
    more: Line = {SIZES: product([*queries.values()]).fixed, SIZES + 1: int(own)}
    writer.emit("contract", value.place, query.place, fn=writer.index(leaf), more=more)
    return value


def _pick(writer: Writer, node: Node) -> Value:
    """Move elements within each page as the operation's own meaning moves the numbers of their places."""
    given = [writer.expanded(arg, arg.type) for arg in node.args]
    value = writer.made(lengths_of(node.type))
    sizes = [_in_page(arg.type) for arg in node.args]
    begins = [sum(sizes[:i]) for i in range(len(sizes))]
    places = _meant(node, [_places(arg.type, begin) for arg, begin in zip(node.args, begins, strict=True)])
    for source, arg, begin, size in zip(given, node.args, begins, sizes, strict=True):
        at = [i for i, place in enumerate(places) if begin <= place < begin + size]
        _move(writer, (source, [places[i] - begin for i in at]), (value, at), arg, node)
    return value


def _move(writer: Writer, source: tuple[Value, list[int]], to: tuple[Value, list[int]], arg: Node, node: Node) -> None:
    """Write elements of each page to other places: in one stretch where they lie evenly, else by a table."""
    (value, its), (result, at) = source, to
    by_page = Size(_in_page(arg.type)) if PAGE in arg.type.names else NONE
    pages = [PAGES] if PAGE in node.type.names else []
    steps = [by_page] if pages else []
    even = _even_steps(its, [length.fixed for name, length in result.lengths.items() if name != PAGE])
    if len(at) == _in_page(node.type) and even is not None:
        place = value.place._replace(offset=value.place.offset + its[0])
        sizes = [*pages, *(length for name, length in result.lengths.items() if name != PAGE)]
        more = merged(sizes, [[*steps, *map(Size, even)]], lines.AXES)
        writer.emit("copy", result.place, place, more=more)
        return
    table = writer.numbers([float(i) for i in (*its, *at)])
    more = {SIZES: pages[0] if pages else ONE, SIZES + 2: by_page.fixed, SIZES + 4: _in_page(node.type)}
    more |= {lines.THIRD: table}
    writer.emit("pick", result.place, value.place, fn=len(at), more=more)


def _even_steps(places: list[int], sizes: list[int]) -> list[int] | None:
    """Give how far it is along each axis from place to place, None where that differs."""
    steps, inner = [], len(places)
    for size in sizes:
        inner //= size
        steps.append(places[inner] - places[0] if size > 1 else 0)
    evenly = [places[0]]
    for size, step in zip(sizes, steps, strict=True):
        evenly = [begin + i * step for begin in evenly for i in range(size)]
    return steps if evenly == places else None


def _in_page(type_: Type) -> int:
    return product([length for name, length in lengths_of(type_).items() if name != PAGE]).fixed


def _places(type_: Type, begin: int) -> Tensor:
    import torch

    shape = [1 if axis.length is None else axis.length for axis in type_.axes]
    return torch.arange(begin, begin + _in_page(type_), dtype=torch.float64).reshape(shape)


def _meant(node: Node, operands: list[Tensor]) -> list[int]:
    found = ENTRIES[node.op].meaning(Frame(0), node, *operands)
    return [int(place) for place in found.flatten().tolist()]


def _numbers(writer: Writer, node: Node) -> Value:
    numbers = ENTRIES[node.op].meaning(Frame(0), node).flatten().tolist()
    return Value(writer.numbers(numbers), lengths_of(node.type))


def _top(writer: Writer, node: Node) -> Value:
    axis, source = node.attr("axis"), writer.value(node.args[0])
    operand = writer.copied(source, (*(name for name in source.lengths if name != axis), axis))
    value = writer.made(operand.lengths)
    more: Line = {SIZES: product([*operand.lengths.values()]), SIZES + 2: operand.lengths[axis]}
    writer.emit("top", value.place, operand.place, fn=min(node.attr("n"), operand.lengths[axis].fixed), more=more)
    return value


def _shift(writer: Writer, node: Node) -> Value:
    fill = writer.numbers([float(node.attr("fill"))])
    return _along_pages(writer, node, "shift", (fill,), max(-MOST_PAGES, min(node.attr("n"), MOST_PAGES)))


MOST_PAGES = 2**31


def _smooth(writer: Writer, node: Node) -> Value:
    weights = node.attr("weights")
    return _along_pages(writer, node, "smooth", (writer.numbers(list(weights)),), len(weights))


def _cumsum(writer: Writer, node: Node) -> Value:
    return _along_pages(writer, node, "cumsum", (), 0)


def _along_pages(writer: Writer, node: Node, op: str, more_operands: tuple[Place, ...], fn: int) -> Value:
    source = writer.value(node.args[0])
    value = writer.made(source.lengths)
    more: Line = {SIZES: product([*source.lengths.values()]), SIZES + 2: Size(_in_page(node.type))}
    writer.emit(op, value.place, source.place, *more_operands, fn=fn, more=more)
    return value


PER_PAGE: Lengths = {PAGE: PAGES}


def _best(writer: Writer, node: Node) -> Value:
    """Choose by score, from the candidates or from those of a selection or above a threshold."""
    *first, n = node.args
    score = writer.value(first[-1] if node.op == "refine" else first[0])
    allowed = writer.value(first[0]) if node.op == "refine" else writer.candidates()
    if node.op == "above":
        threshold = writer.copied(writer.value(first[1]), (PAGE,), PER_PAGE)
        over = writer.mapped("gt", PER_PAGE, score.place, threshold.place)
        allowed = writer.mapped("and", PER_PAGE, over.place, allowed.place)
    value = writer.made(PER_PAGE)
    writer.emit("best", value.place, score.place, allowed.place, writer.value(n).place, more={SIZES: PAGES})
    return value


def _nucleus(writer: Writer, node: Node) -> Value:
    score, *both = (writer.value(arg) for arg in node.args)
    limits = writer.room([Size(len(both))])
    for i, scalar in enumerate(both):
        to = limits._replace(offset=i)
        writer.emit("copy", to, scalar.place, more=merged([], [[]], lines.AXES))
    value, allowed = writer.made(PER_PAGE), writer.candidates()
    writer.emit("nucleus", value.place, score.place, allowed.place, limits, more={SIZES: PAGES})
    return value


def _candidates(writer: Writer, _node: Node) -> Value:
    return writer.candidates()


def _nothing(writer: Writer, _node: Node) -> Value:
    candidates = writer.candidates().place
    return writer.mapped("ne", PER_PAGE, candidates, candidates)


EMISSIONS: dict[str, Callable[[Writer, Node], Value]] = {
    "dot": _dot,
    "pick": _pick,
    "numbers": _numbers,
    "top": _top,
    "shift": _shift,
    "smooth": _smooth,
    "cumsum": _cumsum,
    "best": _best,
    "nucleus": _nucleus,
    "candidates": _candidates,
    "nothing": _nothing,
}


def _emission(entry: str) -> Callable[[Writer, Node], Value]:
    if entry in MAPS:
        return _map
    return _reduce if entry in REDUCTIONS else EMISSIONS[entry]


def check_table() -> None:
    """Refuse an entry of the table whose `tape` names nothing that can be written. Raises LookupError."""
    known = (*MAPS, *REDUCTIONS, *EMISSIONS)
    for op in ENTRIES.values():
        if not isinstance(op.tape, Parts | InTorch) and op.tape not in known:
            message = (
                f"'{op.name}' of the operation table has tape={op.tape!r}, which the tape's machine does not know; "
                f"name one of {', '.join(known)}, give its Parts, or say InTorch with the reason"
            )
            raise LookupError(message)


check_table()
