"""The tools of an agent from outside, as one table: what each is called, is for and takes, all of it within bounds.

No tool reads or writes a path: what goes in is text, names and numbers, what comes out is text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from search.agents.llm.tools import TOOLS as OF_DESK
from search.agents.llm.tools import Arguments, ArgumentsError, Desk, Tool, called, tool_of
from search.contracts import SubmissionError
from search.outside.tickets import MAX_PARENTS, MAX_TICKET
from search.report.wording import shown
from search.store.errors import StoreError
from vortex_dsl.frontend.source import MAX_BYTES

if TYPE_CHECKING:
    from threading import Event

    from search.outside.gateway import Gateway

MAX_ANSWER = 48 * 1024  # characters of an answer; what is longer is cut and says so
MAX_NAME, MAX_RATIONALE, MAX_LINE, MAX_LINES = 200, 2000, 600, 12
MAX_WAIT_S, USUAL_WAIT_S = 120.0, 30.0  # clients give up on an answer after a minute or more
LARGEST_ID = 10**15
WAIT = "wait"  # the tool whose answer takes its time

Name = Annotated[str, Field(max_length=MAX_NAME)]
Line = Annotated[str, Field(max_length=MAX_LINE)]


class OfSubmission(Arguments):
    """What an agent brings."""

    program: str = Field(
        max_length=MAX_BYTES,
        description="The whole text of a program, or an answer as the brief asks for it: edits, or values.",
    )
    ticket: str = Field("", max_length=MAX_TICKET, description="That of the brief which it answers, if it answers one.")
    rationale: str = Field(
        "", max_length=MAX_RATIONALE, description="The idea, and why it should do better than what was tried."
    )
    parents: list[Name] = Field(
        [], max_length=MAX_PARENTS, description="Candidates that it came from; those of the ticket if left out."
    )
    hypotheses: list[Line] = Field(
        [], max_length=MAX_LINES, description="Lines 'claim: prediction', such as 'signs suffice: kl < 0.03 at 16'."
    )
    notes: list[Line] = Field(
        [], max_length=MAX_LINES, description="Lines 'kind: what was learnt', of kind holds, stop or next."
    )


class _OfWait(Arguments):
    submission: int = Field(ge=1, le=LARGEST_ID, description="The number that submit gave.")
    timeout_s: float = Field(
        USUAL_WAIT_S, ge=0, le=MAX_WAIT_S, strict=False, description="Seconds after which it is told in any case."
    )
    num_known: int = Field(0, ge=0, le=LARGEST_ID, description="Results that are known already: wait for another one.")


class _OfTwo(Arguments):
    name: str = Field(max_length=MAX_NAME, description="A candidate's name, number, or the beginning of its digest.")
    other: str = Field(max_length=MAX_NAME, description="Another one.")


class _OfJournal(Arguments):
    agent: str = Field("", max_length=MAX_NAME, description="One agent's alone; everybody's if left out.")


OWN = (
    Tool("brief", "What to invent next, what is known, and a ticket to bring the program with.", Arguments),
    Tool("submit", "Bring a program: it is checked, and measured in the campaign's next step.", OfSubmission),
    Tool(WAIT, "What became of a submission, as results come: call it again with num_known.", _OfWait),
    Tool("diff", "How the texts of two candidates differ.", _OfTwo),
    Tool("journal", "What agents noted, and their hypotheses with what the numbers say.", _OfJournal),
    Tool("hypotheses", "Hypotheses alone, each with its verdict.", _OfJournal),
)
TOOLS = (*OWN, *OF_DESK)


@dataclass(frozen=True)
class Answer:
    """A tool's answer. `is_error`: it could not be given, and the text says why."""

    text: str
    is_error: bool = False


def answer(gateway: Gateway, name: str, arguments: dict[str, Any], gone: Event | None = None) -> Answer:
    """Answer a call by its name and arguments, whatever these are, in at most `MAX_ANSWER` characters.

    `gone` is set once nobody wants the answer any more.
    """
    tool = tool_of(name, TOOLS)
    if isinstance(tool, str):
        return Answer(_cut(tool), is_error=True)
    try:
        desk: Desk | _Told = gateway.desk() if tool in OF_DESK else _Told(gateway, gone)
        return Answer(_cut(called(desk, tool, arguments)))
    except (ArgumentsError, SubmissionError, StoreError) as error:
        return Answer(_cut(str(error)), is_error=True)


@dataclass(frozen=True)
class _Told:
    """The gateway in words. Methods are called by the names of `OWN`."""

    gateway: Gateway
    gone: Event | None

    def brief(self) -> str:
        asked = self.gateway.brief()
        return f"ticket: {asked.ticket}\n\n{asked.text}"

    def submit(self, **given: Any) -> str:
        return self.gateway.submit(**given).told()

    def wait(self, submission: int, timeout_s: float, num_known: int) -> str:
        return self.gateway.wait(submission, timeout_s, num_known, self.gone).told()

    def diff(self, name: str, other: str) -> str:
        return self.gateway.diff(name, other)

    def journal(self, agent: str) -> str:
        return self.gateway.journal(agent)

    def hypotheses(self, agent: str) -> str:
        return self.gateway.hypotheses(agent)


def _cut(text: str) -> str:
    """Bound an answer, and leave nothing in it that acts on a terminal: others wrote part of it."""
    kept = shown(text, MAX_ANSWER)
    if len(text) <= MAX_ANSWER:
        return kept
    return f"{kept}\n… (cut: {len(text):,} characters, of which {MAX_ANSWER:,} are shown)"
