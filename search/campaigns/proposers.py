"""From the names of proposers to proposers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.agents.llm.money import Purse
from search.agents.seeds import given
from search.config import TURNS, ConfigError
from search.parents import GIVEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.agents.llm.endpoint import Endpoint
    from search.config import CampaignConfig
    from search.contracts import Looker, Proposer
    from search.records import Context, Proposal
    from vortex_dsl.frontend.program import Program

LLM = "llm"
KNOWN = ("grammar", LLM, "tune", "greedy", "best_of_n", "random")
# With an endpoint agents take turns with the grammar; the baselines keep theirs.
WITH_LLM = (LLM, "grammar", "greedy", LLM, "grammar", "best_of_n", LLM, "random")


class Given:
    """Proposes one program that a person gave."""

    name = GIVEN

    def __init__(self, program: Program) -> None:
        self._proposal = given(program)

    def propose(self, context: Context) -> Proposal:  # noqa: ARG002 - the same whatever came before
        """Give the program."""
        return self._proposal


def proposers_of(
    config: CampaignConfig, endpoints: Mapping[str, Endpoint], patience_s: float = 0.0
) -> tuple[Proposer, ...]:
    """Give a proposer for each turn of a campaign's round. Raises ConfigError where agents have no endpoint.

    They share the campaign's dollars. What is spent already, the ledger tells them once a loop asks them. A server that
    cannot be reached is asked again for `patience_s` seconds.
    """
    from search.campaigns.machines import nearest_looker_of

    most = math.inf if config.max_dollars is None else config.max_dollars
    means = Means(Purse(most), nearest_looker_of(config) if endpoints else None, config.turns, patience_s)
    built = {name: proposer_of(name, endpoints, means) for name in set(config.proposers)}
    return tuple(built[name] for name in config.proposers)


@dataclass(frozen=True)
class Means:
    """What a campaign's language models share: its dollars, what looks at programs, and the exchanges of a step.

    `patience_s`: for so long a server that cannot be reached is asked again.
    """

    purse: Purse | None = None
    looker: Looker | None = None
    turns: int = TURNS
    patience_s: float = 0.0


def proposer_of(name: str, endpoints: Mapping[str, Endpoint], means: Means | None = None) -> Proposer:
    """Build a proposer by its name: one of `KNOWN`, or that of an endpoint. Raises ConfigError for another."""
    from search.agents.baselines import BestOfN, Greedy, Random
    from search.agents.grammar import Grammar
    from search.agents.llm.conversation import Llm
    from search.agents.tuning.tune import Tune

    if name in endpoints:
        given = means or Means()
        return Llm(endpoints[name], name, given.purse, given.looker, given.turns, patience_s=given.patience_s)
    for kind in (Grammar, Tune, Greedy, BestOfN, Random):
        if kind.name == name:
            return kind()
    if name == LLM:
        raise ConfigError("the proposer llm needs --llm MODEL, and --base-url URL unless OpenAI's own is meant")
    known = ", ".join(dict.fromkeys((*KNOWN, *endpoints)))
    raise ConfigError(
        f"there is no proposer {name!r} here; there are {known}, and every endpoint of the campaign's file"
    )
