"""From the names of proposers to proposers."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from search.commands.exits import CommandError
from search.config import PROPOSERS
from search.parents import SEED
from search.records import Proposal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.agents.llm import Endpoint
    from search.config import CampaignConfig
    from search.contracts import Proposer
    from search.records import Context
    from vortex_dsl.frontend.program import Program

LLM = "llm"
KNOWN = ("grammar", LLM, "greedy", "best_of_n", "random")
# With an endpoint agents take turns with the grammar; the baselines keep theirs.
WITH_LLM = (LLM, "grammar", "greedy", LLM, "grammar", "best_of_n", LLM, "random")


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


def endpoint_of(llm: str, base_url: str, price: tuple[float, float]) -> Endpoint | None:
    """Give where agents ask, None where no model is named. Raises CommandError where an option is missing."""
    from search.agents.llm import Endpoint

    if not llm:
        if base_url:
            raise CommandError(f"--base-url {base_url} says where agents ask, but not whom; name a model with --llm")
        return None
    if base_url and not base_url.startswith(("http://", "https://")):
        raise CommandError(f"--base-url {base_url} is no URL; give one such as http://localhost:8000/v1")
    if not all(0 <= dollars < math.inf for dollars in price):
        raise CommandError(f"--price {price[0]} {price[1]} is no price; give dollars per million tokens, 0 or more")
    endpoint = Endpoint(llm, base_url, prompt_price=price[0], completion_price=price[1])
    if not base_url and endpoint.api_key_env not in os.environ:
        raise CommandError(f"--llm {llm} needs --base-url URL, or a key for OpenAI's own in {endpoint.api_key_env}")
    return endpoint


def proposer_names(given: Sequence[str], endpoint: Endpoint | None) -> tuple[str, ...]:
    """Give who takes turns: those asked for, else the usual round, with agents where there is an endpoint."""
    unknown = [name for name in given if name not in KNOWN]
    if unknown:
        raise CommandError(f"there is no proposer {unknown[0]!r}; there are {', '.join(KNOWN)}")
    return tuple(given) or (WITH_LLM if endpoint else PROPOSERS)


def proposers_of(config: CampaignConfig, endpoint: Endpoint | None) -> tuple[Proposer, ...]:
    """Give a proposer for each turn of a campaign's round. Raises CommandError where agents have no endpoint."""
    built = {name: _proposer(name, endpoint) for name in set(config.proposers)}
    return tuple(built[name] for name in config.proposers)


def _proposer(name: str, endpoint: Endpoint | None) -> Proposer:
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
            return _llm(endpoint)
        case _:
            raise CommandError(f"there is no proposer {name!r}; there are {', '.join(KNOWN)}")


def _llm(endpoint: Endpoint | None) -> Proposer:
    from search.agents.llm import Llm

    if endpoint is None:
        raise CommandError("the proposer llm needs --llm MODEL, and --base-url URL unless OpenAI's own is meant")
    return Llm(endpoint)
