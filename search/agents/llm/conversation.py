"""A language model as proposer: what it proposes is checked and looked at, and it may answer to that, in one step."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prompts import prompt
from search.agents.bounds import objections
from search.agents.llm.drafts import Draft, drafted
from search.agents.llm.endpoint import NUM_AT_ONCE, Chat
from search.agents.llm.operators import ask
from search.agents.llm.tools import TOOLS, Desk, spoken
from search.agents.look import statistics_of
from search.agents.shown.questions import instructions
from search.config import TURNS
from search.contracts import LookError, ProposerError
from search.journal.answers import entries_of
from search.journal.entries import MAX_NOTES
from search.records import Proposal
from search.telling.rationale import rationale_of

if TYPE_CHECKING:
    from search.agents.llm.endpoint import Answer, Call, Endpoint
    from search.agents.llm.money import Purse
    from search.agents.llm.operators import Asked
    from search.agents.look import Look
    from search.contracts import Ledger, Looker
    from search.journal.entries import Hypothesis, Note
    from search.records import Context

QUESTIONS_OF_A_REQUEST = 2  # while one is written, checked or looked at, the endpoint is busy with the other
MAX_CALLS = 8  # of one answer that are answered
FUNCTIONS = tuple(tool.function for tool in TOOLS)


class Llm:
    """Asks a language model, in up to `turns` exchanges a step, with `num_requests` at the endpoint at a time.

    The questions are a pure function of the context and of the answers; the answers are the model's own.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        name: str = "llm",
        purse: Purse | None = None,
        looker: Looker | None = None,
        turns: int = TURNS,
        num_requests: int = NUM_AT_ONCE,
        patience_s: float = 0.0,
    ) -> None:
        self._chat = Chat(replace(endpoint, name=name), purse, num_requests, patience_s)
        self.num_at_once = QUESTIONS_OF_A_REQUEST * num_requests
        self.name, self._looker, self._turns = name, looker, turns

    def pay_from(self, ledger: Ledger, campaign_id: int) -> None:
        """Keep back what is asked from now on in this ledger."""
        self._chat.pay_from(ledger, campaign_id)

    @property
    def waits(self) -> bool:
        """Whether a server that cannot be reached is waited for."""
        return self._chat.waits

    @waits.setter
    def waits(self, is_patient: bool) -> None:
        self._chat.waits = is_patient

    def propose(self, context: Context) -> Proposal:
        """Give the program that a conversation comes to; where none is sound, the last one, which is refused.

        Raises ProposerError when the endpoint gives no answer at all.
        """
        statistics = statistics_of(self._looker, context)
        asked = ask(context, self.name, statistics, self._chat.endpoint.max_prompt_tokens)
        conversation = Conversation(self._chat, Desk(context, self._looker, asked.parents), asked)
        conversation.run(self._turns)
        return conversation.proposal(self.name)


@dataclass(frozen=True)
class _Sound:
    """A program that is within the bounds, what its answer predicts, and what a look showed, if there was one."""

    draft: Draft
    hypotheses: tuple[Hypothesis, ...]
    look: Look | None

    @property
    def mass(self) -> float:
        return self.look.own.mass if self.look else 0.0


