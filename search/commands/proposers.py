"""From the names of proposers to proposers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.commands.exits import CommandError
from search.config import PROPOSERS
from search.records import Proposal
from search.stages import SEED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.config import CampaignConfig
    from search.contracts import Proposer
    from search.records import Context
    from vortex_dsl.program import Program

LLM = "llm"
KNOWN = ("grammar", LLM, "greedy", "best_of_n", "random")
# With an endpoint agents take turns with the grammar; the baselines keep theirs.
WITH_LLM = (LLM, "grammar", "greedy", LLM, "grammar", "best_of_n", LLM, "random")


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


def proposer_names(given: Sequence[str], endpoint: Endpoint) -> tuple[str, ...]:
    """Give who takes turns: those asked for, else the usual round, with agents where there is an endpoint."""
    unknown = [name for name in given if name not in KNOWN]
    if unknown:
        raise CommandError(f"there is no proposer {unknown[0]!r}; there are {', '.join(KNOWN)}")
    if bool(endpoint.base_url) != bool(endpoint.model):
        raise CommandError("--base-url and --llm go together: where agents ask, and which model they ask there")
    return tuple(given) or (WITH_LLM if endpoint.model else PROPOSERS)


def proposers_of(config: CampaignConfig, endpoint: Endpoint) -> tuple[Proposer, ...]:
    """Give a proposer for each turn of a campaign's round. Raises CommandError where agents have no endpoint."""
    if LLM in config.proposers and not (endpoint.base_url and endpoint.model):
        raise CommandError("the proposer llm needs --base-url URL and --llm MODEL; its key is read from OPENAI_API_KEY")
    built = {name: _proposer(name, endpoint) for name in set(config.proposers)}
    return tuple(built[name] for name in config.proposers)


def _proposer(name: str, endpoint: Endpoint) -> Proposer:
    from search.agents.baselines import BestOfN, Greedy, Random
    from search.agents.grammar import Grammar

    match name:
        case "grammar":
            return Grammar()
        case "greedy":
            return Greedy()
        case "best_of_n":
            return BestOfN()
        case "random":
            return Random()
        case "llm":
            from search.agents.llm import Llm

            return Llm(endpoint.base_url, endpoint.model)
        case _:
            raise CommandError(f"there is no proposer {name!r}; there are {', '.join(KNOWN)}")
