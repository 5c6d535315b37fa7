"""Fields as bytes: what is packed comes back as the reference reads it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vortex_dsl import attend, storage
from vortex_dsl.analysis.layout import Layout, alignment_of
from vortex_dsl.backends.contract import BACKENDS
from vortex_dsl.frontend.load import load_program
from vortex_dsl.frontend.trace import trace
from vortex_dsl.graph.builder import Builder
from vortex_dsl.graph.graph import Graph
from vortex_dsl.passes.pipeline import finished
from vortex_dsl.storage import KINDS
from vortex_dsl.values import Shape

SETTINGS = {"sink": 1, "window": 2, "page_size": 16, "dense_layers": 1, "share_layers": 1, "refresh_steps": 1}
# axes of a field -> how it is made of k, [token=16, dim=head_dim]
FIELDS = {
    "dim": lambda b, k: b.call("max", [k, "token"]),
    "sub, dim": lambda b, k: b.call("max", [b.call("split", [k, "token"], {"sub": 4}), "token"]),
    "token": lambda b, k: b.call("norm", [k, "dim"]),
    "scalar": lambda b, k: b.call("norm", [k, "dim", "token"]),
    "token, dim": lambda b, k: b.call("mul", [k, 2.0]),
}


def graph_of(kind: str, which: tuple[str, ...], head_dim: int = 8) -> Graph:
    builder = Builder(Shape(2, head_dim), 16)
    k = builder.input("k")
    fields = {f"f{i}": builder.call("to", [FIELDS[name](builder, k), kind]) for i, name in enumerate(which)}
    builder.declare(fields)
    score = builder.input("page.index")
    for name in fields:
        field = builder.call("mul", [builder.input(f"page.{name}"), builder.input("scale")])  # so it is not hoisted
        made = [axis for axis in field.type.names if axis != "page"]
        score = builder.call("add", [score, builder.call("sum", [field, *made]) if made else field])
    return finished(builder.raw(fields, builder.call("topk", [score, 4]), SETTINGS))


def values(graph: Graph, rows: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    layout = Layout(graph)
    return {f.name: torch.randn(rows, *f.axes, generator=generator) * 3 for f in layout.fields}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head_dim", [8, 7, 1])
def test_what_is_packed_is_loaded_as_the_reference_reads_it(kind: str, head_dim: int) -> None:
    graph = graph_of(kind, tuple(FIELDS), head_dim)
    layout, given = Layout(graph), values(graph, 6)
    region = torch.full((6, layout.bytes_per_page + 32), 0xAB, dtype=torch.uint8)
    region[:, : layout.bytes_per_page] = layout.pack(given)
    rows = torch.tensor([[5, 0, 2], [1, 1, 4]])
    loaded = layout.load(region, rows)
    for field in layout.fields:
        along_dim = "dim" in field.field.type.names
        expected = storage.round_trip(given[field.name], kind, along_dim=along_dim)
        assert loaded[field.name].dtype == torch.float32
        assert torch.equal(loaded[field.name], expected[rows])


@pytest.mark.parametrize("kind", KINDS)
def test_fields_are_aligned_and_do_not_overlap(kind: str) -> None:
    layout = Layout(graph_of(kind, tuple(FIELDS), 7))
    end = 0
    for field in sorted(layout.fields, key=lambda field: field.offset):
        assert field.offset % alignment_of(field.num_bytes) == 0
        assert field.num_bytes <= alignment_of(field.num_bytes) or alignment_of(field.num_bytes) == 16
        assert field.offset >= end
        end = field.offset + field.num_bytes
    assert end <= layout.bytes_per_page < end + 16
    assert [field.field.index for field in layout.fields] == list(range(len(layout.fields)))


def test_small_fields_share_sixteen_bytes() -> None:
    text = '''from vortex_dsl import *


class P(Program):
    """Numbers beside a vector."""

    def summarize(self, k, v):
        c = k.mean("token")
        return {"a": c.norm("dim"), "c": c, "b": v.max("dim", "token").to("float32"), "n": c.sum("dim").to("int8")}

    def select(self, q, page):
        return topk(dot(q, page.c, "dim").max("head") * page.a + page.b * page.index + page.n * page.count, 4)
'''
    layout = Layout(trace(load_program(text), Shape(2, 32)))
    offsets = {field.num_bytes: field.offset for field in layout.fields}
    assert offsets == {64: 0, 8: 64, 4: 72, 2: 76}
    assert layout.bytes_per_page == 80


def test_bytes_per_page_by_kind() -> None:
    one = {kind: Layout(graph_of(kind, ("dim",), 64)).bytes_per_page for kind in KINDS}
    assert one == {"bfloat16": 128, "float16": 128, "float32": 256, "fp8_e4m3": 64, "int8": 80, "int4": 48, "sign": 16}


def test_a_region_may_be_strided() -> None:
    graph = graph_of("bfloat16", ("dim", "token, dim"))
    layout = Layout(graph)
    pool = torch.full((5, 2, 4096), 0xAB, dtype=torch.uint8)
    region = pool[:, 1, 64 : 64 + layout.bytes_per_page]
    given = values(graph, 5)
    region.copy_(layout.pack(given))
    for name, loaded in layout.load(region, torch.arange(5)).items():
        assert torch.equal(loaded, given[name].bfloat16().float())


def test_int4_codes_lie_as_documented() -> None:
    layout = Layout(graph_of("int4", ("dim",), 4))
    x = torch.tensor([[7.0, -7.0, 1.0, -3.2]])
    raw = layout.pack({layout.fields[0].name: x})[0].numpy()
    assert raw[:2].tolist() == [0x7 | (0x9 << 4), 0x1 | (0xD << 4)]
    assert raw[4:8].view(np.float32)[0] == 1.0


def test_signs_lie_as_documented() -> None:
    layout = Layout(graph_of("sign", ("dim",), 10))
    x = torch.tensor([[1.0, -1.0, 0.0, -0.0, float("nan"), -2.0, 3.0, -4.0, 5.0, -6.0]])
    raw = layout.pack({layout.fields[0].name: x})[0].tolist()
    assert raw[:2] == [0b01011101, 0b01]


def test_fp8_saturates_and_integers_keep_a_scale_per_vector() -> None:
    x = torch.tensor([[1e6, -1e6, 1.0], [0.0, 0.0, 0.0]])
    assert storage.round_trip(x, "fp8_e4m3", along_dim=True)[0, :2].tolist() == [448.0, -448.0]
    rows = torch.tensor([[127.0, 1.0, -63.4], [0.0, 0.0, 0.0], [1e-3, -5e-4, 0.0]])
    back = storage.round_trip(rows, "int8", along_dim=True)
    assert back[0].tolist() == [127.0, 1.0, -63.0]
    assert back[1].tolist() == [0.0, 0.0, 0.0]
    torch.testing.assert_close(back[2], rows[2], rtol=0.01, atol=1e-6)


def test_a_nan_spoils_its_vector_only() -> None:
    x = torch.tensor([[1.0, float("nan")], [1.0, 2.0]])
    back = storage.round_trip(x, "int4", along_dim=True)
    assert back[0].isnan().all()
    assert not back[1].isnan().any()


def test_every_backend_reads_fields_that_lie_at_odd_bytes() -> None:
    text = '''from vortex_dsl import *


class P(Program):
    """Numbers of one byte and less beside a vector."""

    def summarize(self, k, v):
        c = k.mean("token")
        s = v.max("dim", "token")
        return {"a": c.norm("dim").to("sign"), "c": c, "b": s.to("int4"), "n": s.to("fp8_e4m3"), "s": s.to("sign")}

    def select(self, q, page):
        bound = dot(q, page.c, "dim").max("head") * page.a
        return topk(bound + page.b * page.index + (page.n + page.s) * page.count, 4)
'''
    program = load_program(text)
    layout = Layout(trace(program, Shape(2, 32)))
    assert layout.bytes_per_page == 80
    assert any(field.offset % 2 for field in layout.fields)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(shape, generator=generator) for shape in ((1, 2, 32), (1, 1, 200, 32), (1, 1, 200, 32)))
    attended = [attend(program, q, k, v, backend=backend)[1] for backend in BACKENDS]
    assert all(torch.equal(pages, attended[0]) for pages in attended)
