"""What is judged of recordings: some layers, at some steps, after some of the texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.evaluator.recall.recordings import Recording, Recordings

JUDGED_EVERY = (
    5  # of the recorded steps, the last among them; odd, so that they are not always when choices are renewed
)
SCREENED_LAYERS = 8


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
    """Give the small part that the screen judges: layers evenly over the depth, after the first and the last text.

    Where lengths differ these are one of the shortest and one of the longest texts, which do not begin alike.
    """
    layers = len(recordings.model.layers)
    places = tuple(sorted({int((i + 0.5) * layers / SCREENED_LAYERS) for i in range(SCREENED_LAYERS)}))
    first, *_, last = (*recordings.by_length, recordings.by_length[-1])
    if len(recordings.by_length) == 1:
        chosen = [_some(first, slice(None, None, max(1, len(first.names) - 1)))]
    else:
        chosen = [_some(first, slice(1)), _some(last, slice(-1, None))]
    return [Part(each, places, _every(JUDGED_EVERY, each.num_steps)) for each in chosen]


def _some(recording: Recording, texts: slice) -> Recording:
    """Give some of the texts, in the same memory."""
    q, k, v = recording.q[:, :, texts], recording.k[:, texts], recording.v[:, texts]
    return replace(recording, names=recording.names[texts], q=q, k=k, v=v)
