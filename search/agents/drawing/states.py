"""Scores that remember: what State lets a program carry from one choice of pages to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from search.agents.drawing.draft import Draft


def remembering(draft: Draft, score: str) -> str:
    """Draw a use of State for the score called `score`; give the name of what to choose by."""
    make, words, _ = draft.rng.choices(MEMORIES, [weight for *_, weight in MEMORIES])[0]
    draft.details.append(words)
    return make(draft, score)


def averaged(draft: Draft, score: str) -> str:
    """Choose by a running average."""
    past = draft.let("lasting", f"{draft.tune('decay', 0.3, 0.95)} * page.past + {score}")
    draft.remember("past", ("page",), past)
    return past


def rising(draft: Draft, score: str) -> str:
    """Take off a share of the last score, so that pages count whose score rises."""
    draft.remember("past", ("page",), score)
    return draft.let("rising", f"{score} - {draft.tune('pull', 0.1, 0.8)} * page.past")


def heavy(draft: Draft, score: str) -> str:
    """Add up the shares that pages had so far (H2O, arXiv:2306.14048)."""
    mass = draft.let("mass", f'{draft.tune("decay", 0.5, 1.0)} * page.past + {score}.softmax("page")')
    draft.remember("past", ("page",), mass)
    return mass


def rotating(draft: Draft, score: str) -> str:
    """Prefer every n-th page, another one at each step."""
    draft.remember("clock", (), "page.clock + 1.0")
    regular = f"(page.index + page.clock) % {draft.tune('stride', 4, 16)} == 0"
    return draft.let("rotating", f'where({regular}, {score} + 0.25 * abs({score}).max("page"), {score})')


MEMORIES: tuple[tuple[Callable[[Draft, str], str], str, float], ...] = (
    (averaged, "averaged over steps", 3),
    (rising, "rising scores first", 2),
    (heavy, "by the mass so far", 2),
    (rotating, "another stride at each step", 1),
)
