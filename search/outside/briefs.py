"""What an agent from outside is told: the same text as a language model that is called, from all that is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.agents.llm.operators import ask
from search.agents.look import statistics_of
from search.agents.shown.questions import instructions
from search.archive.archivist import archive_of
from search.config import CampaignConfig
from search.outside.tickets import Ticket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.contracts import Looker
    from search.records import Campaign, Context, Record


@dataclass(frozen=True)
class Brief:
    """The text, and the ticket that names what it asks for."""

    ticket: str
    text: str


def context_of(campaign: Campaign, records: Sequence[Record]) -> Context:
    """Give what a step would be shown that knew all that is measured so far, of steps that are under way too.

    Who is called by the loop knows less, by the lag: its answers must not hang on the clock. What comes from outside
    does in any case, and is recorded as it came.
    """
    config = CampaignConfig.from_json(campaign.settings)
    seen = {each.candidate.program_digest for each in records}
    seen |= {evaluation.key.program_digest for each in records for evaluation in each.evaluations}
    return config.context(len(records), records, seen - {""}, archive_of(records, config))


def brief(context: Context, campaign: Campaign, agent: str, looker: Looker | None = None) -> Brief:
    """Ask an agent for its next program; `looker` has what was recorded of the model."""
    asked = ask(context, agent, statistics_of(looker, context))
    ticket = Ticket(campaign.id, context.step, asked.operator, asked.digests)
    return Brief(str(ticket), f"{instructions(context).strip()}\n\n{asked.question.strip()}")
