"""Keys are read from the environment when they are sent, and are taken out of whatever is told or kept."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

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
