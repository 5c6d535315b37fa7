"""Does an exported wheel serve what its evaluation recorded? Asked where this project has never been seen.

A wheel is code, and may be anybody's. It is read before anything is done with it (`search.plugin.wheel`), and compared
with what this project writes; it is installed, and its own conformance test (`search.plugin.check`) is run, in the
sandbox in which engines run.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from search.config import tokens_needed
from search.evaluator.caching import cache_bytes
from search.evaluator.engine import EngineSettings
from search.evaluator.fidelity.given import TextError
from search.evaluator.fidelity.material import tokenizer_in
from search.evaluator.identity import EVALUATOR_VERSION
from search.evaluator.models import cache_folder, model_digest, model_facts
from search.evaluator.probe.chains import NUM_HOPS
from search.evaluator.probe.problems import problems_of
from search.evaluator.sandbox import Box, Child, ChildError, bubblewrap
from search.evaluator.speed.prompts import NUM_TOKENS, prompts_of
from search.plugin.export import runtime
from search.plugin.said import Told
from search.plugin.wheel import VerifyError, read_wheel
from search.records import Stage, digest_of
from vortex_dsl import load_program
from vortex_dsl.errors import listed, quoted
from vortex_dsl.serving.plugin import on_cpu_build

if TYPE_CHECKING:
    from search.plugin.said import Card, Finding, Recorded
    from search.plugin.wheel import Wheel
    from search.records import Workload

__all__ = ["Verification", "VerifyError", "fresh_environment", "read_wheel", "verify_wheel"]

HIDDEN = ("vortex", "_vortex", "__editable__", "_editable")
INSTALL_S, CHECK_S = 120, 600
MAX_SENTENCE = 300  # characters of what a wheel says
VARIABLES = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}  # beside those that the check sets
PAGES_TOLERANCE = 0.01  # a near tie may fall otherwise in another batch


@dataclass(frozen=True)
class Verification:
    """What came of it: `same` when every generated token equals the recorded evaluation's.

    `strange_files`: those of its package that this project would not write so; where there are some, the rest is what
    the wheel's code says. `findings`: what was seen of its code, and what its own conformance test saw, a line each.
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
    strange_files: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def verify_wheel(wheel: Wheel, model: Path) -> Verification:
    """Install a wheel into a fresh environment beside vLLM, run its conformance test there, and compare its answers.

    Raises:
        VerifyError: there is no sandbox to hold its code, vLLM does not serve it, or it does not do what its program
            says.

    """
    asked, strange = _asked(wheel, model), _strange_files(wheel)
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / wheel.file_name
        own.write_bytes(wheel.content)
        python = fresh_environment(Path(folder), own)
        request = {
            "model": str(model), "prompts": asked.prompts, "num_tokens": asked.num_tokens,
            "engine": _engine(wheel.card, asked.workload, model),
        }  # fmt: skip
        served = _check(python, wheel.package, request)
    _check_pages(asked.evaluation, served)
    got = digest_of(served.tokens)
    return Verification(
        name=wheel.card.name, digest=wheel.card.digest, plugin=wheel.package,
        same=got == asked.evaluation.answers, expected=asked.evaluation.answers, got=got,
        num_prompts=len(asked.prompts), pages_attended=served.pages_attended, pages_dense=served.pages_dense,
        strange_files=strange, findings=(_code(wheel, strange), *map(_sentence, served.findings)),
    )  # fmt: skip


@dataclass(frozen=True)
class _Asked:
    """What a wheel is asked: an evaluation of its card once more, the prompts in the order in which they were sent."""

    evaluation: Recorded
    workload: Workload
    prompts: list[Any]
    num_tokens: int


def _asked(wheel: Wheel, model: Path) -> _Asked:
    """Read what a card records of the stage whose workload it names. Raises VerifyError."""
    card, workload = wheel.card, wheel.card.workload.workload
    found = next((e for e in card.evaluations if e.key.stage is workload.stage and e.answers), None)
    if found is None:
        raise VerifyError(f"{wheel.name} records no answers; export the candidate again")
    if found.key.model_digest != model_digest(model):
        raise VerifyError(
            f"{wheel.name} was measured on {quoted(card.model)}, which {model} is not: name it with --model"
        )
    if workload.stage is Stage.PROBE:
        prompts: list[Any] = [problem.prompt for problem in problems_of(workload, found.key.seed)]
        return _Asked(found, workload, prompts, NUM_HOPS)
    if found.key.evaluator_version != EVALUATOR_VERSION:
        raise VerifyError(
            f"{wheel.name} has answers to what evaluator {quoted(found.key.evaluator_version)} asked, and this is "
            f"{EVALUATOR_VERSION}, which asks otherwise: verify it with the version that measured it, or measure the "
            "program here and export it again"
        )
    return _Asked(found, workload, _timed_prompts(workload, found.key.seed, model), NUM_TOKENS)


def _timed_prompts(workload: Workload, seed: int, model: Path) -> list[dict[str, list[int]]]:
    """Give the prompts for which a wheel's answers were recorded. Raises VerifyError."""
    try:
        found = prompts_of(workload, seed, tokenizer_in(model), cache_folder() / "engines")
    except TextError as error:
        raise VerifyError(f"the texts that the wheel was measured on are not here: {error}") from None
    return [{"prompt_token_ids": list(prompt)} for prompt in found]


