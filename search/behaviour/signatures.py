"""Behaviour as a second identity: which tokens a rule attended to on recorded queries, in a sketch of 1,024 bits.

Two texts that mean different graphs may attend to the same tokens, and then whatever is measured of one holds of the
other. How alike two rules are is the Jaccard overlap |A & B| / |A | B| of the sets of what they attend to, which
sketches of equal size estimate without the sets: MinHash (Broder, "On the resemblance and containment of documents",
1997). All minima come from one hash function whose range is cut into bins (Li, Owen, Zhang, "One permutation hashing",
NIPS 2012), empty bins borrow from others (Shrivastava, "Optimal densification for fast and accurate minwise hashing",
ICML 2017), and of each minimum a few bits are kept (Li, König, "b-bit minwise hashing", WWW 2010).

Only signatures of one cost ratio, workload and model can be compared: their rows are the same queries.
"""

from __future__ import annotations

import itertools
from string import hexdigits

import numpy as np

UNIT = 16  # tokens: the smallest page, so that rules of different page sizes can be compared
NUM_BINS, BITS = 512, 2  # a likeness of .9 is estimated to .016 (standard error), one of .5 to .03
SIZE = NUM_BINS * BITS // 8  # bytes of a signature
NUM_DIGITS = 2 * SIZE  # hex digits of it
_ROOM = 64  # signatures, at first
_PAIRS = np.uint64(0x5555_5555_5555_5555)  # the lower bit of each kept minimum


def sketch(rows: np.ndarray, units: np.ndarray) -> str:
    """Give the signature of a set of pairs: `SIZE` bytes as hex. Equal sets have equal signatures, on any machine.

    rows: which recorded query and KV head, units: which run of `UNIT` tokens it attended to; integers below 2**32, one
    pair at each place. The empty set has a signature of its own, which is like no other.
    """
    least = np.full(NUM_BINS, np.iinfo(np.uint64).max, np.uint64)
    if len(rows):
        hashed = _mixed(rows.astype(np.uint64) << np.uint64(32) | units.astype(np.uint64))
        np.minimum.at(least, hashed % np.uint64(NUM_BINS), hashed)
        least = _densified(least, np.bincount(hashed % np.uint64(NUM_BINS), minlength=NUM_BINS) > 0)
    kept = _mixed(least) >> np.uint64(64 - BITS)  # the bin itself tells nothing, so all bits are mixed once more
    bits = (kept[:, None] >> np.arange(BITS, dtype=np.uint64)) & np.uint64(1)
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes().hex()


def likeness(a: str, b: str) -> float:
    """Estimate the Jaccard overlap of two sets from their signatures: 1 for equal ones, 0 where nothing is shared.

    Raises ValueError for what is no signature.
    """
    return float(_likeness(_words(a), _words(b)[None])[0])


class Behaviours:
    """Signatures of candidates by their ids, among which the most alike is found: all are compared at once."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._words = np.empty((_ROOM, SIZE // 8), np.uint64)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, candidate_id: int, signature: str) -> None:
        """Add one. Raises ValueError for what is no signature."""
        words, num = _words(signature), len(self._ids)
        if num == len(self._words):
            self._words = np.concatenate([self._words, np.empty_like(self._words)])
        self._words[num] = words
        self._ids.append(candidate_id)

    def nearest(self, signature: str) -> tuple[int, float] | None:
        """Give the id of the most alike, of equals the one added first, and its likeness; None where there is none.

        Raises ValueError for what is no signature.
        """
        words = _words(signature)
        if not self._ids:
            return None
        found = _likeness(words, self._words[: len(self._ids)])
        best = int(found.argmax())
        return self._ids[best], float(found[best])


def _mixed(x: np.ndarray) -> np.ndarray:
    """Map uint64 one to one to numbers that look random: the finaliser of SplitMix64 (Steele, Lea, Flood, 2014)."""
    x = x + np.uint64(0x9E37_79B9_7F4A_7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return x ^ (x >> np.uint64(31))


def _densified(least: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """Let each empty bin borrow the minimum of a filled one, drawn for it by rounds: the same in every set."""
    wanting, found = np.flatnonzero(~filled), least.copy()
    for turn in itertools.count():
        if not len(wanting):
            return found
        drawn = _mixed(wanting.astype(np.uint64) << np.uint64(32) | np.uint64(turn)) % np.uint64(NUM_BINS)
        lends = filled[drawn]
        found[wanting[lends]] = least[drawn[lends]]
        wanting = wanting[~lends]
    raise AssertionError("one bin is filled, and is drawn some time")


def is_signature(text: str) -> bool:
    """Say whether a text may be a signature: whoever reads another is told of it by ValueError."""
    return len(text) == NUM_DIGITS and all(each in hexdigits for each in text)


def _words(signature: str) -> np.ndarray:
    """Read a signature. Raises ValueError."""
    if not is_signature(signature):
        raise ValueError(f"a signature of behaviour is {NUM_DIGITS} hex digits, but this is {signature[:40]!r}")
    return np.frombuffer(bytes.fromhex(signature), "<u8")


def _likeness(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compare words of signatures, [word] with [other, word]; minima agree by chance where only bits are kept."""
    differ = one ^ others
    differ = (differ | differ >> np.uint64(1)) & _PAIRS
    share = 1 - np.bitwise_count(differ).sum(-1) / NUM_BINS
    by_chance = 2.0**-BITS
    return np.maximum(share - by_chance, 0.0) / (1 - by_chance)
