"""What was said between us and a language model, as it is kept: without keys, within a bound, compressed.

A conversation is the JSON of a list of messages, each an object with a `role` and a `content`, as in the chat
completions of OpenAI (https://platform.openai.com/docs/api-reference/chat).
"""

from __future__ import annotations

import json
import re
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 256 * 1024  # of the JSON, before it is compressed
LONGEST, SHORTEST = 1 << 16, 64  # characters of one text: halved until all of them have room together
REDACTED = "[redacted]"
SECRET_NAME = re.compile(r"(?i)(?:api[_-]?key|authorization|password|passwd|secret|(?:access|auth)[_-]?token)$")
_VALUE = r"[\w.~+/=-]"
SECRETS = (  # what keys of well-known services look like, and whatever is said to be one; the last group is replaced
    re.compile(r"\b((?:sk|pk|rk|xai|gsk|glpat|github_pat|gh[opsur]|hf|xox[abeprs])[-_][\w-]{16,})"),
    re.compile(r"\b((?:AIza|AKIA|ASIA)[\w-]{12,})"),
    re.compile(r"\b(eyJ[\w-]{8,}+(?:\.[\w-]{8,}+\.[\w-]*+)?)"),
    re.compile(rf"(?i)\b(?:bearer|basic)\s+({_VALUE}{{8,}})"),
    re.compile(
        r"(?i)\b(?:api[_-]?key|authorization|password|secret|(?:access|auth)[_-]?token)[\"']?\s*[:=]\s*[\"']?"
        rf"(?!bearer\b|basic\b)({_VALUE}{{8,}})"
    ),
    re.compile(r"://([^\s/@:]*:[^\s/@]+)@"),
    re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z))", re.DOTALL),
)


def packed(conversation: str) -> bytes:
    """Give what is stored of a conversation. Raises ValueError for what is not the JSON of a list."""
    return zlib.compress(_capped(conversation).encode())


def unpacked(stored: bytes) -> str:
    """Give a stored conversation. Raises ValueError for what `packed` never gave."""
    unpacking = zlib.decompressobj()
    try:
        conversation = unpacking.decompress(stored, MAX_BYTES).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"a stored conversation cannot be read: {error}") from error
    if not unpacking.eof:
        raise ValueError(f"a stored conversation cannot be read: it is cut off, or of more than {MAX_BYTES:,} bytes")
    return conversation


def redacted(text: str) -> str:
    """Give a text with whatever looks like a key replaced."""
    for secret in SECRETS:
        text = secret.sub(_without_its_group, text)
    return text


def _without_its_group(found: re.Match[str]) -> str:
    start, end = (place - found.start() for place in found.span(1))
    return f"{found[0][:start]}{REDACTED}{found[0][end:]}"


def _capped(conversation: str) -> str:
    """Give the JSON of a conversation without keys, its longest texts cut where it is too long."""
    messages = _each_text(_read(conversation), redacted)
    limit, told = LONGEST, json.dumps(messages)
    while len(told) > MAX_BYTES and limit >= SHORTEST:
        messages = _each_text(messages, partial(_cut, limit=limit))
        limit, told = limit // 2, json.dumps(messages)
    if len(told) > MAX_BYTES:
        number = len(messages)
        return json.dumps([{"role": "note", "content": f"{number:,} messages were too long together to be kept"}])
    return told


def _read(conversation: str) -> list[Any]:
    try:
        messages = json.loads(conversation)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a conversation is the JSON of a list of messages, but this is no JSON: {error}") from error
    if not isinstance(messages, list):
        raise ValueError(f"a conversation is the JSON of a list of messages, but this is {conversation[:40]!r}")
    return messages


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Change every text within JSON; what stands under the name of a secret is replaced whatever it looks like."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(each, change) for each in value]
    if isinstance(value, dict):
        return {
            name: REDACTED if isinstance(each, str) and SECRET_NAME.search(name) else _each_text(each, change)
            for name, each in value.items()
        }
    return value


def _cut(text: str, limit: int) -> str:
    """Leave out the middle of a long text: what it begins and ends with says most."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}"
