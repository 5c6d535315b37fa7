"""An exported wheel, served as an operator serves it: `vllm serve`, where this project has never been seen."""

import json
import re
import urllib.request

import pytest

from benchmarks.plugin import Walk

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(560)]


@pytest.fixture(scope="module")
def served(wheel, tiny_llama, tmp_path_factory):
    """Serve with another budget than was judged, without a block size, a model of a shape that was not judged."""
    walk = Walk(tmp_path_factory.mktemp("served"), wheel, wheel, tiny_llama)
    # by torch: a CPU's loops are compiled anew wherever a wheel is installed, and the campaign's test does that
    changed = json.dumps({"vortex": {"values": {"pages": 4}, "kernels": "torch"}})
    words = ("-m", "vllm.entrypoints.cli.main", "serve", str(tiny_llama), "--attention-backend", "CUSTOM")
    with walk.server(*words, "--additional-config", changed, "--enforce-eager") as (url, log):
        walk.ask(url)
        with urllib.request.urlopen(f"{url}/metrics", timeout=60) as reply:
            metrics = reply.read().decode()
        yield metrics, log.read_text()


def test_the_budget_that_was_asked_for_is_served(served):
    """Four pages of 32 tokens, a sink and a window of two: 7 of the 22 or 23 pages of each KV head."""
    metrics, _ = served
    found = {
        name: sum(map(float, re.findall(rf"^vllm:vortex_pages_{name}_total{{.*}} (\S+)$", metrics, re.MULTILINE)))
        for name in ("attended", "dense")
    }
    assert 7 / 23 <= found["attended"] / found["dense"] <= 7 / 22


def test_the_log_says_what_was_never_judged(served):
    _, log = served
    assert "with 2 query heads per KV head of 64 channels; this model has 3 of 32, for which it was never judged" in log
    assert "served with pages=4 (judged with 8)" in log
