"""A language model as proposer: explore, mutate, and repair what was refused."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from prompts import prompt
from search.agents.answers import split_answer
from search.agents.breed import baked
from search.agents.drawing.draft import field_bytes_limit
from search.agents.llm.endpoint import Chat
from search.agents.shown import failures, language, leaderboard, measured
from search.parents import breeder
from search.records import Proposal, Status
from vortex_dsl import zoo

if TYPE_CHECKING:
    from search.agents.llm.endpoint import Endpoint
    from search.agents.llm.money import Purse
    from search.records import Context, Record

EXPLORE = 0.3  # share of the steps that look for another idea
NUM_AT_ONCE = 16  # requests; an endpoint that takes fewer lets the others wait, or asks for patience


class Llm:
    """Asks a language model. The prompt is a pure function of the context; the answer is the model's own."""

    num_at_once = NUM_AT_ONCE

    def __init__(self, endpoint: Endpoint, name: str = "llm", purse: Purse | None = None) -> None:
        self.name = name
        self._chat = Chat(endpoint, purse)

    def propose(self, context: Context) -> Proposal:
        """Ask once. An answer without a program is proposed as it is, and refused with a message.

        Raises ProposerError when the endpoint gives no answer after its retries.
        """
        operator, question, parents = ask(context, self.name)
        messages = ({"role": "system", "content": system(context)}, {"role": "user", "content": question})
        answer = self._chat.ask(messages)
        text, rationale = split_answer(answer.text)
        tokens = (answer.usage.prompt, answer.usage.completion)
        why = "\n".join(filter(None, (answer.fault, rationale)))
        return Proposal(text, self.name, operator, parents, why, *tokens, answer.dollars, answer.elapsed_s)


def system(context: Context) -> str:
    """Write the instructions: aim, limits, language, form of the answer."""
    return prompt(
        "system",
        num_tokens=str(context.num_tokens),
        head_dim=str(context.head_dim),
        group=str(context.group),
        field_bytes=str(field_bytes_limit(context.head_dim)),
        example=_example(),
        language=language(),
    )


def _example() -> str:
    """Give a program as seeds are: sparse in every layer."""
    first, rest = zoo.text("quest").strip().split("\n\n    def ", 1)
    return f"{first}\n    dense_layers = Int(0, 0, 8)\n\n    def {rest}"


def ask(context: Context, name: str) -> tuple[str, str, tuple[str, ...]]:
    """Decide what to ask: give the operator, the question and the parents' digests."""
    refused = _refused(context, name)
    if refused is not None:
        text = refused.candidate.proposal.text
        return "repair", prompt("repair", error=refused.candidate.message, refused=text.strip()), ()
    rng = random.Random(f"{context.seed} {context.step} {name}")
    parent = breeder(context, rng)
    shown = {"leaders": leaderboard(context), "failures": failures(context.records, name)}
    if parent is None or rng.random() < EXPLORE:
        return "explore", prompt("explore", **shown), ()
    question = prompt(
        "mutate", **shown, parent_measured=measured(parent), parent=baked(parent, context.head_dim).text().strip()
    )
    return "mutate", question, (parent.candidate.program_digest,)


def _refused(context: Context, name: str) -> Record | None:
    """Give this proposer's newest visible candidate if it was refused: each is the newest at one step only."""
    newest = next((r for r in reversed(context.records) if r.candidate.proposal.proposer == name), None)
    return newest if newest and newest.candidate.status is Status.PROGRAM_ERROR else None
