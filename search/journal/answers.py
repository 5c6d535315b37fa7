"""From an agent's answer to what belongs into the journal.

The form, which `prompts/predict.md` and `prompts/reflect.md` tell agents, is a fenced block of CommonMark beside the
program's, one entry a line:

    ```hypotheses
    signs of rotated keys keep the order of pages: bytes_per_page <= 160 and kl < parent + 0.01 at 16
    ```
    ```notes
    holds: signs of keys cost a tenth of envelopes and answer as well (Signs41: kl 0.021 at 16)
    stop: larger budgets in the first layers
    next: signs of rotated keys
    ```

What follows the last colon of a hypothesis is its prediction (`search.journal.prediction`); what stands before the
first of a note is its kind. In an answer that is a JSON object the keys are `hypotheses` and `notes`, each a list of
such lines, or of objects with `text` and `prediction`, `kind` and `text`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.agents.answers import parsed, parts_of, without_thoughts
from search.journal.entries import MAX_HYPOTHESES, MAX_NOTES, OTHER, TITLES, Hypothesis, Note

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ANSWER = 64 * 1024  # characters that are read
HYPOTHESES, NOTES = "hypotheses", "notes"
BULLET = re.compile(r"^(?:[-*+]|\d+[.)])\s+")


@dataclass(frozen=True)
class Entries:
    """What an answer holds for the journal, at most so many of each, and `rest`: the answer without it."""

    hypotheses: tuple[Hypothesis, ...]
    notes: tuple[Note, ...]
    rest: str


def entries_of(answer: str) -> Entries:
    """Read an answer. What stands between thinking tags was not said; a line that cannot be judged is kept and told."""
    said = without_thoughts(answer[:MAX_ANSWER].replace("\r\n", "\n").replace("\r", "\n"))
    given = _object(said)
    lines, rest = _of_blocks(said) if given is None else _of_json(given)
    return Entries(
        tuple(map(_hypothesis, lines[HYPOTHESES][:MAX_HYPOTHESES])), tuple(map(_note, lines[NOTES][:MAX_NOTES])), rest
    )


def _object(said: str) -> dict[str, Any] | None:
    given = parsed(said)
    return given if isinstance(given, dict) else None


def _of_json(given: dict[str, Any]) -> tuple[dict[str, list[str]], str]:
    lines = {
        HYPOTHESES: _joined(given.get(HYPOTHESES), "text", "prediction"),
        NOTES: _joined(given.get(NOTES), "kind", "text"),
    }
    return lines, json.dumps({key: value for key, value in given.items() if key not in lines}, ensure_ascii=False)


def _joined(items: object, before: str, after: str) -> list[str]:
    """Give lines from a JSON list of them, or of objects with the two parts of a line."""
    found = []
    for each in items if isinstance(items, list) else [items]:
        if isinstance(each, str):
            found += each.splitlines()
        elif isinstance(each, dict):
            found.append(f"{_line(each.get(before))}: {_line(each.get(after))}")
    return [line for line in found if line.strip(" :")]


def _line(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _of_blocks(said: str) -> tuple[dict[str, list[str]], str]:
    found: dict[str, list[str]] = {HYPOTHESES: [], NOTES: []}
    kept = said.split("\n")
    for token in reversed(parts_of(said)):
        named = token.info.split()[:1] if token.type == "fence" else []
        if named and token.map and (name := named[0].lower()) in found:
            found[name][:0] = _lines(token.content.split("\n"))
            del kept[slice(*token.map)]
    return found, "\n".join(kept)


def _lines(block: Iterable[str]) -> list[str]:
    lines = (BULLET.sub("", line.strip()) for line in block)
    return [line for line in lines if line]


def _hypothesis(line: str) -> Hypothesis:
    text, colon, prediction = line.rpartition(":")
    return Hypothesis(text, prediction.strip().strip("`")) if colon else Hypothesis(line, "")


def _note(line: str) -> Note:
    kind, colon, text = line.partition(":")
    kind = kind.strip().strip("*").lower()
    return Note(kind, text) if colon and kind in TITLES else Note(OTHER, line)
