"""From a language model's answer to a program and its reasons, whatever form the answer has."""

from __future__ import annotations

import html
import json
import re
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_RATIONALE = 2000  # characters
MAX_CHARACTERS = 1 << 18  # of an answer that is looked through
MAX_DIGITS = 400  # of a whole number; more are beyond every float
MAX_DEPTH = 64  # of JSON: whoever goes through it again must not meet Python's own bound
MAX_NESTED = 3  # forms within forms: a program in a block in a JSON object
MOST_STRINGS = 4  # of broken JSON that may hold a program, the last ones
THINK = r"think(?:ing)?|thought|reasoning"
TAG_OF_THOUGHT = re.compile(rf"<(?=/?\w+>)(/?)(?:{THINK})>|\[(?-i:(?=/?THINK\]))(/?)THINK\]", re.IGNORECASE)
# What chat templates put between turns, and some servers leave in an answer; no Python holds the first.
TOKEN = re.compile(r"<\|[\w ]{1,40}\|>|(?:</s>|<eos>|<end_of_turn>)\s*\Z")
PROGRAM = re.compile(r"^[ \t]*class +\w+ *\( *(?:vortex_dsl\.)?Program *\) *:", re.MULTILINE)
BEGINNING = re.compile(r"^[ \t]*(?:from +vortex_dsl +import\b|import +vortex_dsl\b)", re.MULTILINE)
FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,}).*$", re.MULTILINE)
CLOSED = re.compile(r"(?:`{3,}|~{3,})[ \t]*$")
TAG = re.compile(r"<(program|code|answer|python|pre)(?:\s[^<>]*+)?>(.*?)(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
# A line at the margin that ends a program, unless it is code.
PROSE = re.compile(r"^(?!(?:def|class|from|import)\b|[A-Za-z_]\w*+[ \t]*+=|[#@)\]}\"'])\S", re.MULTILINE)
QUOTED = re.compile(r"^ {0,3}(?:>[ \t]?)++", re.MULTILINE)
BESIDE_BLOCKS = [
    "inline",
    "table",
    "reference",
    "html_block",
    "lheading",
    "blockquote",
]  # rules of Markdown that find no code
KEYS = ("program", "code", "text", "answer", "content", "source")  # of an answer that is a JSON object
STRING = re.compile(rf'"(?:{"|".join(KEYS)})"\s*:\s*"((?:[^"\\]|\\.)*)', re.DOTALL)  # of JSON, broken JSON included
CDATA = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>\s*)?\Z", re.DOTALL)
CODE = re.compile(r"""\s*(?:#|@|from\b|import\b|class\b|[rR]?["'])""")  # how a program's text begins
INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\x00")) | {0xA0: " "}
INVISIBLE |= dict.fromkeys((0x0B, 0x0C, 0x2028, 0x2029), "\n")


def parsed(text: str) -> Any:
    """Give what JSON says, its texts fit to be stored and sent; None for what is no JSON, or nested too deeply."""
    try:
        return _storable(json.loads(text, strict=False, parse_int=_number))  # models break lines within texts
    except (ValueError, RecursionError):
        return None


