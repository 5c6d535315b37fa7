"""Counters on vLLM's metrics endpoint: engine processes write them to shared memory, the server's process reads it.

vLLM serves /metrics from its API process, the engine runs in others. The first process to load the plugin makes a
folder and names it in the environment, so that those it starts find it; each engine process keeps one array there.
With several API servers vLLM builds a registry of its own for every request, and these counters do not show.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "VORTEX_METRICS_FOLDER"
PREFIX = "vllm:vortex_"


@dataclass
class Counters:
    """What a layer did since the last reset. A page here is one page of one KV head.

    `sparse_tokens`: decode tokens whose pages the program chose, `covered_tokens` those of them whose budget was known
    to cover every page, so that nothing was scored; `dense_tokens`: decode tokens of a layer below `dense_layers`,
    `window_tokens`: of a layer whose own window is limited, which no program shortens further;
    `pages_attended` and `pages_dense`: pages read for the sparse tokens, and pages that dense attention would have
    read for them.
    """

    sparse_tokens: int = 0
    covered_tokens: int = 0
    dense_tokens: int = 0
    window_tokens: int = 0
    prefill_tokens: int = 0
    pages_attended: int = 0
    pages_dense: int = 0


NAMES = tuple(field.name for field in fields(Counters))
HELP = {
    "sparse_tokens": "Decode tokens whose pages the program chose",
    "covered_tokens": "Decode tokens whose budget covered every page, so that nothing was scored",
    "dense_tokens": "Decode tokens of layers that attend to everything",
    "window_tokens": "Decode tokens of sliding-window layers, which no program shortens further",
    "prefill_tokens": "Prompt tokens, which always attend densely",
    "pages_attended": "Pages of one KV head that were read for sparse decode tokens",
    "pages_dense": "Pages of one KV head that dense attention would have read for them",
}


class Meter:
    """One layer's counters: since the last reset for the evaluator, since the start for the endpoint."""

    def __init__(self) -> None:
        self._totals = np.zeros(len(NAMES), dtype=np.int64)
        self._before = self._totals.copy()  # what was counted before the last reset
        self._is_shared = False

    def add(self, layer: str, counted: Counters) -> None:
        """Count what a layer, known by its name in vLLM, did in a step."""
        if not self._is_shared:
            shared = _shared(layer)
            shared += self._totals
            self._totals, self._is_shared = shared, True
        for i, number in enumerate(vars(counted).values()):
            if number:
                self._totals[i] += number

    @property
    def counters(self) -> Counters:
        """Give what was counted since the last reset; setting it is one."""
        return Counters(*(self._totals - self._before).tolist())

    @counters.setter
    def counters(self, counters: Counters) -> None:
        self._before = self._totals - np.array(list(vars(counters).values()))


def _shared(layer: str) -> np.ndarray:
    """Make a layer's array, in shared memory where the plugin was registered."""
    folder = Path(os.environ.get(FOLDER, ""))
    if not os.environ.get(FOLDER) or not folder.is_dir():
        return np.zeros(len(NAMES), dtype=np.int64)
    number = sum(1 for _ in folder.glob(f"{os.getpid()}-*.json"))
    counts = folder / f"{os.getpid()}-{number}.counts"
    totals = np.memmap(counts, dtype=np.int64, mode="w+", shape=(len(NAMES),))
    counts.with_suffix(".json").write_text(json.dumps({"layer": layer}), "utf-8")
    return np.asarray(totals)  # without what a memmap does beside at each access


def export() -> None:
    """Let this process's registry show what it and the processes that it will start count. Once per process tree."""
    if os.environ.get(FOLDER):
        return
    from prometheus_client import REGISTRY

    folder = tempfile.mkdtemp(prefix="vortex-metrics-")
    os.environ[FOLDER] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    REGISTRY.register(_Collector(Path(folder)))


class _Collector:
    """Adds up the arrays of all engine processes, by layer (a `prometheus_client` collector)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Any]:
        """Give one family of counters per name, each with a sample per layer."""
        from prometheus_client.core import CounterMetricFamily

        totals: dict[str, np.ndarray] = {}
        for told in sorted(self._folder.glob("*.json")):
            layer = json.loads(told.read_text("utf-8"))["layer"]
            counts = np.fromfile(told.with_suffix(".counts"), dtype=np.int64)
            totals[layer] = totals.get(layer, 0) + counts
        for i, name in enumerate(NAMES):
            family = CounterMetricFamily(PREFIX + name, HELP[name], labels=["layer"])
            for layer, counts in totals.items():
                family.add_metric([layer], float(counts[i]))
            yield family
