"""One worker's processes, sandboxed: a sparse engine, a dense one, and one without; one computes at a time."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator.compiling import is_compiling
from search.evaluator.engine import EngineSettings
from search.evaluator.fidelity.given import keep_text
from search.evaluator.outcomes import DenseFailedError
from search.evaluator.sandbox import Box, Child, ChildError, unheard
from search.evaluator.scratch.files import locked
from search.records import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from search.records import EvaluationTask

SPARSE, DENSE, LIGHT = "sparse", "dense", "light"  # the last has torch, and no engine
REFERENCE = "reference"  # dense too, with all the cores: what is computed once, and never timed
HOST = (sys.executable, "-m", "search.evaluator.host")
MOST_ROUNDS = 13  # of one arm that is timed, its warm-up among them
SERVING = (Stage.FIDELITY, Stage.RETRIEVAL, Stage.PROBE, Stage.TASK, Stage.SERVE)  # the program is served

# What people are told of the calls (`host.CALLS`); one that is not here says enough by its name.
STEPS = {
    "prefill": "prefilling prompts",
    "kept": "looking for prompts",
    "oracle": "comparing kernels with the reference",
    "record": "recording q, k and v",
    "screen": "comparing choices of pages",
    "recall": "comparing choices of pages",
    "fidelity_reference": "decoding texts",
    "fidelity": "decoding texts",
    "retrieval": "answering questions",
    "probe": "answering questions",
    "task": "answering the task",
    "serve_round": "timing in turns",
}


@dataclass(frozen=True)
class TimeLimits:
    """Seconds that each call may take; the whole process group is killed at the end of them."""

    start_s: float = 180.0
    oracle_s: float = 120.0  # what serves is judged in two dtypes, for which Triton compiles a program anew
    record_s: float = 600.0  # once for a model and its texts; other workers wait meanwhile
    recall_s: float = 60.0
    prefill_s: float = 600.0  # of texts that all programs share: 32,000 tokens of SmolLM2 take 60 s on two idle cores
    fidelity_s: float = 120.0
    retrieval_s: float = 120.0
    probe_s: float = 120.0
    task_s: float = 1800.0  # documents are many and answers long
    serve_round_s: float = 60.0

    def waits_s(self, num_others: int) -> float:
        """Bound how long one waits for so many others, who time alone, one after the other."""
        return num_others * 2 * MOST_ROUNDS * self.serve_round_s

    def stage_s(self, stage: Stage, num_rounds: int) -> float:
        """Bound a whole stage: two attempts, each with the start of its engines."""
        recall_s = 2 * self.record_s + self.recall_s
        calls = {Stage.CHECK: 0.0, Stage.ORACLE: self.oracle_s, Stage.PROBE: self.probe_s}
        calls[Stage.SCREEN] = calls[Stage.RECALL] = recall_s
        calls[Stage.FIDELITY] = 2 * self.prefill_s + self.fidelity_s
        calls[Stage.RETRIEVAL] = 2 * self.prefill_s + self.retrieval_s
        calls[Stage.TASK] = 2 * self.task_s  # dense attention answers first
        calls[Stage.SERVE] = 2 * self.prefill_s + 2 * num_rounds * self.serve_round_s
        return 2 * (2 * self.start_s + calls[stage])


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker runs its engines.

    `shape` is the model's group and head_dim, for which programs are traced.
    `scratch` is the engines' home, made if need be and kept between runs: vLLM's caches there save seconds at each
    start. `memory_bytes` limits an engine's address space (a small model on CPU takes 3 GiB); 0 sets no limit, as
    CUDA needs. `given_text` is the content of a file from which workloads are cut (`fidelity.given`), put into scratch
    wherever the worker runs. Where `reference_threads` is more than 1, what dense attention makes of prompts, once for
    all programs, is computed by so many threads of an engine of its own; engines that are timed have one each. With
    `timed_alone`, other workers with this scratch folder wait while one times: on a CPU, two that compute share caches
    and memory, and speed-ups stray by a tenth. `dense_cache_bytes` is the dense engine's KV cache, which holds no
    fields of programs; 0 gives it what the sparse one has.
    """

    engine: EngineSettings
    scratch: Path
    shape: tuple[int, int]
    memory_bytes: int = 0
    limits: TimeLimits = field(default_factory=TimeLimits)
    host_command: tuple[str, ...] = HOST
    given_text: str = field(default="", repr=False)
    reference_threads: int = 1
    timed_alone: bool = False
    dense_cache_bytes: int = 0


