"""What a search is tried on: recorded queries, keys and values in two parts, of which it sees one.

Parts share neither a document nor a layer. The search's part is small, so that a program is measured in some
milliseconds; what a search finds is told by the other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Protocol

from search.evaluator.recall import figures, recordings
from search.fit import Terms
from search.workloads import HELD_OUT
from vortex_dsl import Shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from search.evaluator.recall.recordings import Recording, Recordings
    from vortex_dsl.graph.graph import Graph

SEARCH = "search"  # the split that proposers see, beside `HELD_OUT`
BLOCK = 4  # neighbouring layers that stay in one part: as many as a mutation lets share a choice
SEARCH_STEPS_APART, HELD_OUT_STEPS_APART = 8, figures.JUDGED_EVERY  # between two judged steps


class Problem(Protocol):
    """What programs are good or bad at: measured without noise and without an engine."""

    name: str
    digest: str
    terms: Terms

    def measured(self, graph: Graph, split: str) -> dict[str, float]:
        """Give figures as the recall stage names them, `mass` among them: the more the better, at most 1.

        `split` is "search" or "held_out". Raises LookupError for a program that cannot be measured.
        """
        ...


@dataclass(frozen=True)
class Part:
    """One part: its documents, its layers, and what is asked. Where more layers are asked, these alone count."""

    documents: tuple[str, ...]
    layers: tuple[int, ...]
    asking: figures.Asking

    def measured(self, graph: Graph) -> dict[str, float]:
        """Measure a program on the layers that count."""
        found = {each.name: each.value for each in figures.measure(graph, self.asking)}
        if self.layers == self.asking.model.layers:
            return found
        masses = {name: found[name] for name in (f"mass_layer_{layer}" for layer in self.layers)}
        return {"mass": fmean(masses.values())} | masses


@dataclass(frozen=True)
class Selection:
    """Real or planted selection of pages: attention mass kept on one part, told by the other."""

    name: str
    digest: str
    terms: Terms
    parts: Mapping[str, Part]

    def measured(self, graph: Graph, split: str) -> dict[str, float]:
        """Measure a program on one part."""
        return self.parts[split].measured(graph)


def from_file(file: Path) -> Selection:
    """Read a recording as `python -m benchmarks.search --record` or the recall stage leaves it.

    Raises FileNotFoundError, and ValueError where it cannot be cut in two.
    """
    kept = recordings.load(file)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()[:16]
    return split("recorded", digest, kept)


def split(name: str, digest: str, kept: Recordings) -> Selection:
    """Cut recordings in two: documents, and blocks of four layers in turn.

    A search sees one text, the shortest, of every fourth document, and judges every eighth step; the other part has all
    texts of all other documents. There all layers are asked, since some use the choice of one that does not count.
    Raises ValueError where there are not two documents and two blocks of layers.
    """
    documents = sorted({document for each in kept.by_length for document in each.names})
    layers = kept.model.layers
    blocks = [layers[i : i + BLOCK] for i in range(0, len(layers), BLOCK)]
    if len(documents) < 2 or len(blocks) < 2 or len(layers) > figures.MAX_LAYERS:
        raise ValueError(
            f"a recording of {len(documents)} documents and {len(layers)} layers cannot be cut into two parts; record "
            f"at least two documents of a model with {BLOCK + 1} to {figures.MAX_LAYERS} layers"
        )
    seen = tuple(documents[::4])
    others = tuple(each for each in documents if each not in seen)
    mine, theirs = (tuple(layer for block in some for layer in block) for some in (blocks[::2], blocks[1::2]))
    small = figures.Asking(_cut(_shortest(kept, seen), mine), SEARCH_STEPS_APART)
    large = figures.Asking(replace(kept, by_length=_of(kept.by_length, others)), HELD_OUT_STEPS_APART)
    lengths = [each.num_tokens for each in kept.by_length]
    ends = tuple(sorted({min(lengths), max(lengths)}))  # what reaches a ratio at both reaches it between them
    terms = Terms(Shape(small.group, small.head_dim), kept.model.num_layers, ends)
    return Selection(name, digest, terms, {SEARCH: Part(seen, mine, small), HELD_OUT: Part(others, theirs, large)})


def _of(all_texts: Sequence[Recording], documents: Sequence[str]) -> tuple[Recording, ...]:
    """Keep the texts of some documents."""
    found = []
    for each in all_texts:
        places = [i for i, name in enumerate(each.names) if name in documents]
        if places:
            names = tuple(each.names[i] for i in places)
            found.append(replace(each, names=names, q=each.q[:, :, places], k=each.k[:, places], v=each.v[:, places]))
    return tuple(found)


def _shortest(kept: Recordings, documents: Sequence[str]) -> Recordings:
    """Keep one text of each document."""
    found, left = [], list(documents)
    for each in _of(kept.by_length, documents):
        here = [name for name in dict.fromkeys(each.names) if name in left]
        left = [name for name in left if name not in here]
        found += _of([each], here)
    return replace(kept, by_length=tuple(found))


def _cut(kept: Recordings, layers: tuple[int, ...]) -> Recordings:
    """Keep some layers, in float32: converting them costs as much as choosing."""
    at = [kept.model.layers.index(layer) for layer in layers]
    texts = [replace(each, q=each.q[:, at], k=each.k[at].float(), v=each.v[at].float()) for each in kept.by_length]
    return replace(kept, model=replace(kept.model, layers=layers), by_length=tuple(texts))
