"""A scripted student: it reads the question that it is given and changes one thing of a program, by what it reads.

It knows of a campaign nothing but the messages. What it brings along is what any model would: the language, the moves
of the house (`search.agents.changing`), each of which it would make as soon as any other, and the published rules,
which it can write down by name. What it reads turns the odds: each fact that asks for a kind of change adds the same to
them, and each that speaks against one divides them by the same:

| section | what the student does with it |
|---|---|
| The model | uneven layers: budgets by layer; slow rotary channels, few that hold much, or slow ones by which pages \
differ: looks at some channels only; keys that differ within pages: finer summaries; much mass at both ends: other \
pages that are always kept |
| What was measured of the parent | it chooses much worse than possible: other or richer scores; else cheaper fields; \
uneven layers: budgets by layer |
| What a step costs | choosing reads much: cheaper fields; little: richer scores |
| The best programs so far | starts from, and crosses with, what keeps most; makes again the changes that led to \
them; the best has smaller fields than the parent: cheaper fields; larger: richer scores |
| Ideas that were tried, by family | of a family that was tried often it crosses more often than it changes |
| What changes did | repeats the kinds of change that helped most, avoids those that hurt most |
| Under way | avoids kinds of change that are under way |
| What failed | programs too dear: cheaper fields; programs not new: two changes at once |
| A program of another idea | crosses the parent with it, twice as often where it keeps more; without a parent, \
changes it |
| Published ideas | the same, where there is no other program; those that lose least first |
| a quick look | goes on from a draft that beats its parent, and back to the parent from one that does not |
| a refusal | too dear: goes on from that draft, with cheaper fields; else back to the parent |

Without a section the odds stay even. All numbers are round, and none was fitted to the outcome.
"""

from __future__ import annotations

import itertools
import random
import re
from typing import TYPE_CHECKING, Any

from benchmarks.agents.reading import Facts, facts, programs
from search.agents.changing.cross import cross
from search.agents.changing.mutate import PRIORS, mutate
from search.agents.changing.simplify import tidy
from search.agents.changing.source import Source
from search.agents.drawing.generate import generate
from search.agents.llm.endpoint import Answer, Usage
from search.agents.shown.section import tokens_of
from search.contracts import NoMoneyError
from search.fit import traced
from vortex_dsl import ProgramError, zoo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl import Shape

FACTOR = 3.0  # what a fact adds to the odds of a kind of change, or divides them by
CROSSES, CROSSES_SOONER = 0.25, 0.5  # of the answers where there is another program; of a worn family, or a better one
OFTEN = 5  # programs of a family
MUCH, LITTLE = 0.3, 0.15  # of a step's bytes, for choosing
WELL = 0.9  # of the possible mass
UNEVEN = 0.3  # of the mass, between layers
FEW_HOLD, SLOW_TELL = 0.4, 0.6  # of the keys' squares; of how a score differs between pages, the slower half
ENDS = 0.5  # of the mass, on the first page and the last two
BETWEEN = 0.6  # of how keys differ, what is between pages: where there is less, their means tell little
NUM_DRAWS = 30  # changes until one is a program
CHEAPER = ("restore", "narrow", "pick_channels", "reuse", "simplify", "share_and_spend")
FINER = ("represent", "subdivide", "every_key", "look_closer")
RICHER = (*FINER, "two_levels", "widen", "spread", "rotate")
SCORES = ("tighten", "recenter", "reduce_otherwise", "over_heads", "share_heads", "along_pages", "regrow", "perturb")
BY_LAYER = ("spread_budget", "gate")
SOME_CHANNELS = ("pick_channels", "narrow")
AT_ENDS = ("reserve",)
TOO_DEAR, NOT_NEW = "is not judged at a cost ratio", "means the same"


class Student:
    """Answers as `search.agents.llm.endpoint.Chat` does, so many questions at most; then nothing is left to ask with.

    `shape` is that of the programs that it has learnt to write. `num_begun` counts its questions, `num_given` its
    answers, of which a conversation has several. What it draws hangs on its seed and on the place of an answer alone,
    so that students who are shown the same do the same.
    """

    def __init__(self, seed: int, num_questions: int, shape: Shape) -> None:
        self._seed, self._most, self._shape = seed, num_questions, shape
        self.num_begun = self.num_given = 0
        self._tried: list[str] = []  # in this conversation

    def ask(self, messages: Sequence[dict[str, Any]], _tools: Sequence[dict[str, Any]] = (), _step: int = 0) -> Answer:
        """Give a program and what was changed. Raises NoMoneyError after the last question."""
        if len(messages) == 2:
            if self.num_begun == self._most:
                raise NoMoneyError("the student has answered all its questions")
            self.num_begun += 1
            self._tried.clear()
        self.num_given += 1
        rng = random.Random(f"{self._seed} {self.num_begun} {len(self._tried)}")
        known = facts(messages[1]["content"])
        begun, num_dear = _begun(known, messages)
        odds = odds_of(known, self._tried, num_dear)
        move, words, text = self._written(known, begun, odds, self.num_given, rng)
        self._tried.append(move)
        said = f"{move}: {words}\n\n```python\n{text}```\n"
        return Answer(said, usage=Usage(_num_tokens(messages), 0, tokens_of(said)))

    def _written(
        self, known: Facts, begun: str, odds: dict[str, float], number: int, rng: random.Random
    ) -> tuple[str, str, str]:
        """Draw until there is a program; in the end one at random."""
        for _ in range(NUM_DRAWS):
            source = self._base(known, begun, rng)
            if source is None:
                break
            partner = _partner(known, rng) if rng.random() < _crossing(known, source.stem) else ""
            change = self._crossed(source, partner, rng) if partner else _changed(source, odds, known, rng)
            if change is None:
                continue
            tidy(source)
            told = change[1].replace('"', "'")[:200]
            source.describe(f"{source.stem[:30]}{number}", source.idea, f"Changed: {told}.")
            if self._is_program(source.text()):
                return *change, source.text()
        return "random", "another idea", generate(rng, self._shape.head_dim, number)

    def _base(self, known: Facts, begun: str, rng: random.Random) -> Source | None:
        text = begun or _partner(known, rng)
        return Source.parse(text, self._shape.head_dim) if text else None

    def _crossed(self, source: Source, partner: str, rng: random.Random) -> tuple[str, str] | None:
        other = Source.parse(partner, self._shape.head_dim)
        name, how = other.program.name, cross(source, other, rng)
        return ("cross", f"with {name}, {how}") if how else None

    def _is_program(self, text: str) -> bool:
        try:
            traced(text, (), self._shape)
        except ProgramError:
            return False
        return True


