"""The recall stage: recording within an engine's process, and measuring in one that has no engine."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator.caching import machine_bytes
from search.evaluator.outcomes import plain
from search.evaluator.session import RefusedError, named
from search.records import Status, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from search.evaluator.recall.figures import Asking
    from search.evaluator.recall.parts import Part
    from search.evaluator.recall.recordings import Recorder, Recordings
    from search.evaluator.recall.texts import Asked
    from search.evaluator.session import Session
    from vortex_dsl.graph.graph import Graph

NUM_STEPS = 16  # the longest time for which a program may keep its choice (`refresh_steps`)
LEAST_BYTES, MOST_BYTES = 1 << 30, 16 << 30  # of keys and values: 32,000 tokens of 8 billion weights take 4 a text
MACHINE_SHARE = 0.125  # of its memory, between these
STORED_BYTES = 2  # per element
EVERY_PAGE = (("dense_layers", 0),)  # a dense layer is asked nothing, so nothing is recorded of it


def record(session: Session, file: str, workload: dict[str, Any], seed: int) -> dict[str, Any]:
    """Decode the workload's texts with every page attended, and keep what each layer saw in a file."""
    from search.evaluator.recall import recordings
    from search.evaluator.recall.texts import by_length

    asked = _asked(session, Workload(**workload), seed)
    try:
        kept = _that_fit(session, asked)
        session.attend_every_page(EVERY_PAGE)
        recorders = [_recorded(session, texts) for texts in by_length(kept)]
        recorded = recordings.Recordings(recorders[0].model, tuple(each.recording() for each in recorders))
    except (ValueError, OverflowError) as error:
        raise RefusedError(Status.INFRASTRUCTURE, f"recall cannot be recorded: {error}") from error
    recordings.save(recorded, Path(file))
    return {"num_texts": len(kept), "num_asked": len(asked)}


def prompts(session: Session, workload: Workload, seed: int) -> list[tuple[int, ...]]:
    """Give the prompts of the texts that are recorded."""
    return [text.prompt for text in _asked(session, workload, seed)]


def measure(session: Session, file: str, text: str = "", values: Sequence[Sequence[Any]] = ()) -> dict[str, Any]:
    """Measure what a program keeps of the attention in a file of recordings; without a text only load them."""
    from search.evaluator.recall import figures, parts

    asking = _asking(session, file, parts.whole)
    if not text:
        return {"measurements": []}
    with _refusing():
        return {"measurements": plain(figures.measure(_traced(asking, text, values), asking))}


def screen(session: Session, file: str, text: str = "", values: Sequence[Sequence[Any]] = ()) -> dict[str, Any]:
    """Screen a program on a part of a file of recordings; without a text only load that."""
    from search.evaluator.recall import parts, screening

    asking = _asking(session, file, parts.screened)
    if not text:
        return {"measurements": []}
    with _refusing():
        found = screening.screen(_traced(asking, text, values), asking)
    status = Status.BELOW_GATE if found.objection else Status.OK
    return {
        "status": status,
        "message": found.objection,
        "measurements": plain(found.measurements),
        "answers": found.signature,
    }


def look(session: Session, file: str, text: str = "", values: Sequence[Sequence[Any]] = ()) -> dict[str, Any]:
    """Look quickly at a program on a part of a file of recordings; without a text only load that."""
    from search.evaluator.recall import looking, parts

    asking = _asking(session, file, parts.glanced)
    if not text:
        return {"measurements": []}
    with _refusing():
        return {"measurements": plain(looking.look(_traced(asking, text, values), asking))}


def picture(
    session: Session, file: str, text: str = "", values: Sequence[Sequence[Any]] = (), layers: Sequence[int] = ()
) -> dict[str, Any]:
    """Picture what a program attends to in a file of recordings; without a text only load that."""
    from search.evaluator.recall import picturing, recordings
    from vortex_dsl import Shape, load_program, trace

    found = session.kept(("picture", file), lambda: recordings.load(Path(file)))
    if not text:
        return {}
    program = load_program(text).with_values(**dict(named(values)))
    q = found.by_length[-1].q
    with _refusing():
        shape = Shape(q.shape[4], q.shape[5])
        return {"picture": asdict(picturing.picture(trace(program, shape), found, program.name, layers))}


def describe(session: Session, file: str) -> dict[str, Any]:
    """Describe what a file of recordings holds, by the part that quick looks judge."""
    from search.evaluator.recall import parts
    from search.evaluator.recall.describing import statistics

    return {"measurements": plain(statistics(_asking(session, file, parts.glanced)))}


def _asking(session: Session, file: str, choose: Callable[[Recordings], list[Part]]) -> Asking:
    """Give a part of a file of recordings, loaded once."""
    from search.evaluator.recall import figures, recordings

    def loaded() -> Asking:
        found = recordings.load(Path(file))
        return figures.Asking(found.model, choose(found))

    asking: Asking = session.kept((choose.__name__, file), loaded)
    return asking


def _traced(asking: Asking, text: str, values: Sequence[Sequence[Any]]) -> Graph:
    """Trace a program for the recorded model. Raises ProgramError."""
    from vortex_dsl import Shape, load_program, trace

    return trace(load_program(text).with_values(**dict(named(values))), Shape(asking.group, asking.head_dim))


@contextmanager
def _refusing() -> Iterator[None]:
    """Refuse a program whose layers use a choice that none makes."""
    try:
        yield
    except LookupError as error:
        raise RefusedError(Status.UNSUPPORTED, str(error)) from error


def _asked(session: Session, workload: Workload, seed: int) -> list[Asked]:
    """Give the texts to record."""
    from search.evaluator.recall.texts import asked_texts

    try:
        return asked_texts(workload, session.engine.llm.get_tokenizer(), seed, Path.home())
    except ValueError as error:
        raise RefusedError(Status.INFRASTRUCTURE, f"recall cannot be recorded: {error}") from error


def _that_fit(session: Session, asked: Sequence[Asked]) -> list[Asked]:
    """Leave out texts, whole names of them, so that keys and values take no more than a share of the machine's memory.

    Raises ValueError where not even those of one name fit.
    """
    room = min(MOST_BYTES, max(LEAST_BYTES, int(MACHINE_SHARE * machine_bytes())))
    shape, config = session.shape, session.engine.llm.llm_engine.vllm_config.model_config
    per_token = config.get_total_num_hidden_layers() * shape.num_kv_heads * shape.head_dim * 2 * STORED_BYTES
    kept: list[Asked] = []
    for name in dict.fromkeys(text.name for text in asked):
        more = [*kept, *(text for text in asked if text.name == name)]
        num_bytes = per_token * sum(len(text.prompt) + NUM_STEPS for text in more)
        if num_bytes > room:
            if not kept:
                raise ValueError(
                    f"keys and values of one text at its lengths take {num_bytes:,} bytes, and at most {room:,} are "
                    "kept on this machine; ask for shorter texts (--tokens), or take a machine with more memory"
                )
            break
        kept = more
    return [text for text in asked if text in kept]


def _recorded(session: Session, texts: Sequence[Asked]) -> Recorder:
    """Record texts of one length, one after the other: all at once would hold several times what is kept."""
    from search.evaluator.recall.recordings import Recorder

    recorder = Recorder(len(texts[0].prompt), [text.name for text in texts])
    for text in texts:
        recorder.add(session.engine.record(text.prompt, NUM_STEPS, text.forced))
    return recorder
