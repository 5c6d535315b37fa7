"""The yardsticks: every published rule of the zoo at a cost ratio, each with the budget that it allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.search.runs import Judged, judge
from search.agents.seeds import REFERENCES
from vortex_dsl import zoo

if TYPE_CHECKING:
    from benchmarks.search.problems import Problem

NO_RULES = (*REFERENCES, "random_pages")  # dense attention, the oracles and lots
VALUES = (("dense_layers", 0),)  # as seeds have them


@dataclass(frozen=True)
class Published:
    """All published rules at one cost ratio, the best on the search's part first; those that cannot reach it by name.

    The yardstick is the first: what one would take who knew no more than a search does. `hindsight` is the best on the
    other part, which nobody could have known.
    """

    ratio: float
    rules: tuple[Judged, ...]
    unreached: tuple[str, ...]

    @property
    def chosen(self) -> Judged:
        """Give the best by what a search sees."""
        return self.rules[0]

    @property
    def hindsight(self) -> Judged:
        """Give the best by what it does not see."""
        return max(self.rules, key=lambda rule: rule.held_out)


def published(problem: Problem, ratio: float) -> Published:
    """Judge all published rules. Raises ValueError where none reaches the ratio."""
    names = [name for name in zoo.names() if name not in NO_RULES]
    found = {name: judge(problem, zoo.text(name), VALUES, ratio, name) for name in names}
    rules = sorted((rule for rule in found.values() if rule), key=lambda rule: -rule.search)
    if not rules:
        raise ValueError(f"no published rule reaches a cost ratio of {ratio:g}; ask for a lower one")
    return Published(ratio, tuple(rules), tuple(name for name, rule in found.items() if rule is None))
