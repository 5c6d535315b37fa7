"""From a language model's answer to a program and its reasons, whatever form the answer has."""

from __future__ import annotations

import json
import re

MAX_RATIONALE = 2000  # characters
THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
PROGRAM = re.compile(r"^class +\w+ *\( *Program *\) *:", re.MULTILINE)
BEGINNING = re.compile(r"^from +vortex_dsl +import +", re.MULTILINE)
KEYS = ("program", "code", "text")  # of an answer that is a JSON object


def split_answer(answer: str) -> tuple[str, str]:
    """Give an answer's program and its reasons; where there is none, all of it stands for the program.

    The program is the last block of code with a class of it in it, else the last block, fenced as CommonMark has it
    (https://spec.commonmark.org); without a block, what begins with the language's import; or a text in a JSON
    object. What stands between thinking tags is neither.
    """
    said = THOUGHT.sub("", answer.replace("\r\n", "\n"))
    return _of_json(said) or _of_blocks(said) or _of_prose(said) or (answer, "")


def _of_json(said: str) -> tuple[str, str] | None:
    try:
        given = json.loads(said)
    except (ValueError, RecursionError):
        return None
    if not isinstance(given, dict):
        return None
    program = next((given[key] for key in KEYS if isinstance(given.get(key), str)), None)
    reasons = "\n".join(value for value in given.values() if isinstance(value, str) and value != program)
    return None if program is None else (program, reasons[:MAX_RATIONALE])


def _of_blocks(said: str) -> tuple[str, str] | None:
    from markdown_it import MarkdownIt

    blocks = [token for token in MarkdownIt().parse(said) if token.type == "fence" and token.map]
    if not blocks:
        return None
    programs = [token for token in blocks if PROGRAM.search(token.content)]
    chosen = (programs or blocks)[-1]
    assert chosen.map is not None, "a block knows its lines"
    lines, (start, end) = said.split("\n"), chosen.map
    return chosen.content, "\n".join([*lines[:start], *lines[end:]]).strip()[:MAX_RATIONALE]


def _of_prose(said: str) -> tuple[str, str] | None:
    start = BEGINNING.search(said)
    if start is None or not PROGRAM.search(said, start.start()):
        return None
    return said[start.start() :], said[: start.start()].strip()[:MAX_RATIONALE]
