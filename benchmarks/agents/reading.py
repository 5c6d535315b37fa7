"""What stands in a question: sections by their titles, and the facts that a scripted student reads off them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^class \w+\(Program\):", re.MULTILINE)
NUMBER = r"(\d+(?:\.\d+)?)"
TASK, LEADERS, INSPIRATION = "Your task", "The best programs so far", "A program of another idea"
MEASURED, COST = "What was measured of", "What a step of"
MODEL, FAMILIES, CHANGES = "The model", "Ideas that were tried, by family", "What changes did"
FAILED, UNDER_WAY, PUBLISHED = "What failed", "Under way", "Published ideas"


def sections(question: str) -> dict[str, str]:
    """Give the text of each section by its title, in their order; what stands before the first has none."""
    found: dict[str, list[str]] = {}
    title, is_code = "", False
    for line in question.splitlines():
        is_code ^= line.startswith("```")
        if line.startswith("# ") and not is_code:
            title = line[2:].strip()
        else:
            found.setdefault(title, []).append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def without(question: str, title: str) -> str:
    """Leave out the sections whose titles begin so."""
    kept = {name: text for name, text in sections(question).items() if not (title and name.startswith(title))}
    return "\n\n".join(f"# {name}\n\n{text}" if name else text for name, text in kept.items())


def as_before(question: str) -> str:
    """Give the question as it was before there were facts in it: a line for each of the best programs, and the task."""
    found = sections(question)
    front = dict.fromkeys(row[0].split(" [")[0] for row in _rows(found.get(LEADERS, ""))[1:])
    return f"# {LEADERS}\n\n" + "\n".join(f"* {line}" for line in front) + f"\n\n# {TASK}\n\n{found[TASK]}"


def programs(text: str) -> list[str]:
    """Give the programs in blocks of code."""
    return [code for _, code in FENCE.findall(text) if PROGRAM.search(code)]


@dataclass(frozen=True)
class Facts:
    """What a question tells; None or nothing where it does not.

    `kept` and `possible`: mass of the parent and of as many best pages; `by_layer`: the parent's; `held`: the least and
    the most of the layers that the best pages hold; `few`: share of the keys' squares on four channels; `between`: of
    how keys differ, what is between pages; `ends`: mass of the first page and of the last two; `quarters`: what
    channels add to how scores differ, the fastest first;
    `choosing`: share of a step's bytes that choosing reads; `page_bytes`: of the parent's fields; `tried`: programs by
    family; `front`: mass and bytes of leaders by name; `led`: the changes that some of them came from; `inspirations`:
    texts by name; `published`: losses by file name; `helped` and `hurt`: the best and the worst change of each kind.
    """

    task: tuple[str, ...] = ()
    kept: float | None = None
    possible: float | None = None
    by_layer: tuple[float, ...] = ()
    held: tuple[float, ...] = ()
    turns: bool = False
    few: float | None = None
    between: float | None = None
    ends: float | None = None
    quarters: tuple[float, ...] = ()
    choosing: float | None = None
    page_bytes: float | None = None
    tried: dict[str, int] = field(default_factory=dict)
    front: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    led: tuple[str, ...] = ()
    inspirations: dict[str, str] = field(default_factory=dict)
    published: dict[str, float | None] = field(default_factory=dict)
    helped: tuple[str, ...] = ()
    hurt: tuple[str, ...] = ()
    failed: str = ""
    under_way: str = ""


def facts(question: str) -> Facts:
    """Read a question."""
    found = sections(question)
    measured, cost = _beginning(found, MEASURED), _beginning(found, COST)
    model, changes = found.get(MODEL, ""), found.get(CHANGES, "")
    return Facts(
        task=tuple(programs(found.get(TASK, ""))),
        kept=_number(f"Keeps a mass of {NUMBER}", measured),
        possible=_number(f"best pages hold {NUMBER}", measured),
        by_layer=tuple(map(float, re.findall(rf"\d+ {NUMBER}", _line("Mass by layer", measured)))),
        held=tuple(map(float, re.findall(rf"layer \d+ \({NUMBER}\)", model))),
        turns="hardly turn" in model,
        few=_number(f"four largest channels hold {NUMBER}", model),
        between=_number(f"how keys vary about that mean, {NUMBER}", model),
        ends=_ends(model),
        quarters=tuple(map(float, re.findall(NUMBER, _told("quarters of the rotary pairs add ", model)))),
        choosing=_choosing(cost),
        page_bytes=_number(r"of a page's ([\d,]+) bytes", cost),
        tried=_tried(found.get(FAMILIES, "")),
        front=_front(found.get(LEADERS, "")),
        led=tuple(dict.fromkeys(re.findall(r"[\[;] ?(?:\w+: )?(\w+): ", found.get(LEADERS, "")))),
        inspirations=_inspirations(found),
        published=_published(found.get(PUBLISHED, "")),
        helped=tuple(re.findall(r"best \+[\d.]+ \((\w+):", changes)),
        hurt=tuple(re.findall(r"worst -[\d.]+ \((\w+):", changes)),
        failed=found.get(FAILED, ""),
        under_way=found.get(UNDER_WAY, ""),
    )


def _beginning(found: dict[str, str], title: str) -> str:
    return next((text for name, text in found.items() if name.startswith(title)), "")


def _number(pattern: str, text: str) -> float | None:
    match = re.search(pattern, text)
    return float(match[1].replace(",", "")) if match else None


def _line(beginning: str, text: str) -> str:
    return next((line.split(":", 1)[1] for line in text.splitlines() if line.startswith(f"* {beginning}:")), "")


def _told(beginning: str, text: str) -> str:
    """Give what follows some words, up to the next word."""
    match = re.search(rf"{re.escape(beginning)}([^a-z]*)", text)
    return match[1] if match else ""


def _ends(model: str) -> float | None:
    held = re.search(rf"the first page holds {NUMBER} .*; the last two hold {NUMBER}", model)
    return float(held[1]) + float(held[2]) if held else None


def _choosing(cost: str) -> float | None:
    """Give the share of bytes that all stages but the attention read."""
    attended = _number(r"\* attend: [\d,]+ bytes \((\d+)%\)", cost)
    return None if attended is None else 1.0 - attended / 100


def _rows(text: str) -> list[list[str]]:
    """Give the cells of a table's rows, the head first, without the rule below it."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|--")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _front(text: str) -> dict[str, tuple[float | None, float | None]]:
    found: dict[str, tuple[float | None, float | None]] = {}
    head: list[str] = []
    for row in _rows(text):
        if row[0] == "program":
            head = row
            continue
        cells = dict(zip(head, row, strict=False))
        mass = _number(f"^{NUMBER}", cells.get("mass, the oracle's", ""))
        size = _number(f"^{NUMBER}", cells.get("bytes of fields a page", ""))
        found.setdefault(row[0].split(":")[0], (mass, size))  # at the first cost ratio at which it leads
    return found


def _tried(text: str) -> dict[str, int]:
    return {name: int(num) for name, num in re.findall(r"^\* (\w+): (\d+) tried", text, re.MULTILINE)}


def _inspirations(found: dict[str, str]) -> dict[str, str]:
    named = {name.split(": ", 1)[1]: programs(text) for name, text in found.items() if name.startswith(INSPIRATION)}
    return {name: texts[0] for name, texts in named.items() if texts}


def _published(text: str) -> dict[str, float | None]:
    lines = re.findall(r"^\* `(\w+)`: (.*)$", text, re.MULTILINE)
    return {name: _number(rf"Loses at [\d.]+x {NUMBER}", line) for name, line in lines}
