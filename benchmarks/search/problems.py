"""What a search is tried on: recorded queries, keys and values in two parts, of which it sees one.

Parts share neither a document nor a layer. The search's part is small, so that a program is measured in some
milliseconds; what a search finds is told by the other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from search.evaluator.recall import figures, recordings
from search.evaluator.recall.describing import statistics
from search.evaluator.recall.parts import JUDGED_EVERY, Part
from search.evaluator.recall.screening import screen
from search.fit import Terms
from search.workloads import HELD_OUT
from vortex_dsl import Shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from search.evaluator.recall.recordings import Model, Recording, Recordings
    from search.records import Measurement
    from vortex_dsl.graph.graph import Graph

SEARCH = "search"  # the split that proposers see, beside `HELD_OUT`
EVERY = 3  # of layers, the second of so many is seen: no number of layers that programs let share a choice
DOCUMENTS = 4  # and of documents the first of so many
SEEN_STEPS_APART = 8  # of the recorded ones


class BenchmarkError(Exception):
    """What was asked cannot be measured, for a reason that is not a fault of ours. The message says why."""


@dataclass(frozen=True)
class Found:
    """What a problem says of a program.

    `figures`: as the recall stage names them, `mass` among them: the more the better, at most 1. `signature` and
    `objection` as the screen gives them, empty where there are none.
    """

    figures: Mapping[str, float]
    signature: str = ""
    objection: str = ""


class Problem(Protocol):
    """What programs are good or bad at, and on what terms they are compared."""

    name: str
    digest: str
    terms: Terms

    def measured(self, graph: Graph, split: str) -> Found:
        """Measure a program; `split` is "search" or "held_out". Raises LookupError where it cannot be measured."""
        ...

    def described(self, split: str) -> tuple[Measurement, ...]:
        """Describe queries and keys, as `search.evaluator.recall.describing` does; nothing where there are none."""
        ...


@dataclass(frozen=True)
class Seen:
    """One part of a recording: its documents and its layers, which alone are judged; layers may share with others."""

    documents: tuple[str, ...]
    layers: tuple[int, ...]
    asking: figures.Asking = field(repr=False)


@dataclass(frozen=True)
class Selection:
    """Real or planted selection of pages: attention mass kept on one part, told by the other."""

    name: str
    digest: str
    terms: Terms
    parts: Mapping[str, Seen]

    def measured(self, graph: Graph, split: str) -> Found:
        """Measure a program on one part."""
        found = screen(graph, self.parts[split].asking)
        return Found({each.name: each.value for each in found.measurements}, found.signature, found.objection)

    def described(self, split: str) -> tuple[Measurement, ...]:
        """Describe queries and keys of one part."""
        return tuple(statistics(self.parts[split].asking))


def from_file(file: Path) -> Selection:
    """Read a recording as `python -m benchmarks.search --record` or the recall stage leaves it.

    Raises FileNotFoundError, and ValueError where it cannot be cut in two.
    """
    kept = recordings.load(file)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()[:16]
    return split("recorded", digest, kept)


def split(name: str, digest: str, kept: Recordings) -> Selection:
    """Cut recordings in two, by documents and by layers.

    A search sees every fourth document, one text of each, the shortest, and of three layers the second, at every eighth
    step. The other part has all texts of all other documents, and all other layers. Raises ValueError where there are
    not two documents and two layers.
    """
    documents = sorted({document for each in kept.by_length for document in each.names})
    places = range(len(kept.model.layers))
    if len(documents) < 2 or len(places) < 2:
        raise ValueError(
            f"a recording of {len(documents)} documents and {len(places)} layers cannot be cut into two parts; record "
            "at least two of each"
        )
    seen = tuple(documents[::DOCUMENTS])
    others = tuple(each for each in documents if each not in seen)
    small = _seen(kept.model, _shortest(kept, seen), seen, places[1::EVERY], SEEN_STEPS_APART)
    rest = [place for place in places if place % EVERY != 1]
    large = _seen(kept.model, _of(kept.by_length, others), others, rest, JUDGED_EVERY)
    lengths = [each.num_tokens for each in kept.by_length]
    ends = tuple(sorted({min(lengths), max(lengths)}))
    terms = Terms(Shape(small.asking.group, small.asking.head_dim), kept.model.num_layers, ends)
    return Selection(name, digest, terms, {SEARCH: small, HELD_OUT: large})


def _seen(
    model: Model, texts: Sequence[Recording], documents: tuple[str, ...], places: Sequence[int], steps_apart: int
) -> Seen:
    """Judge some layers, by their place in `Model.layers`, at every so many-th step, the last among them."""
    parts = [Part(each, tuple(places), tuple(range(each.num_steps))[::-steps_apart][::-1]) for each in texts]
    return Seen(documents, tuple(model.layers[place] for place in places), figures.Asking(model, parts))


def _of(all_texts: Sequence[Recording], documents: Sequence[str]) -> list[Recording]:
    """Keep the texts of some documents."""
    found = []
    for each in all_texts:
        places = [i for i, name in enumerate(each.names) if name in documents]
        if places:
            names = tuple(each.names[i] for i in places)
            found.append(replace(each, names=names, q=each.q[:, :, places], k=each.k[:, places], v=each.v[:, places]))
    return found


def _shortest(kept: Recordings, documents: Sequence[str]) -> list[Recording]:
    """Keep one text of each document."""
    found: list[Recording] = []
    left = list(documents)
    for each in _of(kept.by_length, documents):
        here = [name for name in dict.fromkeys(each.names) if name in left]
        left = [name for name in left if name not in here]
        found += _of([each], here)
    return found
