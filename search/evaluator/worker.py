"""One worker: runs one stage for one program at a time, in engines that it holds as sandboxed child processes."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator import intervals
from search.evaluator.engine import EngineSettings
from search.evaluator.identity import environment
from search.evaluator.sandbox import Box, Child, ChildError
from search.records import Environment, Evaluation, EvaluationTask, Measurement, Stage, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.intervals import Interval

SPARSE, DENSE = "sparse", "dense"
HOST = (sys.executable, "-m", "search.evaluator.host")
# Refusals that are told before a program touches the engine, or that say nothing against the engine.
HARMLESS = frozenset({Status.PROGRAM_ERROR, Status.UNSUPPORTED, Status.BELOW_GATE})
BROKEN = frozenset({Status.CRASHED, Status.OUT_OF_MEMORY})
MIN_PAIRS = 2  # one pair has no interval


@dataclass(frozen=True)
class TimeLimits:
    """Seconds that each call may take; the whole process group is killed at the end of them."""

    start_s: float = 180.0
    oracle_s: float = 120.0  # what serves is judged in two dtypes, for which Triton compiles a program anew
    recall_s: float = 60.0
    probe_s: float = 120.0
    serve_round_s: float = 60.0

    def stage_s(self, stage: Stage, repeats: int) -> float:
        """Bound a whole stage: two attempts, each with the start of its engines."""
        calls = {Stage.CHECK: 0.0, Stage.ORACLE: self.oracle_s, Stage.RECALL: self.recall_s, Stage.PROBE: self.probe_s}
        rounds = 2 * (1 + max(MIN_PAIRS, repeats)) * self.serve_round_s
        return 2 * (2 * self.start_s + calls.get(stage, rounds))


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker runs its engines.

    `shape` is the model's group and head_dim, for which programs are traced (`search.config.model_shape`).
    `scratch` is the engines' home, made if need be and kept between runs: vLLM's caches there save seconds at each
    start. `memory_bytes` limits an engine's address space (a small model on CPU takes 3 GiB); 0 sets no limit, as
    CUDA needs.
    """

    engine: EngineSettings
    scratch: Path
    shape: tuple[int, int]
    memory_bytes: int = 0
    limits: TimeLimits = field(default_factory=TimeLimits)
    host_command: tuple[str, ...] = HOST


@dataclass(frozen=True)
class _Needs:
    """What a program asks of the engine that serves it."""

    page_size: int
    field_bytes: int

    def met_by(self, settings: EngineSettings) -> bool:
        return self.page_size == settings.page_size and self.field_bytes <= settings.field_bytes


@dataclass(frozen=True)
class _Outcome:
    status: Status = Status.OK
    message: str = ""
    measurements: tuple[Measurement, ...] = ()
    correct: str = ""
    answers: str = ""


@dataclass(frozen=True)
class _Round:
    """One timed round: the same work on one arm."""

    tokens_per_s: float
    step_ms: tuple[float, ...]
    pages_attended: float
    pages_dense: float


@dataclass
class _Arm:
    """A running engine and the number of tasks it was given."""

    child: Child
    settings: EngineSettings
    num_tasks: int = 0


class _DenseFailedError(Exception):
    """vLLM's own backend failed: that is never the program's fault."""


