"""A ticket says what a brief asked for, so that the program that comes back has its operator and its parents."""

from __future__ import annotations

import re
from dataclasses import dataclass

from search.agents.llm.choosing import OPERATORS
from search.contracts import SubmissionError
from search.journal.reflecting import REFLECT

MAX_TICKET = 1200  # characters
MAX_PARENTS = 8
FORM = re.compile(r"(\d{1,18})\.(\d{1,18})\.([a-z_]{1,32})\.([0-9a-f,]*)")
ASKED = (*OPERATORS, REFLECT)  # by what a brief asks: as a seed or a yardstick a program would be beyond every bound


@dataclass(frozen=True)
class Ticket:
    """What was asked of an agent: in which campaign, after how many of its steps, by which operator, of whom.

    `parents` are digests of programs. As text it is what agents are given and give back; it is no secret, and whoever
    writes one by hand says no more than a submission may say without it.
    """

    campaign_id: int
    num_steps: int
    operator: str
    parents: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.campaign_id}.{self.num_steps}.{self.operator}.{','.join(self.parents)}"

    @classmethod
    def parse(cls, text: str) -> Ticket:
        """Read a ticket. Raises SubmissionError for what is none."""
        found = FORM.fullmatch(text) if len(text) <= MAX_TICKET else None
        if found is None:
            raise SubmissionError(f"{text[:80]!r} is no ticket; give one as a brief gave it, or none")
        campaign_id, num_steps, operator, parents = found.groups()
        if operator not in ASKED:
            raise SubmissionError(
                f"no brief asks for {operator!r} as this ticket does; give one as a brief did, or none"
            )
        return cls(int(campaign_id), int(num_steps), operator, tuple(filter(None, parents.split(",")))[:MAX_PARENTS])
