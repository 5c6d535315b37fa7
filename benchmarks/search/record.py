"""Records a model's queries, keys and values as the recall stage does, of more documents than a campaign needs."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from benchmarks.search.problems import BenchmarkError
from search.campaigns.machines import facts_of, worker_settings
from search.evaluator.arms import TimeLimits
from search.evaluator.identity import EVALUATOR_VERSION, environment
from search.evaluator.worker import Worker
from search.records import EvaluationKey, EvaluationTask, Stage, Status, Workload
from vortex_dsl import Shape, load_program, trace, zoo

RULE = "streaming"  # measured on the way: the stage records when it is first asked to measure
DTYPE = "float32"  # of engines on a CPU
PATIENT = TimeLimits(start_s=1200.0, record_s=3600.0, prefill_s=3600.0)  # for a busy machine: nothing is timed


def record(model: str, num_documents: int, num_tokens: int, file: Path) -> None:
    """Decode the beginnings of some documents, and keep what each layer saw in a file.

    Raises ModelError for a model that is not whole, BenchmarkError where it cannot be recorded.
    """
    facts = facts_of(model)
    workload = Workload(Stage.RECALL, num_tokens, num_documents, lengths=(num_tokens,))
    digest = trace(load_program(zoo.text(RULE)), Shape(facts.group, facts.head_dim)).digest
    where = (facts.digest, environment(DTYPE).digest, EVALUATOR_VERSION)
    task = EvaluationTask(EvaluationKey(digest, Stage.RECALL, workload.digest, *where, 0), zoo.text(RULE), (), workload)
    with tempfile.TemporaryDirectory() as folder:
        settings = worker_settings(facts, (workload,), on_gpu=False)
        settings = replace(settings, scratch=Path(folder), limits=PATIENT)
        with closing(Worker(settings)) as worker:
            done = worker.run(task)
        if done.status is not Status.OK:
            raise BenchmarkError(f"{model} was not recorded: {done.message}")
        (made,) = (Path(folder) / "recordings").glob("*.safetensors")
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, file)