class Worker:
    """Runs tasks. Holds one sparse engine and, once something is served, one dense engine; one computes at a time."""

    def __init__(self, settings: WorkerSettings) -> None:
        settings.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._settings = settings
        self._arms: dict[str, _Arm] = {}

    def environment(self) -> Environment:
        """Say where this worker runs."""
        return environment()

    def run(self, task: EvaluationTask) -> Evaluation:
        """Run one stage. Whatever the program does to its engine comes back as a status."""
        start = time.monotonic()
        outcome = self._judged(task)
        return Evaluation(task.key, **_shallow(outcome), elapsed_s=time.monotonic() - start)

    def close(self) -> None:
        """Kill the engines. Idempotent."""
        for role in (SPARSE, DENSE):
            self._drop(role)

    def _judged(self, task: EvaluationTask) -> _Outcome:
        from vortex_dsl import ProgramError

        try:
            needs = self._needs_of(task)
        except ProgramError as error:
            return _Outcome(Status.PROGRAM_ERROR, str(error))
        if task.key.stage is Stage.CHECK:
            return _Outcome(measurements=(Measurement("bytes_per_page", float(needs.field_bytes)),))
        try:
            return self._attempted(task, needs)
        except ChildError as error:
            if error.status not in HARMLESS:
                self._drop(SPARSE)
            return _Outcome(error.status, str(error))
        except _DenseFailedError as error:
            self._drop(DENSE)
            return _Outcome(Status.INFRASTRUCTURE, f"the dense arm failed: {error}")

    def _needs_of(self, task: EvaluationTask) -> _Needs:
        from vortex_dsl import Shape, load_program, trace
        from vortex_dsl.analysis.layout import Layout

        program = load_program(task.text).with_values(**dict(task.values))
        graph = trace(program, Shape(*self._settings.shape))
        return _Needs(graph.page_size, Layout(graph).bytes_per_page)

    def _attempted(self, task: EvaluationTask, needs: _Needs) -> _Outcome:
        """Run the stage; if it breaks an engine that has run others, run it once more in a fresh one.

        So nobody is blamed for what an earlier program did to the engine.
        """
        arm = self._sparse(task, needs)
        try:
            return self._measured(task, arm)
        except ChildError as error:
            if error.status not in BROKEN or arm.num_tasks == 1:
                raise
            self._drop(SPARSE)
        return self._measured(task, self._sparse(task, needs))

    def _measured(self, task: EvaluationTask, arm: _Arm) -> _Outcome:
        arm.num_tasks += 1
        stage, limits = task.key.stage, self._settings.limits
        args: dict[str, Any] = {"text": task.text, "values": task.values, "seed": task.key.seed}
        if stage is Stage.ORACLE:
            reply = arm.child.call("oracle", args, limits.oracle_s)
            outcome = _outcome(reply["measurements"])
            return outcome if outcome.message else replace(outcome, message=reply["message"])
        args["workload"] = asdict(task.workload)
        if stage is Stage.RECALL:
            return _outcome(arm.child.call("recall", args, limits.recall_s))
        if stage is Stage.PROBE:
            reply = arm.child.call("probe", args, limits.probe_s)
            correct, answers = reply["correct"], reply.get("answers", "")
            return replace(_outcome(reply["measurements"]), correct=correct, answers=answers)
        return self._served(args, arm, max(MIN_PAIRS, task.workload.repeats))

    def _served(self, args: dict[str, Any], arm: _Arm, num_pairs: int) -> _Outcome:
        """Time sparse and dense side by side: a warm-up of each, then pairs in alternating order."""
        dense_args = args | {"text": "", "values": ()}
        rounds: dict[str, list[_Round]] = {SPARSE: [], DENSE: []}
        for i in range(-1, num_pairs):
            for role in (SPARSE, DENSE) if i % 2 else (DENSE, SPARSE):
                timed = self._dense_round(dense_args) if role is DENSE else self._round(arm.child, args)
                rounds[role] += [timed] * (i >= 0)
        if any(r.pages_attended <= 0 for r in rounds[SPARSE]):
            return _Outcome(Status.NOT_SPARSE, "the engine counted no page that was read by the sparse path")
        return _Outcome(measurements=serve_measurements(rounds[SPARSE], rounds[DENSE]))

    def _round(self, child: Child, args: dict[str, Any]) -> _Round:
        reply = child.call("serve_round", args, self._settings.limits.serve_round_s)
        pages = (float(reply.get(name, 0.0)) for name in ("pages_attended", "pages_dense"))
        return _Round(reply["num_tokens"] / reply["elapsed_s"], tuple(reply["step_ms"]), *pages)

    def _dense_round(self, args: dict[str, Any]) -> _Round:
        try:
            return self._round(self._dense().child, args)
        except ChildError as error:
            raise _DenseFailedError(str(error)) from error

    def _sparse(self, task: EvaluationTask, needs: _Needs) -> _Arm:
        """Give an engine that can serve the program: the running one if it will do, else a new one."""
        running = self._arms.get(SPARSE)
        if running is not None:
            serves = task.key.stage in (Stage.PROBE, Stage.SERVE)
            fits = needs.met_by(running.settings) or not serves
            if fits and running.child.alive and not (task.fresh and running.num_tasks):
                return running
        reserved = max(needs.field_bytes, self._settings.engine.field_bytes)
        return self._start(SPARSE, replace(self._settings.engine, page_size=needs.page_size, field_bytes=reserved))

    def _dense(self) -> _Arm:
        running = self._arms.get(DENSE)
        if running is not None and running.child.alive:
            return running
        return self._start(DENSE, replace(self._settings.engine, sparse=False))

    def _start(self, role: str, settings: EngineSettings) -> _Arm:
        """Replace one arm's engine. Raises ChildError with status INFRASTRUCTURE: no program runs yet."""
        self._drop(role)
        child = Child((*self._settings.host_command, role), self._box(role))
        self._arms[role] = _Arm(child, settings)
        args = {name: value for name, value in asdict(settings).items() if name != "sparse"}
        try:
            child.call("start", args, self._settings.limits.start_s)
        except ChildError as error:
            self._drop(role)
            raise ChildError(f"the {role} engine did not start: {error}") from error
        return self._arms[role]

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
        settings = self._settings
        return Box(
            scratch=settings.scratch,
            readable=(Path(settings.engine.model),),
            memory_bytes=settings.memory_bytes,
            environment=tuple(variables.items()),
        )

    def _drop(self, role: str) -> None:
        arm = self._arms.pop(role, None)
        if arm is not None:
            arm.child.close()


