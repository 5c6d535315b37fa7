"""What an agent from outside is told: the same text as a language model that is called, from all that is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.agents.llm.operators import ask
from search.agents.look import statistics_of
from search.agents.shown.questions import instructions
from search.outside.tickets import Ticket

if TYPE_CHECKING:
    from search.contracts import Looker
    from search.records import Context, StoredCampaign


@dataclass(frozen=True)
class Brief:
    """The text, and the ticket that names what it asks for."""

    ticket: str
    text: str


def brief(context: Context, campaign: StoredCampaign, agent: str, looker: Looker | None = None) -> Brief:
    """Ask an agent for its next program; `looker` has what was recorded of the model."""
    asked = ask(context, agent, statistics_of(looker, context))
    ticket = Ticket(campaign.id, context.step, asked.operator, asked.digests)
    return Brief(str(ticket), f"{instructions(context).strip()}\n\n{asked.question.strip()}")
