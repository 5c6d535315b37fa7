"""Where in memory a kernel reads and writes: parameters, terms of addresses, masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from vortex_dsl.errors import CompilerError
from vortex_dsl.ops.expression import Expr, Loop, Source

if TYPE_CHECKING:
    from vortex_dsl.codegen.scope import Scope
    from vortex_dsl.codegen.tiles import Tiles
    from vortex_dsl.graph.graph import Graph

_CACHED = ("k", "v", "page.k", "page.v")
_STRIDES = {
    "q": ("batch", "head", "dim"),
    **dict.fromkeys(_CACHED, ("block", "head", "token", "dim")),
    **dict.fromkeys(("field", "codes", "scales"), ("block", "head")),
}
_BY_ROW = ("buffer", "state")


@dataclass(frozen=True)
class Place:
    """Where a tile over `loops` is stored: a pointer, then an index per axis of `lengths`, where the masks hold."""

    pointer: str
    indices: tuple[Expr, ...]
    lengths: tuple[int, ...]
    loops: tuple[Loop, ...]
    masks: list[str]


@dataclass
class Pointers:
    """The memory of one kernel, and how its pages lie. `sources` grows as loads are written."""

    graph: Graph
    tiles: Tiles
    sources: list[Source] = field(default_factory=list)

    @staticmethod
    def stem(expr: Expr) -> str:
        """Give the word for what a load gives: field_0_value is a tile of field_0."""
        source = expr.attrs[0]
        assert isinstance(source, Source)
        number = (
            f"_{source.key}" if isinstance(source.key, int) and source.kind in (*_BY_ROW, "field", "scales") else ""
        )
        return f"{_word(source)}{number}_tile"

    def load(self, expr: Expr, scope: Scope) -> str:
        """Write a load: float32 numbers, or int32 codes."""
        source = expr.attrs[0]
        assert isinstance(source, Source)
        if source not in self.sources:
            self.sources.append(source)
        lead, own = expr.args[: len(expr.args) - len(source.lengths)], expr.args[len(expr.args) - len(source.lengths) :]
        at = [spread(self._index(index, expr, scope), index.loops, expr.loops) for index in own]
        terms = [self.name(source), *self._base(source, lead, expr, scope), *self._own(source, at)]
        masks = [spread(scope[lead[1]], lead[1].loops, expr.loops)] if lead else []
        for index, code, length in zip(own, at, source.lengths, strict=True):
            if self.largest(index) >= length:
                masks.append(f"({code} < {length})")
        zero = "0.0" if source.kind in _CACHED else "0"  # caches may be in float8, which has no whole numbers
        guard = f", mask={' & '.join(masks)}, other={zero}" if masks else ""
        return f"tl.load({' + '.join(terms)}{guard}){'.to(tl.float32)' if expr.kind == 'float' else '.to(tl.int32)'}"

    def _base(self, source: Source, lead: tuple[Expr, ...], expr: Expr, scope: Scope) -> list[str]:
        """Give the terms that lead to the row, or to the block and the KV head."""
        number, elements = self._number(source), prod(source.lengths)
        if source.kind == "q":
            group = self.graph.shape.group
            return [f"sequence_0 * q_batch_{number}", f"kv_head_0 * {group} * q_head_{number}"]
        if source.kind in ("table", "lookup"):
            return []
        if not lead and source.kind in _BY_ROW:
            return [f"row_0 * {elements}"]
        place = spread(scope[lead[0]], lead[0].loops, expr.loops) if lead else "block_0"
        if source.kind in _BY_ROW:
            return [f"(row_0 * max_pages_0 + {place}){'' if elements == 1 else f' * {elements}'}"]
        stem = f"{_word(source)}"
        return [f"{place} * {stem}_block_{number}", f"kv_head_0 * {stem}_head_{number}"]

    def codes_per_byte(self, load: Expr) -> int:
        """Say how many neighbours in a tile's last axis share a byte that is loaded once for them all; 1 if none do."""
        index = load.args[-1] if load.args else load
        if index.op != "index_div" or index.args[0].op != "loop" or index.args[1].op != "number":
            return 1
        loop, num = index.args[0].attrs[0], index.args[1].attrs[0]
        assert isinstance(loop, Loop)
        assert isinstance(num, int)
        whole = self.tiles.widths[loop] % num == 0 and not self.tiles.overhangs(loop)
        return num if whole and load.loops[-1] == loop else 1

    def _index(self, index: Expr, load: Expr, scope: Scope) -> str:
        """Write an index of a load: of each byte once, where several places of the tile are in it."""
        num = self.codes_per_byte(load)
        if num == 1 or index is not load.args[-1]:
            return scope[index]
        loop = index.args[0].attrs[0]
        assert isinstance(loop, Loop)
        start, bytes_ = scope.start(loop), f"tl.arange(0, {self.tiles.widths[loop] // num})"
        return bytes_ if start == "0" else f"({start} // {num} + {bytes_})"

    def _own(self, source: Source, at: list[str]) -> list[str]:
        """Give the terms of the source's own axes."""
        strides = _STRIDES.get(source.kind, ())[-len(at) :] if source.kind in ("q", *_CACHED) else ()
        terms = []
        for i, code in enumerate(at):
            number = (
                f"{_word(source)}_{strides[i]}_{self._number(source)}" if strides else prod(source.lengths[i + 1 :])
            )
            terms.append(times(code, number))
        return [term for term in terms if term != "0"]

    def store(self, place: Place, value: str, scope: Scope) -> str:
        """Write a store of a tile."""
        terms, masks = [place.pointer], list(place.masks)
        for i, (index, length) in enumerate(zip(place.indices, place.lengths, strict=True)):
            at = spread(scope[index], index.loops, place.loops)
            terms.append(times(at, prod(place.lengths[i + 1 :])))
            if self.largest(index) >= length:
                masks.append(f"({at} < {length})")
        guard = f", mask={' & '.join(masks)}" if masks else ""
        return f"tl.store({' + '.join(term for term in terms if term != '0')}, {value}{guard})"

    def largest(self, index: Expr) -> int:
        """Bound an index from above, the ends of tiles that hang over included. Not for indices of pages."""
        if index.op == "loop":
            loop = index.attrs[0]
            assert isinstance(loop, Loop)
            assert loop.length is not None
            width = self.tiles.widths[loop]
            return -(-loop.length // width) * width - 1
        if index.op == "number":
            return int(index.attrs[0])  # type: ignore[call-overload]
        if index.op == "load":
            source = index.attrs[0]
            assert isinstance(source, Source)
            assert isinstance(source.key, tuple)
            return max(source.key)
        a, b = (self.largest(arg) for arg in index.args)
        return {"index_add": a + b, "index_mul": a * b, "index_div": a // max(b, 1), "index_mod": b - 1}[index.op]

    def reserved(self, page: str) -> str:
        """Write whether a page is reserved."""
        return f"({page} < {self.graph.sink}) | ({page} >= count_0 - {self.graph.window})"

    def name(self, source: Source) -> str:
        """Give the name of a source's pointer."""
        return f"{_word(source)}_{self._number(source)}"

    def parameters(self) -> list[str]:
        """Give the parameters of the sources: pointers and strides."""
        return [
            name
            for source in self.sources
            for name in (
                self.name(source),
                *(f"{_word(source)}_{stride}_{self._number(source)}" for stride in _STRIDES.get(source.kind, ())),
            )
        ]

    def _number(self, source: Source) -> int:
        if isinstance(source.key, int):
            return source.key
        return [other for other in self.sources if other.kind == source.kind].index(source)


def num_strides(source: Source) -> int:
    """Give the number of strides that a kernel takes beside a source's pointer."""
    return len(_STRIDES.get(source.kind, ()))


def _word(source: Source) -> str:
    return source.kind.removeprefix("page.")


def times(code: str, stride: str | int) -> str:
    """Multiply an index by a stride, a known 1 or 0 aside."""
    return code if stride == 1 or code == "0" else f"{code} * {stride}"


def spread(code: str, own: tuple[Loop, ...], target: tuple[Loop, ...]) -> str:
    """Insert axes of length 1 so that a tile over `own` meets tiles over `target`."""
    if own == target or not own:
        return code
    if not set(own) <= set(target):
        message = f"a tile over {own} has an axis that its result over {target} lacks"
        raise CompilerError(message)
    return f"{code}[{', '.join(':' if loop in own else 'None' for loop in target)}]"
