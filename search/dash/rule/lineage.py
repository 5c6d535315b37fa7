"""Whom a rule comes from and what came of it, as a graph: generations from left to right, each below the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.report.wording import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.dash.rule.gathering import Relative, Rule

WIDTH, HEIGHT, ACROSS, DOWN = 172, 40, 60, 14  # of a box, and between boxes
MAX_NAME = 20  # characters


@dataclass(frozen=True)
class Box:
    """A rule in the graph; places of its upper left corner."""

    rule: Relative
    x: int
    y: int
    is_itself: bool

    @property
    def title(self) -> str:
        """Give its name as the box shows it."""
        return cut(self.rule.name or "(refused)", MAX_NAME)


@dataclass(frozen=True)
class Graph:
    """Boxes and the curves from parents to children, as paths of SVG."""

    boxes: tuple[Box, ...]
    edges: tuple[str, ...]
    width: int
    height: int


def graph_of(rule: Rule) -> Graph:
    """Lay out a rule with its ancestors and children; a rule stands one column behind its last parent."""
    from search.dash.rule.gathering import Relative

    candidate, proposal = rule.candidate, rule.proposal
    itself = Relative(
        rule.id,
        candidate.program_digest,
        candidate.name,
        f"{proposal.proposer}/{proposal.operator}",
        tuple(proposal.parents),
    )
    people = [*sorted(rule.ancestors, key=lambda each: each.id), itself, *rule.children]
    columns = _columns(people)
    rows: dict[int, int] = {}
    boxes = []
    for each in people:
        column = columns[each.id]
        row = rows[column] = rows.get(column, -1) + 1
        boxes.append(Box(each, column * (WIDTH + ACROSS), row * (HEIGHT + DOWN), each is itself))
    width = (max(columns.values()) + 1) * (WIDTH + ACROSS) - ACROSS
    return Graph(tuple(boxes), tuple(_edges(boxes)), width, (max(rows.values()) + 1) * (HEIGHT + DOWN) - DOWN)


def _columns(people: Sequence[Relative]) -> dict[int, int]:
    """Give the generation of each. People are sorted by age: no parent is younger than its child."""
    by_digest: dict[str, int] = {}
    found: dict[int, int] = {}
    for each in people:
        found[each.id] = max((by_digest[p] + 1 for p in each.parents if p in by_digest), default=0)
        if each.digest:
            by_digest.setdefault(each.digest, found[each.id])
    return found


def _edges(boxes: Sequence[Box]) -> list[str]:
    by_digest: dict[str, Box] = {}
    for each in boxes:
        by_digest.setdefault(each.rule.digest, each)
    found = []
    for box in boxes:
        for parent in (by_digest[p] for p in dict.fromkeys(box.rule.parents) if p in by_digest):
            if parent is not box:
                x, y = parent.x + WIDTH, parent.y + HEIGHT // 2
                to_x, to_y, half = box.x, box.y + HEIGHT // 2, (box.x - parent.x - WIDTH) // 2
                found.append(f"M{x} {y}C{x + half} {y} {to_x - half} {to_y} {to_x} {to_y}")
    return found
