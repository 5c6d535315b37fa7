"""What the compiler relies on is checked while it compiles, with or without Python's assertions."""

import pytest

from vortex_dsl.codegen.address import spread
from vortex_dsl.codegen.scope import Names, Scope
from vortex_dsl.errors import CompilerError
from vortex_dsl.ops.expression import PAGE_LOOP, Loop
from vortex_dsl.ops.lowering import Lowering

DIM = Loop("dim", 16)


def test_a_tile_meets_only_tiles_that_have_its_axes():
    assert spread("x", (DIM,), (PAGE_LOOP, DIM)) == "x[None, :]"
    with pytest.raises(CompilerError, match="has an axis that its result"):
        spread("x", (PAGE_LOOP, DIM), (DIM,))


def test_what_is_used_has_been_written():
    lowering = Lowering()
    scope, index = Scope(lowering.pool, Names()), lowering.pool.loop(DIM)
    with pytest.raises(CompilerError, match=r"<loop \['dim'\]> is used before it is written"):
        scope[index]
    scope.learn(index, "dim_1")
    assert scope[index] == "dim_1"


def test_what_is_reduced_varies_along_the_loop():
    lowering = Lowering()
    assert lowering.reduce("sum", lowering.pool.loop(DIM), [DIM]).loops == ()
    with pytest.raises(CompilerError, match="along which it does not vary"):
        lowering.reduce("sum", lowering.pool.number(1.0), [DIM])