def _strange_files(wheel: Wheel) -> tuple[str, ...]:
    """Give the files of the wheel's package that this project would not write, or would write otherwise.

    Raises VerifyError where there are some, and no sandbox could hold what they do.
    """
    own = runtime(wheel.package)
    strange = tuple(sorted(name for name in own.keys() | wheel.code.keys() if own.get(name) != wheel.code.get(name)))
    if strange and bubblewrap() is None:
        raise VerifyError(
            f"{wheel.name} is not run, for it could do here what you can: {_code(wheel, strange)}; install bubblewrap, "
            "which holds it"
        )
    return strange


def _code(wheel: Wheel, strange: tuple[str, ...]) -> str:
    """Tell whose code a wheel holds."""
    if not strange:
        return f"code: {len(wheel.code)} files, each as this project's version {version('vortex-search')} writes it"
    return (
        f"code: {len(strange)} of {len(wheel.code)} files are not what this project writes: "
        f"{listed(map(quoted, strange))}; it is of version {quoted(wheel.card.runtime)}, it says"
    )


def fresh_environment(folder: Path, wheel: Path) -> Path:
    """Make a virtual environment that sees vLLM but not this project, install the wheel; gives its Python.

    The wheel is unpacked in the sandbox, where it cannot write outside the folder. Raises VerifyError.
    """
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    seen = folder / "seen"
    seen.mkdir()
    packages = Path(sysconfig.get_paths()["purelib"])
    for entry in packages.iterdir():
        if not entry.name.startswith(HIDDEN) and entry.suffix != ".pth":
            (seen / entry.name).symlink_to(entry)
    own = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    (own / "beside.pth").write_text(f"{seen}\n", "utf-8")
    _install(python, wheel.resolve(), folder)
    return python


def _install(python: Path, wheel: Path, folder: Path) -> None:
    """Unpack a wheel into an environment below `folder`, in the sandbox. Raises VerifyError."""
    box = Box(scratch=folder, readable=(wheel,))
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel))
    try:
        done = subprocess.run(
            box.wrapped(pip), cwd=folder, env=box.variables(), capture_output=True, timeout=INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise VerifyError(f"{wheel.name} is not installed after {INSTALL_S} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-MAX_SENTENCE:]
        raise VerifyError(f"{wheel.name} does not install: {quoted(said, MAX_SENTENCE)}")


def _engine(card: Card, workload: Workload, model: Path) -> dict[str, Any]:
    """Give the engine's arguments as the evaluation had them (`search.evaluator.engine.Engine`)."""
    settings = EngineSettings(str(model), sparse=True, max_tokens=tokens_needed([workload]))
    wanted = cache_bytes(model_facts(model), [workload], 4 if on_cpu_build() else 2, settings)
    page_size = load_program(card.text).with_values(**card.values).values["page_size"]
    return {
        "dtype": settings.dtype if on_cpu_build() else "bfloat16", "block_size": page_size,
        "max_model_len": settings.max_tokens, "max_num_seqs": settings.max_sequences,
        "kv_cache_memory_bytes": max(settings.kv_cache_bytes, wanted),
    }  # fmt: skip


def _check_pages(evaluation: Recorded, served: Told) -> None:
    """Raise VerifyError unless the wheel reads the recorded share of pages: right answers alone may be dense ones."""
    recorded = {m.name: m.value for m in evaluation.measurements}
    expected = recorded.get("pages_attended", 0.0) / (recorded.get("pages_dense") or 1.0)
    got = served.pages_attended / max(1, served.pages_dense)
    if not math.isclose(got, expected, rel_tol=PAGES_TOLERANCE):
        raise VerifyError(
            f"the wheel read {got:.2%} of the pages where its evaluation recorded {expected:.2%}: "
            "it does not run the program that was measured"
        )


def _check(python: Path, package: str, request: dict[str, Any]) -> Told:
    """Run the wheel's own check in the sandbox: vLLM, the wheel, the model, and nothing of this project."""
    given = {name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ}
    box = Box(
        scratch=python.parents[2],
        readable=(Path(request["model"]),),
        environment=tuple((VARIABLES | given).items()),
    )
    try:
        with closing(Child((str(python), "-P", "-m", f"{package}.check", "--ask"), box)) as child:
            told = Told.model_validate(child.call("check", request, CHECK_S))
    except ChildError as error:
        raise VerifyError(f"vLLM did not serve the wheel: {error}") from error
    except ValidationError as error:
        raise VerifyError(f"{package}.check gave an answer that no export gives") from error
    wrong = [_sentence(each) for each in told.findings if not each.is_right]
    if wrong:
        raise VerifyError(f"the wheel fails its own check: {'; '.join(wrong)}")
    if len(told.tokens) != len(request["prompts"]):
        raise VerifyError(f"the wheel answered {len(told.tokens)} of {len(request['prompts'])} prompts")
    return told


def _sentence(finding: Finding) -> str:
    """Give what a wheel says of itself as one line that any terminal shows as text."""
    return quoted(f"{finding.what}: {finding.seen}", MAX_SENTENCE)[1:-1]
