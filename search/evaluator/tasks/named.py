"""From the name of a task, or the file of an own one, to lm-eval's task with its documents.

A workload's `source` is "task:NAME", or "task:" and a digest of an own task's folder, whose place is kept in the
scratch folder: code that a file names (`!function`) is the user's own, and is looked up where he wrote it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator.scratch.files import write_atomically
from search.evaluator.tasks.harness import UnscorableTaskError, quiet, refuse_prefill_only

if TYPE_CHECKING:
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager

PREFIX = "task:"
OWN = (".yaml", ".yml")
PARTS = (*OWN, ".py", ".json", ".jsonl", ".csv", ".txt")  # files beside an own task that decide what it asks
MAX_BYTES = 64 << 20


class TaskError(ValueError):
    """A task cannot be asked. The message says which, why, and what to do."""


def source_of(name: str, model: Path, lengths: tuple[int, ...], scratch: Path) -> str:
    """Check a task's name, or the path of its YAML file, build it once, and give the `source` of its workload.

    model: folder, for tasks that count its tokens; lengths: that such tasks (RULER's) are asked for. Raises TaskError.
    """
    file = Path(name).expanduser()
    if file.suffix not in OWN:
        source = PREFIX + name
    else:
        file = file.resolve()
        source = PREFIX + _digest(file)
        text = json.dumps({"file": str(file)})
        write_atomically(_place(source, scratch), lambda path: path.write_text(text, "utf-8"))
    task_of(source, model, lengths, scratch)
    return source


def task_of(source: str, model: Path, lengths: tuple[int, ...], scratch: Path) -> Task:
    """Build a source's task with its documents. Raises TaskError."""
    from lm_eval.tasks import TaskManager

    spec = _spec(source, scratch)
    metadata = {"pretrained": str(model), "max_seq_lengths": list(lengths)}
    with quiet():
        manager = TaskManager(include_defaults=not spec.endswith(OWN), metadata=metadata)
        _refuse_unbuilt(spec, manager)
        task = _built(spec, manager)
    _refuse(spec, task)
    return task


def _spec(source: str, scratch: Path) -> str:
    """Give the name or the file that a source stands for."""
    place = _place(source, scratch)
    if not place.exists():
        return source.removeprefix(PREFIX)
    file = Path(json.loads(place.read_bytes())["file"])
    if PREFIX + _digest(file) != source:
        raise TaskError(f"the task in {file} has changed since the campaign began: give it again with --task {file}")
    return str(file)


def _place(source: str, scratch: Path) -> Path:
    return scratch / "tasks" / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.json"


def _digest(file: Path) -> str:
    """Hash an own task's file and what stands beside it. Raises TaskError where it is missing or the folder is huge."""
    if not file.is_file():
        raise TaskError(f"there is no task file {file}")
    whole, num_bytes = hashlib.sha256(file.name.encode()), 0
    for path in sorted(path for path in file.parent.iterdir() if path.is_file() and path.suffix in PARTS):
        num_bytes += path.stat().st_size
        if num_bytes > MAX_BYTES:
            raise TaskError(
                f"the folder of {file} holds more than {MAX_BYTES >> 20} MB: give the task a folder of its own"
            )
        whole.update(f"\n{path.name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:16]


def _refuse_unbuilt(spec: str, manager: TaskManager) -> None:
    """Refuse what its entry already rules out, before any document is fetched."""
    if spec.endswith(OWN):
        return
    entry = manager.task_index.get(spec)
    if entry is None:
        close = ", ".join(sorted(name for name in manager.all_subtasks if spec.lower() in name.lower())[:8])
        hint = f"did you mean {close}?" if close else "give lm-eval's name, or the path of an own .yaml file"
        raise TaskError(f"lm-eval has no task {spec!r}: {hint}")
    if spec in manager.all_groups or spec in manager.all_tags:
        members = entry.tags if spec in manager.all_tags else (entry.cfg or {}).get("task", ())
        named = ", ".join(sorted(str(m.get("task", m)) if isinstance(m, dict) else str(m) for m in members)[:8])
        raise TaskError(f"{spec!r} is a group of tasks ({named}, …): name one of its tasks, as each is judged alone")
    output_type = (entry.cfg or {}).get("output_type")
    if output_type:
        _refuse_output(spec, str(output_type))


def _refuse_output(name: str, output_type: str) -> None:
    try:
        refuse_prefill_only(name, output_type)
    except UnscorableTaskError as error:
        raise TaskError(str(error)) from None


def _built(spec: str, manager: TaskManager) -> Task:
    """Build a task; what is missing on this machine becomes a sentence."""
    try:
        loaded = manager.load([spec])
    except ModuleNotFoundError as error:
        raise TaskError(f"the task {spec!r} needs the package {error.name}, which is not installed here") from error
    except LookupError as error:
        missing = " ".join(str(error).split())[:200]
        raise TaskError(f"the task {spec!r} needs data that is not on this machine: {missing}") from error
    except Exception as error:  # lm-eval, datasets and the user's own code raise what they like
        reason = (" ".join(str(error).split()) or type(error).__name__)[:300]
        raise TaskError(
            f"the task {spec!r} cannot be built here: {reason}; what is missing has to be fetched once where there is "
            "a network, into the folder that HF_HOME names (documents) or beside this package (others)"
        ) from error
    tasks: dict[str, Any] = loaded["tasks"]
    if loaded["groups"] or len(tasks) != 1:
        raise TaskError(f"{spec!r} is a group of tasks ({', '.join(sorted(tasks)[:8])}): name one of its tasks")
    return next(iter(tasks.values()))


def _refuse(spec: str, task: Task) -> None:
    """Refuse a task whose answers are not decoded, are run as code, or need more than text."""
    _refuse_output(spec, str(task.OUTPUT_TYPE))
    if getattr(task, "UNSAFE_CODE", False):
        raise TaskError(f"the task {spec!r} runs what a model answers as code, which we do not: choose another")
    if getattr(task, "MULTIMODAL", False):
        raise TaskError(f"the task {spec!r} shows images or sounds, and only text is asked here: choose another")
    if int((task.config.generation_kwargs or {}).get("max_gen_toks", 2)) < 2:
        raise TaskError(f"the answers of {spec!r} have one token, which prefill gives, and prefill is dense")