def serve_measurements(sparse: Sequence[_Round], dense: Sequence[_Round]) -> tuple[Measurement, ...]:
    """Compare paired rounds: throughput as a ratio per pair, everything else beside it with its spread."""
    ratio = intervals.paired_ratio([(s.tokens_per_s, d.tokens_per_s) for s, d in zip(sparse, dense, strict=True)])
    measured = {
        "speedup": ratio,
        "tokens_per_s": intervals.median_and_spread([r.tokens_per_s for r in sparse]),
        "dense_tokens_per_s": intervals.median_and_spread([r.tokens_per_s for r in dense]),
        "step_ms": intervals.median_and_spread([ms for r in sparse for ms in r.step_ms]),
        "dense_step_ms": intervals.median_and_spread([ms for r in dense for ms in r.step_ms]),
        "pages_attended": intervals.median_and_spread([r.pages_attended for r in sparse]),
        "pages_dense": intervals.median_and_spread([r.pages_dense for r in sparse]),
    }
    return tuple(_measurement(name, interval) for name, interval in measured.items())


def _measurement(name: str, interval: Interval) -> Measurement:
    return Measurement(name, interval.value, interval.low, interval.high, interval.num_samples)


def _outcome(rows: Sequence[Sequence[Any]]) -> _Outcome:
    """Read the measurements of a reply; a figure that is not finite is a wrong result, not a figure."""
    measurements = tuple(Measurement(*row) for row in rows)
    odd = [m.name for m in measurements if not math.isfinite(m.value)]
    if odd:
        return _Outcome(Status.WRONG_RESULT, f"not a finite number: {', '.join(odd)}")
    return _Outcome(measurements=measurements)


def _shallow(outcome: _Outcome) -> dict[str, Any]:
    """Give an outcome's fields as they are; `asdict` would take the measurements apart."""
    return {name: getattr(outcome, name) for name in _Outcome.__dataclass_fields__}
