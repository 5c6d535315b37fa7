"""Does an exported wheel serve what its evaluation recorded? Asked where this project has never been seen.

A wheel is somebody's code. Installing it runs none of it; its own conformance test (`search.plugin.check`) does, in the
sandbox in which engines run.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.config import tokens_needed
from search.evaluator.caching import cache_bytes
from search.evaluator.engine import EngineSettings
from search.evaluator.fidelity.given import TextError
from search.evaluator.models import cache_folder, model_digest, model_facts
from search.evaluator.probe.chains import NUM_HOPS
from search.evaluator.probe.problems import problems_of
from search.evaluator.sandbox import Box, Child, ChildError
from search.evaluator.speed.prompts import NUM_TOKENS, prompts_of
from search.records import Stage, Workload, digest_of
from vortex_dsl import load_program
from vortex_dsl.errors import quoted
from vortex_dsl.serving.plugin import on_cpu_build

HIDDEN = ("vortex", "_vortex", "__editable__", "_editable")
PACKAGE = r"vortex_[0-9a-f]{12}"
TIMEOUT_S = 600
MAX_SENTENCE = 300  # characters of what a wheel says
MAX_CARD_BYTES, MAX_WHEEL_BYTES = 64 << 20, 512 << 20  # unpacked
VARIABLES = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}  # beside those that the check sets
PAGES_TOLERANCE = 0.01  # a near tie may fall otherwise in another batch


class VerifyError(ValueError):
    """The wheel cannot be verified; the message says why and what to do."""


@dataclass(frozen=True)
class Verification:
    """What came of it: `same` when every generated token equals the recorded evaluation's.

    `findings`: what the wheel's own conformance test saw, a line each.
    """

    name: str
    digest: str
    plugin: str
    same: bool
    expected: str
    got: str
    num_prompts: int
    pages_attended: int
    pages_dense: int
    findings: tuple[str, ...] = ()


def verify_wheel(wheel: Path, model: str) -> Verification:
    """Install the wheel into a fresh environment beside vLLM, run its conformance test there, and compare its answers.

    Raises:
        VerifyError: not an exported wheel, vLLM does not serve it, or it does not do what its program says.

    """
    package, card = read_card(wheel)
    asked = _asked(wheel, card, Path(model))
    with tempfile.TemporaryDirectory() as folder:
        python = fresh_environment(Path(folder), wheel)
        request = {
            "model": model, "prompts": asked.prompts, "num_tokens": asked.num_tokens,
            "engine": _engine(card, asked.workload, model),
        }  # fmt: skip
        served = _check(python, package, request)
    _check_pages(asked.evaluation, served)
    got = digest_of(served["tokens"])
    return Verification(
        name=card["name"], digest=card["digest"], plugin=package,
        same=got == asked.expected, expected=asked.expected, got=got,
        num_prompts=len(asked.prompts), pages_attended=served["pages_attended"], pages_dense=served["pages_dense"],
        findings=tuple(map(_sentence, served["findings"])),
    )  # fmt: skip


def read_card(wheel: Path) -> tuple[str, dict[str, Any]]:
    """Give the wheel's package name and its `exported.json`. Raises VerifyError."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            name = next(n for n in archive.namelist() if n.endswith("/exported.json"))
            _check_size(wheel, archive, name)
            package, card = name.split("/")[0], json.loads(archive.read(name))
    except VerifyError:
        raise
    except FileNotFoundError as error:
        raise VerifyError(f"{wheel}: no such file; `vortex export ID -o DIR` writes one") from error
    except (zipfile.BadZipFile, zlib.error, StopIteration, ValueError, RuntimeError, IsADirectoryError) as error:
        raise VerifyError(f"{wheel}: not a wheel that `vortex export` wrote") from error
    if not re.fullmatch(PACKAGE, package):
        raise VerifyError(f"{wheel}: not a wheel that `vortex export` wrote: its package is {quoted(package)}")
    return package, card


def _check_size(wheel: Path, archive: zipfile.ZipFile, card: str) -> None:
    """Refuse what would fill memory or a disk."""
    num_bytes = sum(each.file_size for each in archive.infolist())
    if archive.getinfo(card).file_size > MAX_CARD_BYTES or num_bytes > MAX_WHEEL_BYTES:
        raise VerifyError(f"{wheel}: unpacked it takes {num_bytes:,} bytes, far more than any export")


@dataclass(frozen=True)
class _Asked:
    """What a wheel is asked: an evaluation of its card once more, the prompts in the order in which they were sent."""

    evaluation: dict[str, Any]
    workload: Workload
    prompts: list[Any]
    num_tokens: int

    @property
    def expected(self) -> str:
        """Give the digest of the recorded answers."""
        return str(self.evaluation["answers"])


