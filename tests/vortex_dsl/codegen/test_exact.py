"""What tensor cores may multiply in sixteen bits, and what is read of bytes that hold several codes."""

import math

import pytest
import torch

from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.backends.compiled import Compiled
from vortex_dsl.codegen.address import Pointers
from vortex_dsl.codegen.exact import stored_as
from vortex_dsl.codegen.tiles import choose_tiles
from vortex_dsl.codegen.writer import Writer
from vortex_dsl.ops.expression import Loop, Pool, Source

POOL = Pool()
DIM = POOL.loop(Loop("dim", 64))
Q, CODES = (Source(kind, 0, (64,)) for kind in ("q", "codes"))
FIELD, OTHER, WIDER = (Source("field", i, (64,), kind) for i, kind in enumerate(("model", "model", "float32")))
Q_TILE, FIELD_TILE, OTHER_TILE, WIDER_TILE = (POOL.make("load", (DIM,), (s,)) for s in (Q, FIELD, OTHER, WIDER))
CODE = POOL.make("load", (DIM,), (CODES,), kind="int")


@pytest.mark.parametrize(
    ("op", "args", "stored"),
    [
        ("neg", (Q_TILE,), (Q,)),
        ("maximum", (Q_TILE, POOL.number(0.0)), (Q,)),
        ("maximum", (Q_TILE, POOL.number(0.1)), None),
        ("maximum", (Q_TILE, FIELD_TILE), None),  # one pointer cannot stand for both
        ("maximum", (OTHER_TILE, FIELD_TILE), (OTHER, FIELD)),
        ("maximum", (FIELD_TILE, WIDER_TILE), None),  # nor for two fields of which one is wider
        ("mul", (Q_TILE, FIELD_TILE), None),
        ("nibble", (CODE, DIM), ()),
        ("to_float", (CODE,), ()),
        ("to_float", (DIM,), None),
    ],
)
def test_an_operand_is_exact_if_nothing_was_computed(op, args, stored):
    assert stored_as(POOL.make(op, args)) == stored


def text_of(name, group=2):
    return Compiled(trace(load_program(zoo.text(name)), Shape(group, 128))).text.split("map_0", 1)[1]


def test_stored_vectors_are_multiplied_as_they_are_stored_and_others_in_three_parts():
    assert text_of("quest").count("product(") == 2
    assert "tf32x3" not in text_of("quest")
    assert text_of("quest_int4", group=8).count('input_precision="tf32x3"') == 2
    assert "product(" not in text_of("centroid")  # one mean query is no matrix


def test_a_byte_of_several_codes_is_loaded_once():
    text = text_of("quest_int4")
    assert text.count("tl.arange(0, 64)") == 2
    assert text.count("tl.join(") == 2
    assert text_of("sign_keys").count("tl.join(") == 3


@pytest.mark.parametrize(
    ("divisor", "factor"),
    [(16.0, "0.0625"), (0.25, "4.0"), (-2.0, "(-0.5)"), (3.0, None), (0.0, None), (2.0**110, None), (math.inf, None)],
)
def test_dividing_by_a_power_of_two_is_multiplying(divisor, factor):
    """Bit for bit, where the inverse is a number of full precision; by anything else it is a division."""
    text = text_of_division(divisor)
    assert ("tl.div_rn" in text) == (factor is None)
    if factor is not None:
        assert f" * {factor}" in text
        numbers = torch.randint(-(2**31), 2**31, (100_000,)).int().view(torch.float32)
        assert torch.equal((numbers / divisor).nan_to_num(), (numbers * float(factor.strip("()"))).nan_to_num())


def text_of_division(divisor):
    divided = POOL.make("div", (Q_TILE, POOL.number(divisor)))
    graph = trace(load_program(zoo.text("centroid")), Shape(2, 64))
    tiles = choose_tiles([divided], [], 1, walks=False)
    writer = Writer(POOL, tiles, Pointers(graph, tiles))
    writer.fill(writer.top, [divided])
    return "\n".join(writer.top.lines)
