"""Dense vLLM against programs, end to end: `python benchmarks/serve.py --device cpu|cuda`.

Two engines, one with vLLM's own best dense attention and one with our plugin, run in processes of their own and never
compute at the same time. Prompts are prefilled once; then rounds of decode steps alternate, dense, sparse, dense,
sparse, and a program's figure is the paired ratio of decode tokens per second with its interval. Weights are random:
they change nothing about speed. Results go to benchmarks/results/ as JSON with device, dtype and versions.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

if sys.path[0] == str(Path(__file__).parent):  # run as a file: `kernels` must not mean a file beside this one
    sys.path[0] = str(Path(__file__).parents[1])

from search.evaluator.intervals import Interval, paired_ratio
from search.evaluator.probe import MODEL_FOLDER
from search.records import Stage, Workload
from vortex_dsl import Shape, cost, load_program, zoo

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
PROGRAMS = ("centroid", "quest", "sign_keys", "two_stage")
PAGE_SIZES = (16, 32, 64, 128)
DTYPE = "bfloat16"  # of both engines
STEPS = 64  # of a round: the first of them find the other engine's data in the caches


@dataclass(frozen=True)
class Model:
    """Shapes of a Qwen3 model with random weights."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int

    @property
    def shape(self) -> Shape:
        """What a program is traced for."""
        return Shape(self.heads // self.kv_heads, self.head_dim)

    @property
    def config(self) -> dict[str, Any]:
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.feed_forward,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 40960,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        }


@dataclass(frozen=True)
class LatentModel:
    """Shapes of GLM-4.7-Flash, as transformers has them, with fewer layers: 20 heads over latents of 512 + 64."""

    layers: int

    @property
    def shape(self) -> Shape:
        """What a program is traced for: all heads are one group."""
        given = self.config
        return Shape(given["num_attention_heads"], given["kv_lora_rank"] + given["qk_rope_head_dim"])

    @property
    def config(self) -> dict[str, Any]:
        from transformers import Glm4MoeLiteConfig

        given = {"architectures": ["Glm4MoeLiteForCausalLM"], "torch_dtype": "bfloat16", "first_k_dense_replace": 1}
        return Glm4MoeLiteConfig(num_hidden_layers=self.layers).to_dict() | given


@dataclass(frozen=True)
class Case:
    """Sequences that decode side by side, each this long."""

    sequences: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.sequences} x {self.tokens}"


@dataclass(frozen=True)
class Setting:
    """What runs in one pair of engines."""

    name: str
    model: Model | LatentModel
    cases: tuple[Case, ...]
    page_size: int
    kv_cache_bytes: int
    graphs: bool
    captured: bool = False  # whether graphs hold the program that they were captured with
    environment: dict[str, str] = field(default_factory=dict)


SETTINGS = {
    "cpu": (
        Setting(
            "probe-shaped",
            Model(4, 256, 8, 2, 64, 512, 577),
            (Case(8, 16384), Case(8, 256)),
            page_size=128,  # vLLM's default on a CPU
            kv_cache_bytes=512 << 20,
            graphs=True,
            environment={"OMP_NUM_THREADS": "1"},
        ),
    ),
    "cuda": (
        Setting(
            "Qwen3-1.7B",
            Model(12, 2048, 16, 8, 128, 6144, 151936),  # of 28 layers: two engines hold their caches side by side
            (Case(64, 8192), Case(32, 32768), Case(1, 32768), Case(64, 256)),
            page_size=16,
            kv_cache_bytes=55 << 30,
            graphs=True,
            captured=True,
        ),
        Setting(
            "GLM-4.7-Flash",
            LatentModel(20),  # of 47: two engines hold their weights side by side
            (Case(32, 32768), Case(1, 32768)),
            page_size=16,
            kv_cache_bytes=28 << 30,
            graphs=True,
            captured=True,
        ),
    ),
}


@dataclass(frozen=True)
class Result:
    """One program in one case: decode tokens/s over dense's, and the latency between tokens in milliseconds."""

    model: str
    case: str
    page_size: int
    program: str
    ratio: float
    low: float | None
    high: float | None
    rounds: int
    tokens_per_s: float
    itl_p50_ms: float
    itl_p95_ms: float
    itl_p99_ms: float
    attended_tokens: float
    kv_capacity_tokens: int


