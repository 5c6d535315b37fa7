"""From a decision (who breeds, and how) to a proposal that loads, traces, fits and is new."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from search.agents.bounds import is_hopeless, objections
from search.agents.changing.cross import cross
from search.agents.changing.mutate import mutate
from search.agents.changing.simplify import tidy
from search.agents.changing.source import Source
from search.agents.drawing.draft import field_bytes_at
from search.agents.drawing.generate import generate
from search.archive.moves import JOINT
from search.records import Proposal
from vortex_dsl.tunables import PLATFORM_TUNABLES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from search.records import Context, Record

RANDOM, CROSS = "random", "cross"  # operators; that of a change is made of its moves
MAX_DRAWS = 40
NUM_CHANGES = (1, 1, 1, 2, 3)


@dataclass(frozen=True)
class Breed:
    """How the next program comes about: at random, by changes of a parent, or by crossing two.

    weights: of the moves by name, where a parent is changed; what is not named has the weight of `PRIORS`.
    """

    parent: Record | None = None
    other: Record | None = None
    weights: Mapping[str, float] = field(default_factory=dict)


def draw(
    name: str, context: Context, rng: random.Random, decide: Callable[[Context, random.Random], Breed]
) -> Proposal:
    """Decide and write again and again until a program fits and is new; in the end by random programs alone."""
    proposal = None
    for i in range(2 * MAX_DRAWS):
        breed = decide(context, rng) if i < MAX_DRAWS else Breed()
        proposal = _written(name, context, rng, breed) or proposal
        if proposal is not None and fits_and_is_new(proposal, context):
            break
    assert proposal is not None, "a random program can always be written"
    return proposal


def fits_and_is_new(proposal: Proposal, context: Context) -> bool:
    """Say whether a proposal loads and is within the bounds: one of them is that it means what none did."""
    return not is_hopeless(proposal, context) and next(objections(proposal, context), None) is None


def _written(name: str, context: Context, rng: random.Random, breed: Breed) -> Proposal | None:
    if breed.parent is None:
        text = generate(rng, context.head_dim, context.step, _field_bytes(context, rng))
        return Proposal(text, name, RANDOM, rationale=Source.parse(text, context.head_dim).idea)
    if breed.other is not None and breed.other is not breed.parent:
        return _crossed(name, context, rng, breed)
    return _mutated(name, context, rng, breed)


def _field_bytes(context: Context, rng: random.Random) -> int:
    """Give the bytes of fields that one of the cost ratios leaves at every length, 0 where there is none."""
    if not context.ratios:
        return 0
    shortest = min(context.lengths or (context.num_tokens,))
    return field_bytes_at(rng.choice(context.ratios), context.head_dim, shortest)


def _mutated(name: str, context: Context, rng: random.Random, breed: Breed) -> Proposal | None:
    """Change a parent once, or a few times: a step may lead through a worse place."""
    assert breed.parent is not None
    source = baked(breed.parent, context.head_dim)
    changes = [change for _ in range(rng.choice(NUM_CHANGES)) if (change := mutate(source, rng, breed.weights))]
    if not changes:
        return None
    tidy(source)
    words, moves = "; ".join(each.words for each in changes), JOINT.join(each.move for each in changes)
    source.describe(f"{source.stem}{context.step}", source.idea, f"Changed: {quoted(words)}.")
    return Proposal(source.text(), name, moves, (breed.parent.candidate.program_digest,), words)


def _crossed(name: str, context: Context, rng: random.Random, breed: Breed) -> Proposal | None:
    assert breed.parent is not None
    assert breed.other is not None
    source, other = (baked(each, context.head_dim) for each in (breed.parent, breed.other))
    how = cross(source, other, rng)
    if how is None:
        return None
    tidy(source)
    stem = source.stem[:24] + (other.stem[:24] if other.stem != source.stem else "")
    change = f"{breed.parent.candidate.name} and {breed.other.candidate.name}: {how}"
    source.describe(f"{stem}{context.step}", source.idea, f"Crossed: {quoted(change)}.")
    parents = (breed.parent.candidate.program_digest, breed.other.candidate.program_digest)
    return Proposal(source.text(), name, CROSS, parents, change)


def baked(record: Record, head_dim: int) -> Source:
    """Read a candidate with its values made the defaults of its text."""
    proposal = record.candidate.proposal
    source = Source.parse(proposal.text, head_dim)
    values = dict(proposal.values)
    platform = {key: str(PLATFORM_TUNABLES[key]) for key in values if key in PLATFORM_TUNABLES}
    source.bake(values, platform)
    return source


def quoted(change: str) -> str:
    """Give words as a docstring may hold them."""
    return change.replace('"', "'")[:300]
