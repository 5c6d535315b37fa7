"""From the bytes that a server replied with to what can be used of them, and what was odd about them in a sentence."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search.agents.answers import has_program, parsed, storable, without_thoughts
from search.report.wording import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MAX_TEXT_BYTES = 64 << 10
MAX_CALLS, MAX_NAME = 16, 200
MAX_SHOWN = 200  # characters of what a server said
LINE = re.compile(r"\r\n|\n|\r")  # of a stream of events: what else Python takes for a line's end is text of JSON
TEXTS = ("text", "output_text", None)  # kinds of the parts of a content that are said
# How OpenAI's `finish_reason` ends an answer early (https://platform.openai.com/docs/api-reference/chat/object), the
# last two as vLLM does.
ENDINGS = {
    "length": "the answer was cut off at the most tokens that it may have",
    "content_filter": "the provider's filter cut the answer off",
    "error": "the provider broke the answer off",
    "abort": "the server gave the answer up",
    "repetition": "the server cut the answer off, as it repeated itself",
}


@dataclass(frozen=True)
class Call:
    """A function that the model would have called, with its arguments by name."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What can be used of a reply. `usage` is what the server told of it, whatever that is.

    `is_answer`: a model wrote this, so that it has to be paid, also where no usage is told.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    usage: object = None
    faults: tuple[str, ...] = ()
    is_answer: bool = True
    num_written: int = field(default=0, compare=False)  # bytes that the model wrote, thoughts included


def _as_it_is(given: Any) -> Any:
    return given


def read_reply(body: bytes, *, offers_tools: bool = False, hidden: Callable[[Any], Any] = _as_it_is) -> Reply:
    """Read a whole reply, whatever it is. Never raises.

    `hidden` takes keys out of what JSON says, before any of it is cut: half of one would be told.
    """
    # In UTF-16, too, an answer was written that has to be paid, though JSON should not be sent so.
    text = hidden(body.decode(json.detect_encoding(body), "replace").strip())
    if not text:
        return Reply(faults=("the reply was empty",), is_answer=False)
    if text.startswith(("data:", "event:", ":")):
        return _read(hidden(_joined(text)), offers_tools)
    given = parsed(text)
    if given is None:
        return _of_no_json(text)
    return _read(hidden(given), offers_tools)


def _of_no_json(text: str) -> Reply:
    """Take what is no JSON for an answer where a program is in it, or where it is one that broke off."""
    broke_off = text.startswith("{") and '"choices"' in text
    what = "JSON that breaks off" if text.startswith(("{", "[")) else "no JSON"
    usable, faults = _capped(storable(text)) if has_program(text) else ("", ())
    fault = f"the reply is {what}: {_shown(text)}"
    return Reply(usable, faults=(fault, *faults), is_answer=broke_off or bool(usable), num_written=len(text.encode()))


def _read(given: object, offers_tools: bool) -> Reply:
    body = given if isinstance(given, dict) else {}
    faults = [f"the server tells of an error: {_shown(_error(body))}"] if body.get("error") else []
    messages = [found for choice in _choices(body) if (found := _message(choice)) is not None]
    if not messages:
        faults = faults or [f"the reply has no choice with a message, but {_shape(given)}; is this a chat model?"]
        return Reply(usage=body.get("usage"), faults=tuple(faults), is_answer=False)
    spoken = [_Spoken.of(message, ending) for message, ending in messages]
    best = next((s for s in spoken if has_program(s.content)), None) or next(
        (s for s in spoken if s.content), spoken[0]
    )
    text, calls, more = best.used(offers_tools)
    usable, cut = _capped(text)
    written = sum(s.num_bytes for s in spoken)
    return Reply(usable, calls, body.get("usage"), (*faults, *more, *cut), num_written=written)


@dataclass(frozen=True)
class _Spoken:
    """The parts of one message: what was said, thought and refused, what was called, and how it ended."""

    content: str
    thought: str
    refusal: str
    called: tuple[object, ...]
    ending: object

    @classmethod
    def of(cls, message: Mapping[str, Any], ending: object) -> _Spoken:
        thought = next(
            (
                found
                for key in ("reasoning_content", "reasoning", "reasoning_details")
                if (found := _text(message.get(key)))
            ),
            "",
        )
        called = message.get("tool_calls")
        calls = tuple(called) if isinstance(called, list) else ()
        old = message.get("function_call")
        content = message.get("content")
        refusal = _text(message.get("refusal")) or _refused(content)
        return cls(_text(content), thought, refusal, calls or ((old,) if isinstance(old, dict) else ()), ending)

    @property
    def num_bytes(self) -> int:
        """What the model wrote, in bytes of UTF-8."""
        return sum(len(str(each).encode()) for each in (self.content, self.thought, self.refusal, *self.called))

    def used(self, offers_tools: bool) -> tuple[str, tuple[Call, ...], tuple[str, ...]]:
        """Give the text that can be used, the calls, and what was odd."""
        calls, faults = _calls(self.called)
        text = without_thoughts(self.content).strip("\n") or self.content
        if isinstance(self.ending, str) and self.ending in ENDINGS:
            faults.append(ENDINGS[self.ending])
        if self.refusal and not text:
            faults.append(f"the model refused: {_shown(self.refusal)}")
        elif calls and not offers_tools:
            faults.append("the model called functions that it was not offered")
            text = text if has_program(text) else _program_in(calls) or text
            calls = []
        elif not text.strip() and not calls and has_program(self.thought):
            text = self.thought
            faults.append("the program stood in the reasoning alone")
        if not text.strip() and not calls and not faults:
            faults.append("the answer has no text" + (", only reasoning" if self.thought else ""))
        return text, tuple(calls), tuple(faults)