class Arm:
    """One engine in a process of its own (search/evaluator/host.py)."""

    def __init__(self, role: str, setting: Setting, model: Path, settings: dict[str, Any]) -> None:
        environment = os.environ | setting.environment
        command = [sys.executable, "-m", "search.evaluator.host", role]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.started = self.call("start", model=str(model), **settings)

    def call(self, name: str, **args: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"call": name, "args": args}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        reply = json.loads(line) if line else {"status": "crashed", "message": "the engine's process ended"}
        if "result" not in reply:
            raise SystemExit(f"{name}: {reply['status']}: {reply['message']}")
        return reply["result"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def write_model(folder: Path, model: Model | LatentModel) -> Path:
    """Write a configuration without weights, and a tokenizer that nothing uses."""
    (folder / "config.json").write_text(json.dumps(model.config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MODEL_FOLDER / name, folder / name)
    return folder


def values_of(name: str, page_size: int, attended: int) -> dict[str, int]:
    """Give the values with which a program attends to at most this many tokens, reserved pages included."""
    program = load_program(zoo.text(name))
    reserved = int(program.values["sink"]) + int(program.values["window"])
    values = {"page_size": page_size, "dense_layers": 0}
    return values | ({"pages": attended // page_size - reserved} if "pages" in program.tunables else {})


def engine_settings(setting: Setting, programs: dict[str, dict[str, int]], case: Case) -> dict[str, Any]:
    """Say how both engines start: room for the fields of the largest program."""
    loaded = [load_program(zoo.text(name)).with_values(**values) for name, values in programs.items()]
    costs = [cost(program, setting.model.shape) for program in loaded]
    return {
        "max_tokens": case.tokens + 256,
        "max_sequences": case.sequences,
        "dtype": DTYPE,
        "page_size": setting.page_size,
        "field_bytes": max(each.bytes_per_page for each in costs),
        "kv_cache_bytes": setting.kv_cache_bytes,
        "graphs": setting.graphs,
        "load_format": "dummy",
    }


def measure(setting: Setting, case: Case, programs: dict[str, dict[str, int]], num_rounds: int) -> list[Result]:
    """Run one case: every program against dense, round by round."""
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder), setting.model)
        settings = engine_settings(setting, programs, case)
        arms = {"dense": Arm("dense", setting, model, settings)}
        workload = asdict(Workload(Stage.SERVE, num_tokens=case.tokens, num_sequences=case.sequences))
        results = []
        for name, values in programs.items():
            text, chosen = zoo.text(name), list(values.items())
            if setting.captured and "sparse" in arms:
                arms.pop("sparse").close()
            if "sparse" not in arms:
                arms["sparse"] = Arm("sparse", setting, model, settings | {"program": text, "values": chosen})
            asked = {"text": text, "values": chosen, "workload": workload, "seed": 0, "num_tokens": 1 + STEPS}
            rounds = [
                tuple(arms[role].call("serve_round", **asked) for role in ("dense", "sparse"))
                for _ in range(num_rounds + 1)
            ][1:]  # the first warms up
            capacity = [arms[role].started["kv_tokens"] for role in ("dense", "sparse")]
            results += results_of((setting, case, name), rounds, capacity)
        for arm in arms.values():
            arm.close()
    return results


def results_of(
    what: tuple[Setting, Case, str], rounds: list[tuple[dict[str, Any], ...]], capacity: list[int]
) -> list[Result]:
    """Give the dense row of these rounds and the program's. what: setting, case and program."""
    setting, case, name = what
    speeds = [[arm["num_tokens"] / arm["elapsed_s"] for arm in pair] for pair in rounds]
    ratio = paired_ratio([(sparse, dense) for dense, sparse in speeds])
    read = rounds[-1][1]["pages_attended"] * setting.page_size
    sides = ((f"dense beside {name}", Interval(1.0, None, None, len(rounds)), case.tokens), (name, ratio, read))
    return [
        Result(
            setting.name, str(case), setting.page_size, label, found.value, found.low, found.high, len(rounds),
            sum(pair[side] for pair in speeds) / len(speeds), *latencies(rounds, side), attended, capacity[side],
        )
        for side, (label, found, attended) in enumerate(sides)
    ]  # fmt: skip


def latencies(rounds: list[tuple[dict[str, Any], ...]], side: int) -> tuple[float, ...]:
    """Give the 50th, 95th and 99th percentile of the time between tokens, in milliseconds."""
    steps = sorted(step for pair in rounds for step in pair[side]["step_ms"])
    return tuple(steps[min(int(share * len(steps)), len(steps) - 1)] for share in (0.5, 0.95, 0.99))


def environment() -> dict[str, str]:
    """Name what the figures depend on."""
    from search.evaluator.identity import environment as described

    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    given = {name: str(value) for name, value in asdict(described(DTYPE)).items()}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return given | {"commit": commit.stdout.strip() or "unknown", "time": now}


def show(results: list[Result]) -> None:
    columns = ("x dense", "interval", "tokens/s", "ITL p50/p95/p99 ms", "read")
    print("{:26} {:22} {:>7} {:>13} {:>9} {:>22} {:>7}".format("case", "program", *columns))
    for row in results:
        interval = "" if row.low is None else f"{row.low:.2f} – {row.high:.2f}"
        itl = f"{row.itl_p50_ms:.1f} / {row.itl_p95_ms:.1f} / {row.itl_p99_ms:.1f}"
        figures = f"{row.ratio:>7.2f} {interval:>13} {row.tokens_per_s:>9.0f} {itl:>22} {row.attended_tokens:>7.0f}"
        print(f"{row.model + ', ' + row.case:26} {row.program:22} {figures}")


def save(device: str, results: list[Result]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    given = environment()
    path = RESULTS / f"serve_{device}_{given['time'].replace(':', '')}.json"
    path.write_text(json.dumps({"environment": given, "results": [asdict(row) for row in results]}, indent=1) + "\n")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=tuple(SETTINGS), required=True)
    parser.add_argument("--programs", nargs="+", default=PROGRAMS, help="names of the zoo")
    parser.add_argument("--attended", type=int, default=1024, help="most tokens attended, reserved pages included")
    parser.add_argument("--rounds", type=int, default=8, help=f"pairs of rounds per program, of {STEPS} steps")
    parser.add_argument("--page-size", type=int, choices=PAGE_SIZES, help="tokens per page, of both engines")
    parser.add_argument("--quick", action="store_true", help="only the shortest case, which shows that it runs")
    given = parser.parse_args()
    results = []
    for usual in SETTINGS[given.device]:
        setting = replace(usual, page_size=given.page_size or usual.page_size)
        programs = {name: values_of(name, setting.page_size, given.attended) for name in given.programs}
        for case in setting.cases[-1:] if given.quick else setting.cases:
            results += measure(setting, case, programs, given.rounds)
            show(results)
    print(f"\nwritten to {save(given.device, results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
