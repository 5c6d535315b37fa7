"""From the names of proposers to proposers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.commands.exits import CommandError
from search.records import Proposal
from search.stages import SEED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.config import CampaignConfig
    from search.contracts import Proposer
    from search.records import Context
    from vortex_dsl.program import Program

LLM = "llm"


@dataclass(frozen=True)
class Endpoint:
    """Where agents ask: an OpenAI-compatible endpoint and one of its models."""

    base_url: str
    model: str


class Given:
    """Proposes one program that a person gave. Like a seed it goes through every stage, whatever its numbers."""

    name = "given"

    def __init__(self, program: Program) -> None:
        self._proposal = Proposal(
            program.text, self.name, SEED, rationale=program.doc, values=tuple(sorted(program.overrides))
        )

    def propose(self, context: Context) -> Proposal:  # noqa: ARG002 - the same whatever came before
        """Give the program."""
        return self._proposal
