"""The child process that holds one engine, or none: `python -m search.evaluator.host sparse|dense|reference|light`.

One JSON object per line each way. A request is {"call": name, "args": {...}}; the reply {"result": ...} or
{"status": a Status value, "message": a sentence}. Everything else that the process prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from search.evaluator.fidelity import hosted as fidelity
from search.evaluator.oracle import hosted as oracle
from search.evaluator.prefill import hosted as prefilling
from search.evaluator.probe import hosted as probe
from search.evaluator.recall import hosted as recall
from search.evaluator.retrieval import hosted as retrieval
from search.evaluator.scratch.files import DamagedError
from search.evaluator.session import RefusedError, Session
from search.evaluator.speed import hosted as speed
from search.evaluator.tasks import hosted as tasks
from search.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable

# Each takes the session and what the request names; the result of a stage has "measurements" (see `outcomes`).
CALLS: dict[str, Callable[..., dict[str, Any]]] = {
    "start": Session.start,
    "prefill": prefilling.prefill,
    "kept": prefilling.kept,
    "oracle": oracle.judge,
    "record": recall.record,
    "recall": recall.measure,
    "screen": recall.screen,
    "look": recall.look,
    "picture": recall.picture,
    "describe": recall.describe,
    "fidelity_reference": fidelity.refer,
    "fidelity": fidelity.compare,
    "retrieval": retrieval.answer,
    "probe": probe.answer,
    "task": tasks.answer,
    "serve_round": speed.serve_round,
}
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")


def answer(session: Session, request: dict[str, Any]) -> dict[str, Any]:
    """Run one request; whatever a program does wrong becomes a status."""
    from vortex_dsl import ProgramError

    call = CALLS.get(request["call"])
    if call is None:
        known = ", ".join(CALLS)
        return {"status": Status.INFRASTRUCTURE, "message": f"unknown call {request['call']!r}; known: {known}"}
    try:
        return {"result": call(session, **request["args"])}
    except ProgramError as error:
        return {"status": Status.PROGRAM_ERROR, "message": str(error)}
    except DamagedError as error:
        error.path.unlink(missing_ok=True)
        told = f"{error}; it is removed, and made anew when this is tried again"
        return {"status": Status.INFRASTRUCTURE, "message": told}
    except RefusedError as error:
        return {"status": error.status, "message": str(error)}
    except MemoryError as error:
        return {"status": Status.OUT_OF_MEMORY, "message": f"the engine ran out of memory: {error}"}
    except Exception as error:
        traceback.print_exc()
        starved = any(words in str(error).lower() for words in OUT_OF_MEMORY)
        status = Status.OUT_OF_MEMORY if starved else Status.CRASHED
        return {"status": status, "message": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Serve requests from stdin until it closes."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    session = Session(sys.argv[1])
    for line in sys.stdin:
        replies.write(json.dumps(answer(session, json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
