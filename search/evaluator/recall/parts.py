"""What is judged of recordings: some layers, at some steps, after some of the texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.recall.recordings import Recording, Recordings

JUDGED_EVERY = (
    5  # of the recorded steps, the last among them; odd, so that they are not always when choices are renewed
)
SCREENED = 32  # layers at most, each after one of the texts


@dataclass(frozen=True)
class Part:
    """Layers that are judged, by their place in `Model.layers`, at some steps of a recording, both in order."""

    recording: Recording
    places: tuple[int, ...]
    steps: tuple[int, ...]


def whole(recordings: Recordings, judged_every: int = JUDGED_EVERY) -> list[Part]:
    """Give all of it: every layer after every text, at some of the steps, which are much alike."""
    places = tuple(range(len(recordings.model.layers)))
    return [Part(each, places, _every(judged_every, each.num_steps)) for each in recordings.by_length]


def _every(num: int, num_steps: int) -> tuple[int, ...]:
    """Give each so many-th of the steps, the last among them."""
    return tuple(range(num_steps - 1, -1, -num))[::-1]


def screened(recordings: Recordings) -> list[Part]:
    """Give the small part that the screen judges: every layer after one text of one length, in turn.

    Of more than `SCREENED` layers as many, evenly over the depth. Layers differ much more than texts do, and few of
    them decide what a model says. On SmolLM2 at 4,000 tokens (30 layers, 6 texts; 41 rules with a measured KL at each
    of the cost ratios 4 and 8, each foretold from the others of its ratio by what the screen sees of every layer) log
    KL has a rank correlation of .91 and .89 with what is foretold (.81 and .71 among the better half); where only 18 of
    the layers are judged, of .78 and .92 (.54 and .61), for two thirds of the time.
    """
    texts = [_some(each, slice(1)) for each in recordings.by_length]
    if len(texts) == 1:
        texts = [_some(recordings.by_length[0], slice(None, None, max(1, len(recordings.by_length[0].names) - 1)))]
    depth = len(recordings.model.layers)
    number = min(depth, max(SCREENED, len(texts)))
    places = [i * depth // number for i in range(number)]
    turns = [places[i :: len(texts)] or places[:1] for i in range(len(texts))]
    return [
        Part(text, tuple(turn), _every(JUDGED_EVERY, text.num_steps)) for text, turn in zip(texts, turns, strict=True)
    ]


def glanced(recordings: Recordings) -> list[Part]:
    """Give the part that a quick look judges: the last step after every text, and half of the layers after each.

    Layers are spread so that all are seen, each after half of the texts. On SmolLM2 at 4,000 tokens
    (27 published rules at a cost ratio of 8) its mass goes with that of all of recall by Spearman's .996 and is at most
    .012 away; every layer after the longest text of each document has .968 and .038.
    """
    depth = len(recordings.model.layers)
    return _spread(recordings.by_length, -(-depth // 2), depth, max(each.num_steps for each in recordings.by_length))


def pictured(recordings: Recordings, most: int) -> Part:
    """Give the part that is drawn: every layer after the first text of the longest length, at most so many steps."""
    longest = _some(recordings.by_length[-1], slice(1))
    places = tuple(range(len(recordings.model.layers)))
    return Part(longest, places, tuple(range(longest.num_steps))[-most:])


def _spread(texts: Sequence[Recording], per_text: int, depth: int, judged_every: int) -> list[Part]:
    """Take so many layers after each text, evenly over the depth, those after one between those after the others."""
    found = []
    for i, text in enumerate(texts):
        offset = (i + 0.5) / len(texts)
        places = sorted({int((j + offset) * depth / per_text) for j in range(per_text)})
        found.append(Part(text, tuple(places), _every(judged_every, text.num_steps)))
    return found


def _some(recording: Recording, texts: slice) -> Recording:
    """Give some of the texts, in the same memory."""
    q, k, v = recording.q[:, :, texts], recording.k[:, texts], recording.v[:, texts]
    return replace(recording, names=recording.names[texts], q=q, k=k, v=v)
