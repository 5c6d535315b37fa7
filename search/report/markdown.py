"""The report as Markdown (GitHub's), pictures as files beside it. Whatever is not ours is escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, assert_never

from search.report.blocks import Grid, Items, Listing, Part, Picture, Words
from search.report.wording import title_case

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from search.report.blocks import Answer, Block, Report

# What means something anywhere; what does at the beginning alone; and what GitHub makes links and mentions of.
ANYWHERE = re.compile(r"[\\`*_\[\]<>|~&$#]")
FIRST = re.compile(r"^([-+=])(?=[-+=\s]|$)|^(\d+)([.)])(?=\s|$)")
LINKS = re.compile(r"(?<=www)\.|:(?=//)|@")
LEAST_FENCE = 3
DEEPEST = 6


def markdown(report: Report) -> str:
    """Write a report as Markdown."""
    lines = [f"# {escaped(report.title)}", escaped(report.subtitle), f"**{escaped(report.headline.text)}**"]
    lines += ["\n".join(_answer(each) for each in report.answers)] if report.answers else []
    lines += [text for part in report.parts for text in _part(part, 2)]
    return "\n\n".join(lines) + "\n"


def pictures(report: Report) -> Iterator[Picture]:
    """Give every picture of a report, in order."""
    for part in report.parts:
        yield from _pictures(part.blocks)


def escaped(text: str) -> str:
    """Escape what Markdown, or the HTML in it, would take for more than text."""
    marked = LINKS.sub(r"\\\g<0>", ANYWHERE.sub(r"\\\g<0>", text))
    return FIRST.sub(lambda found: f"{found[2] or ''}\\{found[1] or found[3]}", marked)


def _pictures(blocks: Iterable[Block]) -> Iterator[Picture]:
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        elif isinstance(block, Part):
            yield from _pictures(block.blocks)


def _answer(answer: Answer) -> str:
    """Write an answer with what speaks against it beneath."""
    why = [f"  - {escaped(title_case(each))}." for each in answer.reasons]
    notes = [f"\n  *{escaped(_noted(answer.notes))}*"] if answer.notes else []
    return "\n".join([f"- {escaped(answer.text)}{' It does not count:' if why else ''}", *why, *notes])


def _noted(notes: Iterable[str]) -> str:
    return f"{title_case('; '.join(notes))}."


def _part(part: Part, level: int) -> Iterator[str]:
    yield f"{'#' * min(level, DEEPEST)} {escaped(part.title)}"
    for block in part.blocks:
        if isinstance(block, Part):
            yield from _part(block, level + 1)
        else:
            yield _block(block)


def _block(block: Words | Items | Grid | Picture | Listing) -> str:
    match block:
        case Words():
            return f"*{escaped(block.text)}*" if block.is_quiet and block.text else escaped(block.text)
        case Items():
            return "\n".join(f"- {escaped(each)}" for each in block.items)
        case Grid():
            return _grid(block)
        case Picture():
            return f"![{escaped(block.alt)}]({block.name}.svg)\n\n*{escaped(block.caption)}*"
        case Listing():
            return _fenced(block)
        case _:
            assert_never(block)


def _grid(grid: Grid) -> str:
    if not grid.rows:
        return f"**{escaped(grid.title)}.** {escaped(grid.empty)}"
    more = f"And {grid.num_more:,} more." if grid.num_more else ""
    note = " ".join(filter(None, (more, grid.note.strip())))
    lines = [
        f"**{escaped(grid.title)}**\n",
        _row(column.heading for column in grid.columns),
        "|" + "|".join("--:" if column.is_number else ":--" for column in grid.columns) + "|",
        *map(_row, grid.rows),
        *([f"\n*{escaped(note)}*"] if note else []),
    ]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def _fenced(listing: Listing) -> str:
    """Fence a text by more backticks than any line of it has in a row."""
    longest = max((len(run) for run in re.findall(r"`+", listing.text)), default=0)
    fence = "`" * max(LEAST_FENCE, longest + 1)
    return f"{fence}{listing.language}\n{listing.text.rstrip()}\n{fence}"