def _number(digits: str) -> int | float:
    """Read a whole number. One that Python would not read is none, and no reason to give up all beside it."""
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def storable(text: str) -> str:
    """Give a text without what no database keeps: halves of pairs of UTF-16, and zeros."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "")


def _storable(value: Any, room: int = MAX_DEPTH) -> Any:
    if isinstance(value, str):
        return storable(value)
    if not room:
        raise RecursionError
    if isinstance(value, list):
        return [_storable(each, room - 1) for each in value]
    if isinstance(value, dict):
        return {storable(key): _storable(each, room - 1) for key, each in value.items()}
    return value


def split_answer(answer: str) -> tuple[str, str]:
    """Give an answer's program and its reasons; where there is none, all of it stands for the program.

    The program is the last block of code with a class of it in it, else the last block, fenced as CommonMark has it
    (https://spec.commonmark.org); without a block, what stands in a tag, or what begins with the language's import; or
    a text in a JSON object. What stands between thinking tags counts only where there is no program elsewhere.
    """
    plain = answer[:MAX_CHARACTERS].replace("\r\n", "\n").replace("\r", "\n").translate(INVISIBLE)
    plain = TOKEN.sub("\n", plain)
    said = without_thoughts(plain)
    found = _found(said, MAX_NESTED)
    if (found is None or not has_program(found[0])) and has_program(plain):
        found = _found(TAG_OF_THOUGHT.sub("\n", plain), MAX_NESTED) or found
    return found or (answer, "")


def has_program(text: str) -> bool:
    """Say whether a class of a program begins somewhere in a text."""
    return PROGRAM.search(text) is not None


def without_thoughts(text: str) -> str:
    """Give an answer without what stands between thinking tags, one of which may be missing.

    Without a tag before it, the end of a thought ends all that stands before it: some templates begin it themselves.
    """
    said: list[str] = []
    start, depth = 0, 0
    for tag in TAG_OF_THOUGHT.finditer(text):
        if tag[1] or tag[2]:
            if depth == 0:
                said.clear()
            start, depth = tag.end(), 0
        else:
            if depth == 0:
                said.append(text[start : tag.start()])
            depth = 1
    return "".join(said) + ("" if depth else text[start:])


def _found(said: str, depth: int) -> tuple[str, str] | None:
    if depth <= 0:
        return None
    found = _of_json(said, depth) or _of_blocks(said, depth) or _of_tags(said, depth)
    found = found or _of_strings(said, depth) or _of_prose(said)
    if found is None and "\\n" in said and not has_program(said):
        return _of_prose(said.replace("\\n", "\n").replace('\\"', '"'))  # a text that was quoted once too often
    return found


def _of_json(said: str, depth: int) -> tuple[str, str] | None:
    given = parsed(said)
    if isinstance(given, str):
        return _found(given, depth - 1)
    if isinstance(given, list):
        given = next((each for each in given if isinstance(each, dict)), None)
    if not isinstance(given, dict):
        return None
    given = {key: "\n".join(value) if _is_lines(value) else value for key, value in given.items()}
    program = next((given[key] for key in KEYS if isinstance(given.get(key), str)), None)
    if program is None:
        return None
    reasons = "\n".join(value for value in given.values() if isinstance(value, str) and value != program)
    inner = _found(program, depth - 1)
    text, more = inner if inner and has_program(inner[0]) else (program, "")
    return text, "\n".join(filter(None, (reasons, more)))[:MAX_RATIONALE]


def _is_lines(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _of_strings(said: str, depth: int) -> tuple[str, str] | None:
    """Look in texts of JSON that stands within something else, or is cut off or otherwise broken."""
    for string in [found for found in STRING.finditer(said) if "Program" in found[1]][: -MOST_STRINGS - 1 : -1]:
        content = parsed(f'"{string[1]}"')
        inner = _found(content, depth - 1) if isinstance(content, str) else None
        if inner and has_program(inner[0]):
            return inner[0], f"{said[: string.start()]}\n{inner[1]}".strip()[:MAX_RATIONALE]
    return None


def parts_of(said: str) -> list[Token]:
    """Give the parts of a text with the lines on which each stands, fenced blocks and what is indented among them.

    Marks of quotations are taken off first: quotations within others take time that grows with the square of the lines.
    """
    from markdown_it import MarkdownIt

    return MarkdownIt().disable(BESIDE_BLOCKS).parse(QUOTED.sub("", said))


def _of_blocks(said: str, depth: int) -> tuple[str, str] | None:
    tokens = parts_of(said)
    blocks = [token for token in tokens if token.type == "fence" and token.map]
    blocks += [t for t in tokens if t.type == "code_block" and t.map and PROGRAM.search(t.content)]
    if not blocks:
        return None
    chosen = ([token for token in blocks if PROGRAM.search(token.content)] or blocks)[-1]
    assert chosen.map is not None, "a block knows its lines"
    lines, (start, end) = said.split("\n"), chosen.map
    reasons = "\n".join([*lines[:start], *lines[end:]]).strip()
    if has_program(chosen.content):
        earlier = "".join(token.content for token in blocks[: blocks.index(chosen)] if not has_program(token.content))
        text, more = _of_block(chosen.content, chosen.markup, earlier, depth)
        if chosen.markup and not CLOSED.search(lines[end - 1]):  # what is said behind it stands in it too
            text, behind = _of_prose(text) or (text, "")
            more = "\n".join(filter(None, (more, behind)))
    else:
        inner = _of_json(chosen.content, depth - 1) or _of_strings(chosen.content, depth - 1)
        if inner is None and has_program(said):
            return None  # it stands beside the blocks
        text, more = inner or (_dedented(chosen.content), "")
    return text, "\n".join(filter(None, (reasons, more)))[:MAX_RATIONALE]


def _of_block(content: str, fence: str, earlier: str, depth: int) -> tuple[str, str]:
    """Take a program out of a block, and what else is in it where more than the program is.

    `fence` may stand at the end of the last line, and the import in an `earlier` block.
    """
    behind = ""
    glued = re.search(rf"(?<=[^\s`~]){re.escape(fence)}[ \t]*$", content, re.MULTILINE) if fence else None
    if glued and fence not in content[content.rfind("\n", 0, glued.start()) + 1 : glued.start()]:
        content, behind = f"{content[: glued.start()]}\n", content[glued.end() :].strip()
    if not CODE.match(content):
        inner = _of_json(content, depth - 1) or _of_strings(content, depth - 1) or _of_prose(content)
        if inner:
            return inner[0], "\n".join(filter(None, (inner[1], behind)))
    imports = BEGINNING.search(earlier)
    if imports and not BEGINNING.search(content):
        content = f"{earlier[imports.start() :]}\n{content}"
    return _dedented(content), behind


def _of_tags(said: str, depth: int) -> tuple[str, str] | None:
    for tag in reversed(list(TAG.finditer(said))):
        section = CDATA.search(tag[2])
        content = (section[1] if section else tag[2]).strip("\n") + "\n"
        inner = _found(html.unescape(content), depth - 1)
        if inner and has_program(inner[0]):
            return inner[0], (said[: tag.start()] + said[tag.end() :]).strip()[:MAX_RATIONALE]
    return None


def _of_prose(said: str) -> tuple[str, str] | None:
    """Take what begins with the import, or else with the class, to where prose begins again."""
    program = PROGRAM.search(said)
    if program is None:
        return None
    imports = [found.start() for found in BEGINNING.finditer(said, 0, program.start())]
    start = imports[-1] if imports else program.start()
    after = said.find("\n", program.end())
    ended = (PROSE.search(said, after + 1) or FENCE.search(said, after + 1)) if after >= 0 else None
    end = ended.start() if ended else len(said)
    reasons = f"{FENCE.sub('', said[:start]).strip()}\n{said[end:].strip() if ended else ''}".strip()
    return _dedented(said[start:end]), reasons[:MAX_RATIONALE]


def _dedented(text: str) -> str:
    """Give a text at the margin, as a program stands."""
    return textwrap.dedent(text) if text[:1] in " \t" else text
