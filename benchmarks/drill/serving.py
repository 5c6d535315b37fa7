"""vLLM end to end on one card: its own dense attention and a program side by side, in turns, whole steps captured.

Two engines share the card, so a model has as many layers as fit twice. Rounds of decode steps alternate between them
and ratios are taken within pairs of rounds, as `benchmarks/serve.py` does it; nothing is compiled by vLLM, so that
engines start in a minute: both arms run the same custom kernels around their attention.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.drill.rows import sentence
from benchmarks.serve import STEPS, Arm, Case, Model, Setting, engine_settings, results_of, values_of, write_model
from search.records import Stage, Workload
from vortex_dsl import zoo

if TYPE_CHECKING:
    from benchmarks.drill.rows import Rows

GIB = 2**30
ARM_BYTES = 5 * GIB  # beside layers and cache: embeddings, activations of a prefill, graphs, the driver's own
SPARE = 0.04  # of a card
PAGE_SIZE, ATTENDED_TOKENS = 16, 1024
PROGRAMS = ("centroid", "quest")
CASES = (Case(64, 8192), Case(32, 32768), Case(1, 32768))
ROUNDS = 5
LEAST_LEFT_S = 20.0


@dataclass(frozen=True)
class Size:
    """What is served: the model, and the bytes of each arm's cache."""

    model: Model
    kv_cache_bytes: int


SMALL = Size(Model(2, 256, 8, 2, 64, 512, 577), 256 << 20)  # shows that it runs, on a CPU too
SMALL_CASES = (Case(4, 512), Case(1, 512))


def qwen(layers: int) -> Model:
    """Give Qwen3-1.7B with fewer layers."""
    return Model(layers, 2048, 16, 8, 128, 6144, 151936)


def layer_bytes(cases: tuple[Case, ...]) -> tuple[int, int]:
    """Give the bytes of a layer's weights, and of its cache for the largest case, its fields included."""
    model = qwen(1)
    projections = 2 * model.heads + 2 * model.kv_heads
    weights = 2 * model.hidden * (projections * model.head_dim + 3 * model.feed_forward)
    tokens = max(case.sequences * (case.tokens + 256) for case in cases)
    token = 2 * 2 * model.kv_heads * model.head_dim
    return weights, tokens * token * (PAGE_SIZE + 2) // PAGE_SIZE  # two summaries a page at most


def size_for(card_bytes: int, cases: tuple[Case, ...] = CASES) -> Size:
    """Give the model with as many layers, 28 at most, as fit on a card twice."""
    weights, cached = layer_bytes(cases)
    room = int(card_bytes * (1 - SPARE)) // 2 - ARM_BYTES
    layers = min(room // (weights + cached), 28)
    if layers < 1:
        message = f"a card of {card_bytes / GIB:.0f} GiB has no room for two engines with one layer each"
        raise ValueError(message)
    return Size(qwen(layers), layers * cached)


def settings_of(size: Size, cases: tuple[Case, ...], captured: bool) -> tuple[Setting, dict[str, Any]]:
    """Say how both arms start: with graphs of whole steps where `captured`."""
    setting = Setting("drill", size.model, cases, PAGE_SIZE, size.kv_cache_bytes, graphs=captured, captured=True)
    programs = {name: _values(name) for name in PROGRAMS}
    largest = Case(max(case.sequences for case in cases), max(case.tokens for case in cases))
    given = engine_settings(setting, programs, largest)
    return setting, given | {"captured_batches": sorted({case.sequences for case in cases}) if captured else ()}


def serve(rows: Rows, size: Size, cases: tuple[Case, ...], captured: bool = True) -> None:
    """Compare every program with dense, case by case. The first sparse engine starts while the dense one does."""
    setting, settings = settings_of(size, cases, captured)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO")  # what attention runs on is said there
    rows.add(layers=size.model.layers, kv_cache_gib=round(size.kv_cache_bytes / GIB, 1), captured=captured)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool, ExitStack() as ends:
        model = write_model(Path(folder), setting.model)
        starting = pool.submit(Arm, "dense", setting, model, settings)
        ends.callback(lambda: starting.exception() or starting.result().close())
        for name in PROGRAMS:
            try:
                program = {"program": zoo.text(name), "values": list(_values(name).items())}
                with closing(Arm("sparse", setting, model, settings | program)) as sparse:
                    arms = (starting.result(), sparse)
                    compare(rows, (setting, name), arms, cases)
            except (SystemExit, OSError) as error:  # how an arm says that its engine failed
                rows.add(program=name, failed=sentence(error))
                if starting.exception() is not None:
                    break


def compare(rows: Rows, what: tuple[Setting, str], arms: tuple[Arm, Arm], cases: tuple[Case, ...]) -> None:
    """Decode in turns, dense and sparse, and give both rows of every case. what: setting and program."""
    setting, name = what
    capacity = [arm.started["kv_tokens"] for arm in arms]
    rows.add(program=name, ready=True, **{key: str(value) for key, value in arms[1].started["environment"].items()})
    for case in cases:
        if rows.left_s < LEAST_LEFT_S:
            rows.add(program=name, case=str(case), skipped="no time is left")
            continue
        workload = asdict(Workload(Stage.SERVE, num_tokens=case.tokens, num_sequences=case.sequences))
        asked = {"text": zoo.text(name), "values": list(_values(name).items()), "workload": workload, "seed": 0}
        rounds = [tuple(arm.call("serve_round", **asked, num_tokens=1 + STEPS) for arm in arms)]
        prefilled_s = rows.spent_s
        rounds += [tuple(arm.call("serve_round", **asked, num_tokens=1 + STEPS) for arm in arms) for _ in range(ROUNDS)]
        for found in results_of((setting, case, name), rounds[1:], capacity):  # the first warms up
            rows.add(**asdict(found), timed_s=round(rows.spent_s - prefilled_s, 1))


def _values(name: str) -> dict[str, int]:
    return values_of(name, PAGE_SIZE, ATTENDED_TOKENS)