class Conversation:
    """One step's exchanges. A program that is refused or looked at is answered to; the last word is the model's."""

    def __init__(self, chat: Chat, desk: Desk, asked: Asked) -> None:
        self._chat, self._desk, self._asked = chat, desk, asked
        self.messages: list[dict[str, Any]] = [
            {"role": "system", "content": instructions(desk.context)},
            {"role": "user", "content": asked.question},
        ]
        self._shown = asked.shown
        self._sound: list[_Sound] = []
        self._last = Draft("")
        self._notes: list[Note] = []
        self._predicted: tuple[Hypothesis, ...] = ()  # of the program that is talked about
        self._faults: list[str] = []
        self._prompt_tokens = self._completion_tokens = 0
        self._dollars = self._elapsed_s = 0.0
        self._questions: list[str] = []  # rows of the ledger

    def run(self, turns: int) -> None:
        """Exchange messages until the model has nothing to add, or has had its turns.

        Raises ProposerError where the first question is not answered; what comes later ends the conversation.
        """
        for left in reversed(range(turns)):
            try:
                answer = self._chat.ask(self.messages, FUNCTIONS if left else (), self._desk.context.step)
            except ProposerError as error:
                if left == turns - 1:
                    raise
                self._faults.append(str(error))
                self._dollars += error.dollars
                self._questions += error.questions
                return
            self._pay(answer)
            reply = self._replies(answer)
            if not reply:
                return
            self.messages += reply

    def proposal(self, name: str) -> Proposal:
        """Give what came of it, with all that it cost: of what is sound the program that keeps most, else the last."""
        best = max(enumerate(self._sound), key=lambda each: (each[1].mass, each[0]))[1] if self._sound else None
        draft = best.draft if best else self._last
        return Proposal(
            draft.text,
            name,
            self._asked.operator,
            self._asked.digests,
            rationale_of(draft.rationale, self._faults),
            self._prompt_tokens,
            self._completion_tokens,
            self._dollars,
            self._elapsed_s,
            hypotheses=best.hypotheses if best else self._predicted,
            notes=tuple(self._notes[:MAX_NOTES]),
            conversation=json.dumps(self.messages, ensure_ascii=False),
            questions=tuple(self._questions),
        )

    def _pay(self, answer: Answer) -> None:
        self._prompt_tokens += answer.usage.prompt
        self._completion_tokens += answer.usage.completion
        self._dollars += answer.dollars
        self._questions += answer.questions
        self._elapsed_s += answer.elapsed_s
        if answer.fault:
            self._faults.append(answer.fault)

    def _replies(self, answer: Answer) -> list[dict[str, Any]]:
        """Give the messages that follow an answer, itself among them; none where nothing is left to say."""
        self.messages.append(_said(answer))
        if answer.calls:
            return [self._called(call, at) for at, call in enumerate(answer.calls)]
        entries = entries_of(answer.text)
        self._notes += entries.notes
        draft = drafted(entries.rest, self._shown, self._desk.context)
        questions = spoken(answer.text)[:MAX_CALLS] if draft.complaint else []
        if questions:
            told = "\n\n".join(f"# {name}\n\n{self._desk.answer(name, given)}" for name, given in questions)
            return [{"role": "user", "content": told}]
        if draft.complaint and self._sound:
            return []
        self._last = draft
        self._predicted = entries.hypotheses or self._predicted
        reply = self._judged(draft, answer.fault)
        return [{"role": "user", "content": reply}] if reply else []

    def _called(self, call: Call, at: int) -> dict[str, Any]:
        told = self._desk.answer(call.name, call.arguments) if at < MAX_CALLS else f"at most {MAX_CALLS} calls at once"
        return {"role": "tool", "tool_call_id": call.id, "content": told}

    def _judged(self, draft: Draft, fault: str) -> str:
        """Say what is to be said of a draft; nothing where it goes through as it is."""
        if draft.complaint:
            return prompt("refused", objections="\n".join(f"* {e}" for e in (draft.complaint, fault) if e))
        self._shown = draft.text
        found = list(objections(_proposed(draft), self._desk.context))
        if found:
            return prompt("refused", objections="\n".join(f"* {each}" for each in found))
        seen = self._looked(draft)
        self._sound.append(_Sound(draft, self._predicted, seen))
        self._predicted = ()  # what a repair need not say again; of another program nothing is predicted yet
        return "" if seen is None or seen.is_best else prompt("looked", look=seen.told())

    def _looked(self, draft: Draft) -> Look | None:
        """Look at a sound draft; None, with the reason among what was odd, where there is no look to be had."""
        if self._desk.looker is None:
            return None
        try:
            return self._desk.looked(draft.text)
        except LookError as error:
            self._faults.append(str(error))
            return None


def _said(answer: Answer) -> dict[str, Any]:
    """Give an answer as a message of the conversation."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in answer.calls
        ]
    return message


def _proposed(draft: Draft) -> Proposal:
    return Proposal(draft.text, "", "")