@dataclass(frozen=True)
class Needs:
    """What a program asks of the engine that serves it."""

    page_size: int
    field_bytes: int

    def met_by(self, settings: EngineSettings) -> bool:
        """Say whether an engine that was started so can serve the program."""
        return self.page_size == settings.page_size and self.field_bytes <= settings.field_bytes


@dataclass
class Arm:
    """A running engine, or what is none; how many tasks it was given, and how many did not ask for a fresh one."""

    child: Child
    settings: EngineSettings | None
    num_tasks: int = 0
    num_not_fresh: int = 0


class Arms:
    """Starts engines when they are first asked for, keeps them between tasks, and replaces them where need be."""

    def __init__(self, settings: WorkerSettings, say: Callable[[str], None] = unheard) -> None:
        """Start nothing yet. `say` is told what begins, in words."""
        settings.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings.given_text:
            keep_text(settings.given_text, settings.scratch)
        self.settings = settings
        self._say = say
        self._arms: dict[str, Arm] = {}

    @property
    def limits(self) -> TimeLimits:
        """Seconds that calls may take."""
        return self.settings.limits

    @property
    def roles(self) -> tuple[str, ...]:
        """Name the processes that run."""
        return tuple(role for role, arm in self._arms.items() if arm.child.alive)

    def needs_of(self, task: EvaluationTask) -> Needs:
        """Load and trace the task's program. Raises ProgramError."""
        from vortex_dsl import Shape, load_program, trace
        from vortex_dsl.analysis.layout import Layout

        program = load_program(task.text).with_values(**dict(task.values))
        graph = trace(program, Shape(*self.settings.shape))
        return Needs(graph.page_size, Layout(graph).bytes_per_page)

    def sparse(self, task: EvaluationTask) -> Child:
        """Give an engine that can serve the task's program: the running one if it will do, else a new one."""
        running = self.start_for(task)
        running.num_tasks += 1
        running.num_not_fresh += not task.fresh
        return running.child

    def start_for(self, task: EvaluationTask) -> Arm:
        """Have an engine that can serve the task's program, before it is given the task."""
        needs, running = self.needs_of(task), self._arms.get(SPARSE)
        settings = running.settings if running else None
        fits = settings and (needs.met_by(settings) or task.key.stage not in SERVING)
        if running and fits and running.child.alive and not (task.fresh and running.num_not_fresh):
            return running
        engine = self.settings.engine
        reserved = max(needs.field_bytes, engine.field_bytes)
        return self._start(SPARSE, replace(engine, page_size=needs.page_size, field_bytes=reserved))

    def computing(self) -> AbstractContextManager[None]:
        """Hold the processors beside other workers who compute, and wait while one of them times."""
        return self._processors(shared=True)  # after whoever waits to time: else many workers would never let it

    def timing(self) -> AbstractContextManager[None]:
        """Hold the processors alone."""
        return self._processors(shared=False)

    @contextmanager
    def _processors(self, *, shared: bool) -> Iterator[None]:
        if not self.settings.timed_alone:
            yield
            return
        with ExitStack() as held:
            with locked(self.settings.scratch / "turn.lock"):
                held.enter_context(locked(self.settings.scratch / "processors.lock", shared=shared))
            yield

    @property
    def running(self) -> Child | None:
        """Give the sparse engine, if there is one."""
        arm = self._arms.get(SPARSE)
        return arm.child if arm and arm.child.alive else None

    @property
    def used(self) -> bool:
        """Whether the sparse engine has been given more than one task."""
        return SPARSE in self._arms and self._arms[SPARSE].num_tasks > 1

    def ask_dense(self, call: str, args: dict[str, Any], limit_s: float) -> dict[str, Any]:
        """Ask the dense engine, started if need be. Raises DenseFailedError."""
        return self._ask_dense(DENSE, call, args, limit_s)

    def ask_reference(self, call: str, args: dict[str, Any], limit_s: float) -> dict[str, Any]:
        """Ask a dense engine for what is computed once for all programs. Raises DenseFailedError."""
        return self._ask_dense(REFERENCE if self.settings.reference_threads > 1 else DENSE, call, args, limit_s)

    def _ask_dense(self, role: str, call: str, args: dict[str, Any], limit_s: float) -> dict[str, Any]:
        """Ask one of the dense engines, of which there is one at a time: both take as much memory."""
        running = self._arms.get(role)
        try:
            if running is None or not running.child.alive:
                self.drop(DENSE)
                self.drop(REFERENCE)
                engine, own = self.settings.engine, self.settings.dense_cache_bytes
                cached = own or engine.kv_cache_bytes
                running = self._start(role, replace(engine, sparse=False, kv_cache_bytes=cached))
            return running.child.call(call, args, limit_s)
        except ChildError as error:
            raise DenseFailedError(str(error), error.status) from error

    def ask_light(
        self, first: tuple[str, dict[str, Any]], then: tuple[str, dict[str, Any]], limit_s: float
    ) -> dict[str, Any]:
        """Ask the process without an engine; `first` is what it is told before others, and no program's fault.

        If the call breaks a process that has answered others, a fresh one is asked once more. Raises ChildError.
        """
        call, args = then
        running = self._light(first)
        running.num_tasks += 1
        try:
            return running.child.call(call, args, limit_s)
        except ChildError:
            if running.child.alive or running.num_tasks == 1:
                raise
        running = self._light(first)
        running.num_tasks += 1
        return running.child.call(call, args, limit_s)

    def _light(self, first: tuple[str, dict[str, Any]]) -> Arm:
        """Give the process without an engine, started if need be, after it has been told what comes first."""
        call, args = first
        if LIGHT not in self._arms or not self._arms[LIGHT].child.alive:
            self.drop(LIGHT)
            self._arms[LIGHT] = Arm(self._child(LIGHT), None)
        running = self._arms[LIGHT]
        try:
            running.child.call(call, args, self.limits.start_s)
        except ChildError as error:
            self.drop(LIGHT)
            raise ChildError(f"the process that needs no engine is of no use: {error}") from error
        return running

    def drop(self, role: str) -> None:
        """Kill an engine, if there is one."""
        arm = self._arms.pop(role, None)
        if arm is not None:
            arm.child.close()

    def close(self) -> None:
        """Kill all engines. Idempotent."""
        for role in list(self._arms):
            self.drop(role)

    def _start(self, role: str, settings: EngineSettings) -> Arm:
        """Replace one arm's engine. Raises ChildError with status INFRASTRUCTURE: no program runs yet."""
        self.drop(role)
        child = self._child(role)
        self._arms[role] = Arm(child, settings)
        args = {name: value for name, value in asdict(settings).items() if name != "sparse"}
        try:
            child.call("start", args, self.limits.start_s)
        except ChildError as error:
            self.drop(role)
            raise ChildError(f"the {role} engine did not start: {error}") from error
        return self._arms[role]

    def _child(self, role: str) -> Child:
        by = "" if role in (SPARSE, LIGHT) else " by dense attention"

        def say(call: str) -> None:
            if call != "start":
                self._say(f"{STEPS.get(call, call)}{by}")
            elif is_compiling(self.settings.scratch):
                self._say(f"compiling loops, once on a machine, and starting the {role} engine")
            else:
                self._say(f"starting the {role} engine")

        return Child((*self.settings.host_command, role), self._box(role), say)

    def _box(self, role: str) -> Box:
        """Engines without network, usage statistics or other people's plugins; ours only in the sparse arm."""
        variables = {
            "VLLM_PLUGINS": "vortex" if role == SPARSE else "",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # two engines would be bound to the same core
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        if role == REFERENCE:
            variables["OMP_NUM_THREADS"] = str(self.settings.reference_threads)
        settings = self.settings
        return Box(
            scratch=settings.scratch,
            readable=(Path(settings.engine.model),),
            memory_bytes=settings.memory_bytes,
            environment=tuple(variables.items()),
        )


def asked_of(task: EvaluationTask) -> dict[str, Any]:
    """Give what an engine is told of a task."""
    workload = asdict(task.workload)
    return {"text": task.text, "values": task.values, "workload": workload, "seed": task.key.seed}
