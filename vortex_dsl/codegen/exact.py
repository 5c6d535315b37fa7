"""Which operands of a product are exact in sixteen bits, so that tensor cores multiply them without any loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.ops.expression import Source

if TYPE_CHECKING:
    from vortex_dsl.ops.expression import Expr

KEEPING = ("neg", "abs", "relu", "maximum", "minimum")  # give one of their operands, or its negative
SMALL = ("nibble", "bit", "fp8")  # decoded codes: whole numbers of eight bits, and float8
MOST_WHOLE = 256  # whole numbers up to it are exact in bfloat16


def stored_as(expr: Expr) -> tuple[Source, ...] | None:
    """Give the memory whose numbers an operand is made of, each exactly; none for small whole numbers.

    None where the operand is computed, and so needs all bits of float32.
    """
    if expr.op == "load":
        source = expr.attrs[0]
        assert isinstance(source, Source)
        return (source,)
    if expr.op in SMALL:
        return ()
    if expr.op == "to_float":
        return () if expr.args[0].kind == "bool" or _is_code(expr.args[0]) else None
    if expr.op == "number":
        number = expr.attrs[0]
        return () if number in range(-MOST_WHOLE, MOST_WHOLE + 1) else None
    if expr.op in KEEPING:
        return _together(expr.args)
    if expr.op == "where":
        return _together(expr.args[1:])
    if expr.op == "mul" and any(arg.op == "to_float" and arg.args[0].kind == "bool" for arg in expr.args):
        return _together(expr.args)
    return None


def _is_code(expr: Expr) -> bool:
    return expr.op == "load" and isinstance(expr.attrs[0], Source) and expr.attrs[0].kind == "codes"


def _together(exprs: tuple[Expr, ...]) -> tuple[Source, ...] | None:
    parts = [stored_as(expr) for expr in exprs]
    if any(part is None for part in parts):
        return None
    found = tuple(dict.fromkeys(source for part in parts for source in part or ()))
    types = {(source.kind, source.stored) for source in found}  # the first one's pointer stands for all of them
    return found if len(types) <= 1 else None
