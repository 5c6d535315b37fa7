"""Fields between pages and fields in stretches of their own are the same fields."""

import pytest
import torch

from vortex_dsl import Shape, load_program, trace
from vortex_dsl.backends.batched import Batched

TEXT = """from vortex_dsl import Program, dot, topk


class Mixed(Program):
    \"\"\"One field of every kind of storage but a few.\"\"\"

    def summarize(self, k, v):
        return {
            "a": k.mean("token").to("int4"), "b": k.max("token").to("sign"), "c": k.norm("dim").max("token"),
            "d": v.mean("token"), "e": k.min("token").to("fp8_e4m3"), "f": v.max("token").to("float32"),
        }

    def select(self, q, page):
        score = dot(q, page.a, "dim") + dot(q, page.b, "dim") + dot(q, page.d, "dim") + dot(q, page.e, "dim")
        return topk((score + dot(q, page.f, "dim")).max("head") * page.c, 3)
"""


@pytest.mark.parametrize("spare", [0, 48])
def test_fields_apart_are_the_fields_inside_of_pages(spare: int) -> None:
    from vortex_dsl.serving.pages.fields import Fields
    from vortex_dsl.serving.pages.fields_cpu import CpuFields

    batched = Batched(trace(load_program(TEXT), Shape(group=4, head_dim=24)))
    packed = batched.summarize(torch.randn(9, 16, 24), torch.randn(9, 16, 24))
    width = batched.layout.bytes_per_page + spare
    places = [kind(torch.full((12, width), 255, dtype=torch.uint8), batched.layout) for kind in (Fields, CpuFields)]
    numbers, query = torch.randperm(12)[:9], torch.randn(3, 4, 24)
    for place in places:
        place.store(numbers, packed)
    assert len(batched.layout.fields) == 6
    for field in batched.layout.fields:
        inside, apart = (place.load(field.name, numbers.view(3, 3)) for place in places)
        assert torch.equal(inside, apart)
        if field.length > 1:
            products = [place.contract(field.name, numbers.view(3, 3), query) for place in places]
            torch.testing.assert_close(*products, atol=1e-4, rtol=1e-5)
