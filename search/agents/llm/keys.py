"""Keys are read from the environment when they are sent, and are taken out of whatever is told or kept."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from search.contracts import ProposerError

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "[key]"
LEAST = 6  # characters of a key: shorter ones are words that stand everywhere
# Keys by their form: those of OpenAI, Anthropic and others ("sk-…"), of Google, Groq, xAI, Hugging Face, GitHub and
# AWS, JSON web tokens, what follows "Bearer" or "Basic", and a password in a URL.
FORMS = re.compile(
    r"\b(?:sk|pk|rk|key)-[A-Za-z0-9_*.\-]{8,}|\bAIza[\w-]{20,}|\b(?:gsk|xai|hf|gh[opsu])[_-]\w{16,}|\bAKIA[0-9A-Z]{12,}"
    r"|\beyJ[\w-]{8,}+(?:\.[\w-]{8,}+\.[\w-]*+)?|(?<=Bearer )[^\s\"',]{6,}|(?<=Basic )[^\s\"',]{6,}|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"
)
SECRET = re.compile(r"auth|key|secret|token|password|cookie|credential", re.IGNORECASE)  # of a header's name


def redacted(text: str, known: Iterable[str] = ()) -> str:
    """Give a text without keys: neither those that are `known`, nor what has the form of one."""
    for key in sorted((key for key in known if len(key) >= LEAST), key=len, reverse=True):
        text = text.replace(key, HIDDEN)
    return FORMS.sub(HIDDEN, text)


def key_in(variable: str) -> str:
    """Give the key that an environment variable holds, nothing where it is not set.

    Raises ProposerError, which does not repeat it, for what cannot stand in a header.
    """
    key = os.environ.get(variable, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ProposerError(f"the environment variable {variable} holds no key: it has spaces or signs that none has")
    return key


@dataclass(frozen=True)
class Credentials:
    """What goes with an endpoint's requests and is told to nobody, read from the environment when it is first sent.

    `variable` holds the key; `given` are headers as JSON, of which "$NAME" stands for what that variable holds;
    `instead` is sent where there is no key, which is an error where it is empty.
    """

    variable: str
    given: str = "{}"
    instead: str = ""

    @cached_property
    def key(self) -> str:
        """The key. Raises ProposerError where there is none, or what is none."""
        key = key_in(self.variable) or self.instead
        if not key:
            raise ProposerError(f"{self.variable} is not set; set it, or name an endpoint by --base-url")
        return key

    @cached_property
    def headers(self) -> dict[str, str]:
        """Headers beside those that every request has."""
        return {name: key_in(value[1:]) if value.startswith("$") else value for name, value in self._given.items()}

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that nobody may be told."""
        return (self.key, *(self.headers[name] for name, value in self._given.items() if value.startswith("$")))

    def hidden(self, value: Any) -> Any:
        """Give JSON without the secrets, whole, however long its texts are."""
        if isinstance(value, str):
            for secret in self.secrets:
                value = value.replace(secret, HIDDEN) if len(secret) >= LEAST else value
            return value
        if isinstance(value, list):
            return [self.hidden(each) for each in value]
        if isinstance(value, dict):
            return {self.hidden(name): self.hidden(each) for name, each in value.items()}
        return value

    @property
    def _given(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.given)
        return found
