"""What `vortex ask` and `vortex tell` read on stdin, each key with its bounds."""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field, ValidationError

from search.agents.llm.tools import Arguments, fault
from search.contracts import SubmissionError
from search.outside.tools import LARGEST_ID, OfSubmission
from vortex_dsl.frontend.source import MAX_BYTES

MAX_MESSAGE = 512 * 1024  # bytes
MAX_TOLD_WAIT_S = 3600.0

Message = TypeVar("Message", bound=Arguments)


class Ask(Arguments):
    """Who asks, of which campaign: the newest that takes programs from this agent if left out."""

    agent: str = Field("", max_length=32)
    campaign: int | None = Field(None, ge=1, le=LARGEST_ID)


class Tell(Ask, OfSubmission):
    """A program that is brought, or the number of a submission that was."""

    program: str = Field("", max_length=MAX_BYTES)
    submission: int | None = Field(None, ge=1, le=LARGEST_ID)
    wait_s: float = Field(0.0, ge=0, le=MAX_TOLD_WAIT_S, strict=False)

    @property
    def brought(self) -> dict[str, object]:
        """Give what belongs to the program."""
        return {name: getattr(self, name) for name in OfSubmission.model_fields}


def read(kind: type[Message], text: bytes) -> Message:
    """Read a message; nothing at all is one without keys. Raises SubmissionError, which names the key."""
    if len(text) > MAX_MESSAGE:
        raise SubmissionError(f"stdin holds more than {MAX_MESSAGE:,} bytes; give one JSON object")
    try:
        return kind.model_validate_json(text.strip() or b"{}")
    except ValidationError as error:
        known = ", ".join(kind.model_fields)
        raise SubmissionError(f"stdin: {fault(error)}; give a JSON object with some of {known}") from None