def _choices(body: Mapping[str, Any]) -> list[object]:
    found = body.get("choices")
    return found if isinstance(found, list) else [found] if isinstance(found, dict) else []


def _message(choice: object) -> tuple[Mapping[str, Any], object] | None:
    """Give a choice's message and how it ended; a bare text is a message too, as in the older completions."""
    if not isinstance(choice, dict):
        return None
    found = next((choice[key] for key in ("message", "delta", "text") if choice.get(key) is not None), None)
    message = {"content": found} if isinstance(found, str) else found
    return (message, choice.get("finish_reason")) if isinstance(message, dict) else None


def _text(content: object) -> str:
    """Give what a content says: a text, or parts that have one."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text(part) for part in content if not isinstance(part, list))
    if isinstance(content, dict) and content.get("type") in (*TEXTS, "reasoning.text", "thinking"):
        value = content.get("text", content.get("thinking"))
        return _text(value.get("value")) if isinstance(value, dict) else value if isinstance(value, str) else ""
    return ""


def _refused(content: object) -> str:
    parts = content if isinstance(content, list) else []
    return "".join(_text(part.get("refusal")) for part in parts if isinstance(part, dict))


def _calls(called: tuple[object, ...]) -> tuple[list[Call], list[str]]:
    """Read calls of functions; those whose arguments cannot be read, or are longer than answers may be, are told."""
    calls: list[Call] = []
    faults: list[str] = []
    room = MAX_TEXT_BYTES  # for all of them: they go with every later question of the conversation
    for each in called[:MAX_CALLS]:
        asked = each if isinstance(each, dict) else {}
        inner = asked.get("function")
        function = inner if isinstance(inner, dict) else asked
        name, given = function.get("name"), function.get("arguments")
        whole = given if isinstance(given, dict) else parsed(given or "{}") if isinstance(given or "", str) else None
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not isinstance(whole, dict):
            faults.append(f"a call of a function cannot be read: {_shown(json.dumps(each))}")
            continue
        room -= (size := len(json.dumps(whole).encode()))
        if room < 0:
            faults.append(
                f"a call of {_shown(name)} has {size:,} bytes: all of an answer have at most {MAX_TEXT_BYTES:,}"
            )
        else:
            calls.append(Call(str(asked.get("id") or "")[:MAX_NAME], name, whole))
    if len(called) > MAX_CALLS:
        faults.append(f"{len(called)} functions were called at once; the first {MAX_CALLS} count")
    return calls, faults


def _program_in(calls: list[Call]) -> str:
    said = (value for call in calls for value in call.arguments.values() if isinstance(value, str))
    return next(filter(has_program, said), "")


def _joined(text: str) -> dict[str, Any]:
    """Join a stream of events (https://html.spec.whatwg.org/multipage/server-sent-events.html) to a reply."""
    said: dict[str, list[str]] = {"content": [], "reasoning_content": []}
    called: list[object] = []
    ending: object = None
    joined: dict[str, Any] = {}
    for event in _events(text):
        joined |= {key: event[key] for key in ("usage", "error") if event.get(key)}
        for message, ended in filter(None, map(_message, _choices(event))):
            ending = ended or ending
            said["content"].append(_text(message.get("content")))
            said["reasoning_content"].append(_text(message.get("reasoning_content") or message.get("reasoning")))
            pieces = message.get("tool_calls")
            called += pieces if isinstance(pieces, list) else []
    whole = {**{key: "".join(parts) for key, parts in said.items()}, "tool_calls": _calls_of(called)}
    is_spoken = any(whole.values()) or ending is not None
    return joined | ({"choices": [{"message": whole, "finish_reason": ending}]} if is_spoken else {})


def _calls_of(pieces: Iterable[object]) -> list[dict[str, str]]:
    """Join pieces of calls: those of one index are one call, whose arguments come bit by bit."""
    calls: dict[object, tuple[dict[str, str], list[str]]] = {}
    for piece in pieces:
        asked = piece if isinstance(piece, dict) else {}
        index, function = asked.get("index"), asked.get("function")
        call, arguments = calls.setdefault(index if isinstance(index, int) else len(calls), ({}, []))
        for name, part in {"id": asked.get("id"), **(function if isinstance(function, dict) else {})}.items():
            if name == "arguments":
                arguments.append(part if isinstance(part, str) else "")
            elif isinstance(part, str):
                call.setdefault(name, part)
    return [call | {"arguments": "".join(arguments)} for call, arguments in calls.values()]


def _events(text: str) -> Iterator[dict[str, Any]]:
    for line in LINE.split(text):
        event = parsed(line.removeprefix("data:").strip()) if line.startswith("data:") else None
        if isinstance(event, dict):
            yield event


def _capped(text: str) -> tuple[str, tuple[str, ...]]:
    coded = text.encode()
    if len(coded) <= MAX_TEXT_BYTES:
        return text, ()
    kept = coded[:MAX_TEXT_BYTES].decode("utf-8", "ignore")
    return kept, (f"the answer has {len(coded):,} bytes, of which the first {MAX_TEXT_BYTES:,} are kept",)


def _error(body: Mapping[str, Any]) -> str:
    error = body["error"]
    return str(error.get("message") or error) if isinstance(error, dict) else str(error)


def _shape(given: object) -> str:
    if not isinstance(given, dict):
        return f"is {_shown(json.dumps(given))}"
    return f"the keys {_shown(', '.join(given))}" if given else "no key at all"


def _shown(text: str) -> str:
    return cut(text[: 4 * MAX_SHOWN], MAX_SHOWN)