def _num_tokens(messages: Sequence[dict[str, Any]]) -> int:
    return sum(tokens_of(str(message["content"])) for message in messages)


def odds_of(known: Facts, tried: Sequence[str] = (), num_dear: int = 0) -> dict[str, float]:
    """Give the weight of each kind of change: 1, but for what is known, and what was tried in this conversation.

    `num_dear`: of the drafts in it, those that were refused as too dear.
    """
    odds = dict.fromkeys(PRIORS, 1.0)
    asked: list[Sequence[str]] = [*_wanted(known), known.helped, known.led, *[CHEAPER] * num_dear]
    for move in itertools.chain(*asked):
        if move in odds:
            odds[move] += FACTOR
    under_way = [move for move in odds if re.search(rf"\b{move}:", known.under_way)]
    for moves in (known.hurt, under_way, tried):
        for move in odds.keys() & set(moves):
            odds[move] /= FACTOR
    return odds


def _wanted(known: Facts) -> list[tuple[str, ...]]:
    """Give the kinds of change that each fact asks for."""
    asked: list[tuple[str, ...]] = []
    if known.kept is not None and known.possible:
        asked.append((*SCORES, *RICHER) if known.kept < WELL * known.possible else CHEAPER)
    if known.by_layer and max(known.by_layer) - min(known.by_layer) > UNEVEN:
        asked.append(BY_LAYER)
    if known.held and max(known.held) - min(known.held) > UNEVEN:
        asked.append(BY_LAYER)
    if known.turns or (known.few or 0.0) > FEW_HOLD or sum(known.quarters[2:]) > SLOW_TELL:
        asked.append(SOME_CHANNELS)
    if (known.ends or 0.0) > ENDS:
        asked.append(AT_ENDS)
    if known.between is not None and known.between < BETWEEN:
        asked.append(FINER)
    if known.choosing is not None and not LITTLE <= known.choosing <= MUCH:
        asked.append(CHEAPER if known.choosing > MUCH else RICHER)
    sizes = [(mass, size) for mass, size in known.front.values() if mass is not None and size is not None]
    best = max(sizes, default=None)
    if best and known.page_bytes and best[1] != known.page_bytes:
        asked.append(CHEAPER if best[1] < known.page_bytes else RICHER)
    if TOO_DEAR in known.failed:
        asked.append(CHEAPER)
    return asked


def _begun(known: Facts, messages: Sequence[dict[str, Any]]) -> tuple[str, int]:
    """Give the text to go on from, and how many drafts were too dear.

    It is the last draft that was looked at and beat its parent, or that is too dear, else the task's own.
    """
    best, num_dear = known.task[0] if known.task else "", 0
    begun = best
    for said, told in itertools.pairwise(messages[2:]):
        drafts, reply = programs(str(said["content"])), str(told["content"])
        if not drafts:
            continue
        gains = re.findall(r"the parent, \w+, keeps [\d.]+ \(([+-][\d.]+) for yours\)", reply)
        is_dear = TOO_DEAR in reply
        if gains and all(float(gain) > 0 for gain in gains):
            best = drafts[-1]
        begun = drafts[-1] if is_dear else best
        num_dear += is_dear
    return begun, num_dear


def _partner(known: Facts, rng: random.Random) -> str:
    """Give another program that was shown, the best as far as is told; "" where none was shown."""
    if len(known.task) > 1:
        return known.task[1]
    if known.inspirations:
        masses = {name: known.front[name][0] or 0.0 for name in known.inspirations if name in known.front}
        name = max(masses, key=lambda each: masses[each]) if masses else rng.choice(sorted(known.inspirations))
        return known.inspirations[name]
    if known.published:
        losses = {name: loss for name, loss in known.published.items() if loss is not None}
        best = sorted(losses, key=lambda each: losses[each])[:3] or sorted(known.published)
        return zoo.text(rng.choice(best))
    return ""


def _crossing(known: Facts, family: str) -> float:
    if len(known.task) > 1:
        return 1.0
    best = max((known.front[name][0] or 0.0 for name in known.inspirations if name in known.front), default=0.0)
    is_behind = known.kept is not None and best > known.kept
    return CROSSES_SOONER if is_behind or known.tried.get(family, 0) > OFTEN else CROSSES


def _changed(source: Source, odds: dict[str, float], known: Facts, rng: random.Random) -> tuple[str, str] | None:
    """Change one thing; two where programs failed for not being new."""
    num = 2 if NOT_NEW in known.failed else 1
    changes = [change for _ in range(num) if (change := mutate(source, rng, odds))]
    return (changes[0].move, "; ".join(each.words for each in changes)) if changes else None
