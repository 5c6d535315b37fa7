"""The least time of a step: by data sheets, and by nothing where none is known."""

import pytest

from search.evaluator.speed.floor import least_s, peak_of
from vortex_dsl.analysis.devices import DEVICES


@pytest.mark.parametrize(
    ("name", "kind"),
    [("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA H200", "H200"), ("NVIDIA B200", "B200"), ("NVIDIA-H200", "H200")],
)
def test_a_gpu_is_known_by_its_name(name, kind):
    assert peak_of(name) == DEVICES[kind].bytes_per_s


@pytest.mark.parametrize("name", ["NVIDIA H100 NVL", "NVIDIA H100 PCIe", "NVIDIA GH200 480GB", "NVIDIA A100", ""])
def test_other_memory_has_no_floor(name):
    assert peak_of(name) == 0.0
    assert least_s(1e9, peak_of(name), 0.0) == 0.0


def test_what_may_lie_in_a_cache_costs_nothing():
    assert least_s(3e9, 1e9, 1e9) == 2.0
    assert least_s(1e9, 1e9, 2e9) == 0.0
