"""The task stage in a worker: lm-eval asks and scores here, the engines only answer."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator.arms import asked_of
from search.evaluator.outcomes import Outcome, outcome_of, plain
from search.evaluator.scratch.references import kept_reference
from search.evaluator.tasks import figures
from search.evaluator.tasks.harness import UnscorableTaskError, evaluate, generating_model
from search.evaluator.tasks.named import TaskError, task_of
from search.records import Status, digest_of
from search.workloads import SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lm_eval.api.task import Task

    from search.evaluator.arms import Arms
    from search.evaluator.tasks.figures import Scores
    from search.records import EvaluationTask, Workload

    Ask = Callable[[dict[str, Any]], dict[str, Any]]  # what an engine is asked -> its reply

VOTING = ("take_first_k", "majority_vote")  # filters that need all repeats of a document at once
DEFAULT_TOKENS = 256  # lm-eval's, where a task names none


def run(arms: Arms, task: EvaluationTask) -> Outcome:
    """Let the program answer the task's documents, beside dense attention on the same ones."""
    model, workload = arms.settings.engine.model, task.workload
    try:
        documents = Documents(workload, task.key.seed, Path(model), arms.settings.scratch)
    except (TaskError, UnscorableTaskError) as error:
        return Outcome(Status.UNSUPPORTED, str(error))
    args, limit_s = asked_of(task), arms.limits.task_s

    def dense_scores() -> dict[str, Any]:
        scores, replies = documents.answered(
            lambda asked: arms.ask_dense("task", args | {"text": "", "values": ()} | asked, limit_s)
        )
        return {"scores": scores, "num_cut": sum(reply["num_cut"] for reply in replies)}

    dense = kept_reference(arms.settings.scratch, arms.settings.engine.dtype, task, dense_scores)
    engine = arms.sparse(task)
    scores, replies = documents.answered(lambda asked: engine.call("task", args | asked, limit_s))
    found = figures.paired_measurements(scores, dense["scores"], documents.higher_is_better)
    first = next(iter(scores))
    return outcome_of(
        {
            "measurements": [*plain(found), *replies[-1]["measurements"]],
            "correct": figures.right_and_wrong(scores[first]),
            "answers": digest_of([reply["answers"] for reply in replies]),
            "message": documents.told(sum(reply["num_cut"] for reply in replies), dense["num_cut"]),
        }
    )


class Documents:
    """A bounded number of a task's documents, asked of one engine after another."""

    def __init__(self, workload: Workload, seed: int, model: Path, scratch: Path) -> None:
        """Build the task and draw its documents. Raises TaskError and UnscorableTaskError."""
        self._task = _task(workload.source, model, workload.all_lengths, scratch)
        self._tokenizer = _tokenizer(model)
        self._seed, self._workload = seed, workload
        self._chosen = _chosen(self._task, workload, seed)
        asked = self._task.config.generation_kwargs or {}
        self._samples = _temperature(asked) > 0
        repeats = max(int(self._task.config.repeats), workload.repeats) if self._samples else 1
        filters = [step["function"] for each in self._task.config.filter_list or () for step in each["filter"]]
        votes = not set(filters).isdisjoint(VOTING)
        self._passes = 1 if votes else repeats
        self._task.set_config("repeats", repeats if votes else 1)

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Say of each metric which way is better."""
        return {name: bool(better) for name, better in self._task.higher_is_better().items()}

    def answered(self, ask: Ask) -> tuple[Scores, list[dict[str, Any]]]:
        """Ask everything once for each repeat; gives what lm-eval makes of it, and the engine's replies."""
        replies: list[dict[str, Any]] = []
        name = self._task.task_name
        reports = []
        for turn in range(self._passes):

            def generate(requests: list[Any], turn: int = turn) -> list[str]:
                replies.append(ask(self._asked(requests, turn)))
                return list(replies[-1]["texts"])

            model = generating_model(generate, self._tokenizer)
            reports.append(
                evaluate(model, {name: self._task}, samples={name: self._chosen}, apply_chat_template=self._chats)
            )
        return figures.scores_of(reports, name), replies

    def told(self, num_cut: int, num_dense_cut: int) -> str:
        """Say how documents were asked, and what was cut off."""
        number = len(self._chosen)
        how = f"sampled {self._passes} times" if self._samples else "greedily"
        told = [f"{number} documents, answered {how}, {'with' if self._chats else 'without'} a chat template"]
        if num_cut or num_dense_cut:
            told.append(f"the length that the engine takes cut {num_cut} answers off, and {num_dense_cut} of dense's")
        return "; ".join(told)

    @property
    def _chats(self) -> bool:
        return bool(getattr(self._tokenizer, "chat_template", None))

    def _asked(self, requests: list[Any], turn: int) -> dict[str, Any]:
        """Give what an engine is asked: prompts, and how each is answered."""
        samplings = [self._sampling(request.args[1], f"{turn}/{i}") for i, request in enumerate(requests)]
        prompts = [request.args[0] for request in requests]
        return {"prompts": prompts, "samplings": samplings, "special_tokens": not self._chats}

    def _sampling(self, asked: dict[str, Any], name: str) -> dict[str, Any]:
        """Read a request's settings: greedy unless the task samples, seeded by the request's place."""
        until = asked.get("until") or ()
        most = int(asked.get("max_gen_toks", DEFAULT_TOKENS))
        return {
            "until": [until] if isinstance(until, str) else list(until),
            "max_gen_toks": min(most, self._workload.num_decoded or most),
            "temperature": _temperature(asked),
            "top_p": float(asked.get("top_p", 1.0)),
            "top_k": int(asked.get("top_k", 0)),
            "seed": random.Random(f"{self._seed}/{name}").randrange(1 << 31),
        }


@cache
def _task(source: str, model: Path, lengths: tuple[int, ...], scratch: Path) -> Task:
    return task_of(source, model, lengths, scratch)


@cache
def _tokenizer(model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model, local_files_only=True)


def _temperature(asked: dict[str, Any]) -> float:
    """Give a task's temperature; 0 where it does not sample."""
    return float(asked.get("temperature", 1.0)) if asked.get("do_sample") else 0.0


def _chosen(task: Task, workload: Workload, seed: int) -> list[int]:
    """Draw `num_sequences` of the documents of a split, in order; documents have even and odd places in turn."""
    if workload.split not in SPLITS:
        raise TaskError(f"there is no split {workload.split!r}: a workload's split is {' or '.join(SPLITS)}")
    places: Sequence[int] = range(SPLITS.index(workload.split), len(task.eval_docs), len(SPLITS))
    if not places:
        raise TaskError(f"the task {task.task_name!r} has {len(task.eval_docs)} documents: too few for two splits")
    number = min(workload.num_sequences, len(places))
    return sorted(random.Random(f"{seed}/{workload.split}").sample(places, number))
