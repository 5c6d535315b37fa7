"""An exported wheel, all the way: installed, checked, served, asked, benchmarked, chosen among two, uninstalled.

    python benchmarks/plugin.py WHEEL OTHER_WHEEL --model FOLDER [--only STEP …]

Every step runs what an operator would type, in an environment that has vLLM and the wheels and not this project. It
ends with 1 where a step does not come out as it should.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.path[0] == str(Path(__file__).parent):  # run as a file: `kernels` must not mean a file beside this one
    sys.path[0] = str(Path(__file__).parents[1])

from search.plugin.verify import fresh_environment, read_wheel

START_S, STEP_S, STOP_S = 1200, 900, 60  # of a machine that does much else
CACHE_BYTES, MAX_TOKENS = 256 << 20, 2048  # a model that takes longer texts would ask for a larger cache
LIMITS = ["--kv-cache-memory-bytes", str(CACHE_BYTES), "--max-model-len", str(MAX_TOKENS)]
PROMPT_TOKENS, ANSWER_TOKENS, NUM_PROMPTS = 700, 16, 8


class Walk:
    """The environment with the first wheel, and what was seen in it."""

    def __init__(self, folder: Path, wheel: Path, other: Path, model: Path) -> None:
        self.folder, self.wheel, self.other, self.model = folder, wheel, other, model
        self.python = fresh_environment(folder, wheel)
        read = read_wheel(wheel)
        self.package, self.card = read.package, read.card
        self.answers: dict[str, list[int]] = {}

    @property
    def plugin(self) -> str:
        return self.package.replace("_", "-")

    def run(self, *words: str, timeout_s: float = STEP_S, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run what follows `python`."""
        command = [str(self.python), *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(variables), capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip

    def environment(self, variables: dict[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}
        fixed = {"HOME": str(self.folder), "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        return kept | fixed | {"VLLM_CPU_OMP_THREADS_BIND": "nobind"} | variables

    def pip(self, *words: str) -> None:
        subprocess.run([sys.executable, "-m", "pip", "--python", str(self.python), *words, "-q"], check=True)

    @contextmanager
    def server(self, *words: str, **variables: str) -> Iterator[tuple[str, Path]]:
        """Start a server by what follows `python`, and give its address and log when it answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = self.folder / f"server-{port}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [str(self.python), *words, "--host", "127.0.0.1", "--port", str(port), *LIMITS], cwd=self.folder,
                env=self.environment(variables), stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(url, process, log)
            yield url, log
        finally:
            end(process)

    def ask(self, url: str) -> list[int]:
        """Ask for a greedy answer to a prompt that is longer than the budget; gives its tokens."""
        body = {
            "model": str(self.model), "prompt": [7 + i % 300 for i in range(PROMPT_TOKENS)], "temperature": 0,
            "max_tokens": ANSWER_TOKENS, "ignore_eos": True, "return_token_ids": True,
        }  # fmt: skip
        request = urllib.request.Request(
            f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=STEP_S) as reply:
            return json.load(reply)["choices"][0]["token_ids"]


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(1)
    raise SystemExit(f"the server did not start:\n{log.read_text()[-3000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server and its engines: those that do not go by themselves are killed."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def complaints(told: str) -> str:
    """Give the sentences of errors, the root cause first, which an engine's process tells long before ours ends."""
    return "\n".join(dict.fromkeys(re.findall(r"\w*Error: .*", told))) or told[-3000:]


def counted(url: str, name: str) -> float:
    """Add up a counter of ours over all layers."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as reply:
        text = reply.read().decode()
    return sum(map(float, re.findall(rf"^vllm:vortex_{name}_total{{.*}} (\S+)$", text, re.MULTILINE)))


def bench(walk: Walk, url: str) -> dict[str, float]:
    """Run `vllm bench serve` against a server."""
    result = walk.folder / "bench.json"
    done = walk.run(
        "-m", "vllm.entrypoints.cli.main", "bench", "serve", "--backend", "openai", "--base-url", url,
        "--endpoint", "/v1/completions", "--model", str(walk.model), "--dataset-name", "random",
        "--random-input-len", str(PROMPT_TOKENS), "--random-output-len", str(ANSWER_TOKENS),
        "--num-prompts", str(NUM_PROMPTS), "--max-concurrency", "4", "--ignore-eos", "--save-result",
        "--result-filename", str(result),
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"vllm bench serve failed:\n{done.stderr[-2000:]}")
    found = json.loads(result.read_text())
    return {name: found[name] for name in ("completed", "output_throughput", "median_tpot_ms")}


def serving(walk: Walk) -> tuple[str, ...]:
    """Give what follows `python` where `vllm serve` is meant, which no script of this environment is."""
    return ("-m", "vllm.entrypoints.cli.main", "serve", str(walk.model), "--attention-backend", "CUSTOM")


def check(walk: Walk) -> str:
    """Run the wheel's own conformance test, on a model that it makes up."""
    done = walk.run("-m", f"{walk.package}.check")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout.strip()


def serve(walk: Walk) -> str:
    """`vllm serve` with another budget and no block size; it says so, reads fewer pages, and can be benchmarked."""
    changed = json.dumps({"vortex": {"values": {budget(walk): budget_value(walk)}}})
    with walk.server(*serving(walk), "--additional-config", changed) as (url, log):
        walk.answers["serve"] = walk.ask(url)
        attended, dense = counted(url, "pages_attended"), counted(url, "pages_dense")
        assert 0 < attended < dense, (attended, dense)
        warned = [line for line in log.read_text().splitlines() if "Vortex: " in line and "judged" in line]
        assert any(f"{budget(walk)}={budget_value(walk)}" in line for line in warned), log.read_text()[-3000:]
        told = bench(walk, url)
    return f"{attended / dense:.0%} of dense attention's pages; bench {told}; warned: {warned[0].split('Vortex: ')[1]}"


def module(walk: Walk) -> str:
    """`python -m vllm.entrypoints.openai.api_server` with the same budget gives the same answer."""
    words = ("-m", "vllm.entrypoints.openai.api_server", "--model", str(walk.model), "--attention-backend", "CUSTOM")
    block = ("--block-size", str(walk.card.values.get("page_size", 16)))
    changed = json.dumps({"vortex": {"values": {budget(walk): budget_value(walk)}}})
    with walk.server(*words, *block, "--additional-config", changed) as (url, _):
        walk.answers["module"] = walk.ask(url)
    if "serve" not in walk.answers:
        return f"{len(walk.answers['module'])} tokens; with --only serve module they are compared"
    assert walk.answers["module"] == walk.answers["serve"], walk.answers
    return "the same tokens"


def dense(walk: Walk) -> str:
    """The same server without CUSTOM: vLLM's own attention, no page of ours."""
    with walk.server("-m", "vllm.entrypoints.cli.main", "serve", str(walk.model)) as (url, _):
        walk.ask(url)
        assert counted(url, "sparse_tokens") == 0
        return f"bench {bench(walk, url)}"


def refused(walk: Walk) -> str:
    """Another block size, a value out of its range and a name that is not there are one sentence each."""
    cases = {
        "block size": (["--block-size", "128"], "leave block_size out or set it to"),
        "value": (["--additional-config", json.dumps({"vortex": {"values": {budget(walk): 10**6}}})], "out of range"),
        "name": (["--additional-config", '{"vortex": {"values": {"no_such": 1}}}'], "has no tunable"),
    }
    for name, (words, sentence) in cases.items():
        done = walk.run(*serving(walk), *LIMITS, *words)
        assert done.returncode, name
        assert sentence in done.stderr + done.stdout, (name, done.stderr[-2000:])
    return ", ".join(cases)


def lm_eval(walk: Walk) -> str:
    """lm-eval's own vLLM model, whose nested arguments are one JSON object."""
    arguments = {
        "pretrained": str(walk.model), "attention_backend": "CUSTOM", "enforce_eager": True, "dtype": "float32",
        "kv_cache_memory_bytes": CACHE_BYTES, "max_model_len": MAX_TOKENS,
        "additional_config": {"vortex": {"values": {budget(walk): budget_value(walk)}}},
    }  # fmt: skip
    task = walk.folder / "own"
    task.mkdir(exist_ok=True)
    questions = [{"question": "one two three four " * 60, "answer": "five"}] * 2
    (task / "own.jsonl").write_text("".join(json.dumps(each) + "\n" for each in questions))
    (task / "own.yaml").write_text(
        f"task: own\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {task / 'own.jsonl'}\n"
        "test_split: test\noutput_type: generate_until\ndoc_to_text: '{{question}}'\ndoc_to_target: '{{answer}}'\n"
        "generation_kwargs:\n  until: ['####']\n  max_gen_toks: 8\nmetric_list:\n  - metric: exact_match\n"
    )
    done = walk.run(
        "-m", "lm_eval", "--model", "vllm", "--model_args", json.dumps(arguments), "--tasks", "own",
        "--include_path", str(task), "--output_path", str(task / "out"), HF_DATASETS_CACHE=str(task / "cache"),
    )  # fmt: skip
    assert done.returncode == 0, complaints(done.stdout + done.stderr)
    assert "Vortex: " in done.stderr + done.stdout, done.stderr[-3000:]  # it was our backend that loaded
    return next(line for line in done.stdout.splitlines() if "exact_match" in line)


def two(walk: Walk) -> str:
    """Beside another wheel neither is active until one is named; then that one serves."""
    walk.pip("install", "--no-deps", "--no-index", str(walk.other))
    done = walk.run(*serving(walk), *LIMITS)
    told = done.stderr + done.stdout
    other = read_wheel(walk.other).package.replace("_", "-")
    assert done.returncode, told[-2000:]
    assert all(word in told for word in (walk.plugin, other, "VORTEX_PLUGIN")), told[-3000:]
    chosen = walk.run("-m", f"{walk.package}.check", VORTEX_PLUGIN=walk.plugin)
    assert chosen.returncode == 0, chosen.stdout + chosen.stderr[-2000:]
    wrong = walk.run("-m", f"{walk.package}.check", VORTEX_PLUGIN=other)
    assert wrong.returncode == 1, wrong.stdout
    walk.pip("uninstall", "-y", f"vortex-plugin-{other.removeprefix('vortex-')}")
    return "an error that names both, and the one that VORTEX_PLUGIN names serves"


def uninstall(walk: Walk) -> str:
    """Without the wheel nothing of it is left but loops that Numba compiled, which pip does not know."""
    walk.pip("uninstall", "-y", f"vortex-plugin-{walk.plugin.removeprefix('vortex-')}")
    code = "from importlib.metadata import entry_points as e; print([p.name for p in e(group='vllm.platform_plugins')])"
    assert walk.run("-c", code).stdout.strip() == "[]"
    assert walk.run("-m", f"{walk.package}.check").returncode
    left = [file for file in (walk.folder / "venv").rglob(f"site-packages/{walk.package}/**/*") if file.is_file()]
    assert all(file.suffix in (".nbi", ".nbc") for file in left), left
    return f"no entry point, no package; of compiled loops {sum(file.stat().st_size for file in left) / 1e6:.0f} MB"


def budget(walk: Walk) -> str:
    from vortex_dsl import load_program

    name = load_program(walk.card.text).budget
    assert name, "the walk needs a rule with a budget"
    return name


def budget_value(walk: Walk) -> int:
    return max(1, int(walk.card.values[budget(walk)]) // 2)


STEPS = (check, refused, serve, module, dense, lm_eval, two, uninstall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=[step.__name__ for step in STEPS], default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vortex-walk-") as folder:
        walk = Walk(Path(folder), given.wheel.resolve(), given.other.resolve(), given.model.resolve())
        for step in STEPS:
            if not given.only or step.__name__ in given.only:
                start = time.monotonic()
                print(f"{step.__name__}: {step(walk)} ({time.monotonic() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