def _asked(wheel: Path, card: dict[str, Any], model: Path) -> _Asked:
    """Read what a card records of the stage whose workload it names. Raises VerifyError."""
    try:
        workload = Workload(**card["workload"])
        stage = Stage(workload.stage)
        found = next((e for e in card["evaluations"] if e["key"]["stage"] == stage and e["answers"]), None)
        measured_on = found["key"]["model_digest"] if found else ""
    except (KeyError, TypeError, ValueError) as error:
        raise VerifyError(f"{wheel}: not a wheel that `vortex export` wrote") from error
    if found is None:
        raise VerifyError(f"{wheel.name} records no answers; export the candidate again")
    if stage is Stage.PROBE:
        prompts: list[Any] = [problem.prompt for problem in problems_of(workload, found["key"]["seed"])]
        return _Asked(found, workload, prompts, NUM_HOPS)
    if measured_on != model_digest(model):
        raise VerifyError(f"{wheel.name} was measured on {card['model']}, which {model} is not: name it with --model")
    return _Asked(found, workload, _timed_prompts(workload, found["key"]["seed"], model), NUM_TOKENS)


def _timed_prompts(workload: Workload, seed: int, model: Path) -> list[dict[str, list[int]]]:
    """Give the prompts for which a wheel's answers were recorded. Raises VerifyError."""
    from transformers import AutoTokenizer

    try:
        found = prompts_of(workload, seed, AutoTokenizer.from_pretrained(model), cache_folder() / "engines")
    except TextError as error:
        raise VerifyError(f"the texts that the wheel was measured on are not here: {error}") from None
    return [{"prompt_token_ids": list(prompt)} for prompt in found]


def fresh_environment(folder: Path, wheel: Path) -> Path:
    """Make a virtual environment that sees vLLM but not this project, install the wheel; gives its Python."""
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    seen = folder / "seen"
    seen.mkdir()
    packages = Path(sysconfig.get_paths()["purelib"])
    for entry in packages.iterdir():
        if not entry.name.startswith(HIDDEN) and entry.suffix != ".pth":
            (seen / entry.name).symlink_to(entry)
    own = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    (own / "beside.pth").write_text(f"{seen}\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    done = subprocess.run([*install, str(wheel)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise VerifyError(f"{wheel.name} does not install: {done.stderr.strip()[-300:]}")
    return python


def _engine(card: dict[str, Any], workload: Workload, model: str) -> dict[str, Any]:
    """Give the engine's arguments as the evaluation had them (`search.evaluator.engine.Engine`)."""
    settings = EngineSettings(model, sparse=True, max_tokens=tokens_needed([workload]))
    wanted = cache_bytes(model_facts(Path(model)), [workload], 4 if on_cpu_build() else 2, settings)
    page_size = load_program(card["text"]).with_values(**card["values"]).values["page_size"]
    return {
        "dtype": settings.dtype if on_cpu_build() else "bfloat16", "block_size": page_size,
        "max_model_len": settings.max_tokens, "max_num_seqs": settings.max_sequences,
        "kv_cache_memory_bytes": max(settings.kv_cache_bytes, wanted),
    }  # fmt: skip


def _check_pages(evaluation: dict[str, Any], served: dict[str, Any]) -> None:
    """Raise VerifyError unless the wheel reads the recorded share of pages: right answers alone may be dense ones."""
    recorded = {m["name"]: m["value"] for m in evaluation["measurements"]}
    expected = recorded.get("pages_attended", 0.0) / recorded.get("pages_dense", 1.0)
    got = served["pages_attended"] / max(1, served["pages_dense"])
    if not math.isclose(got, expected, rel_tol=PAGES_TOLERANCE):
        raise VerifyError(
            f"the wheel read {got:.2%} of the pages where its evaluation recorded {expected:.2%}: "
            "it does not run the program that was measured"
        )


def _check(python: Path, package: str, request: dict[str, Any]) -> dict[str, Any]:
    """Run the wheel's own check in the sandbox: vLLM, the wheel, the model, and nothing of this project."""
    given = {name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ}
    box = Box(
        scratch=python.parents[2],
        readable=(Path(request["model"]),),
        environment=tuple((VARIABLES | given).items()),
    )
    try:
        with closing(Child((str(python), "-P", "-m", f"{package}.check", "--ask"), box)) as child:
            told = child.call("check", request, TIMEOUT_S)
    except ChildError as error:
        raise VerifyError(f"vLLM did not serve the wheel: {error}") from error
    try:
        wrong = [_sentence(each) for each in told["findings"] if not each["is_right"]]
        num_answers = len(told["tokens"])
    except (KeyError, TypeError) as error:
        raise VerifyError(f"{package}.check gave an answer that no export gives") from error
    if wrong:
        raise VerifyError(f"the wheel fails its own check: {'; '.join(wrong)}")
    if num_answers != len(request["prompts"]):
        raise VerifyError(f"the wheel answered {num_answers} of {len(request['prompts'])} prompts")
    return told


def _sentence(finding: dict[str, Any]) -> str:
    """Give what a wheel says of itself as one line that any terminal shows as text."""
    return quoted(f"{finding['what']}: {finding['seen']}", MAX_SENTENCE)[1:-1]
