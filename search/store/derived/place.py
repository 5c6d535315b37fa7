"""Where a row of the leaderboard stands, best first, as bytes whose order is that of the rows.

Ratios stand apart, programs as written last; then what is only a reference stands last, and whoever loses least first.
A database orders and pages by one column and one index, with the same order for NULL everywhere.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import TYPE_CHECKING, Any

from search.parents import LEAST_RATIO

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN = b"\xff" * 8  # behind whatever is known
BEYOND = b"\xff"  # after what a place goes on with
RISING = ("kl", "retrieval_loss")
FALLING = ("accuracy", "speedup")
TELLING_APART = ("model_digest", "evaluator_version", "lengths")  # of the rows of a candidate on one machine
FLIP = bytes(255 - each for each in range(256))


def place(row: Mapping[str, Any]) -> bytes:
    """Give the place of a row with the columns of `models.Standing`."""
    rest = hashlib.sha256("\0".join(row[name] for name in TELLING_APART).encode()).digest()[:8]
    return b"".join((
        at(row["ratio"]),
        b"\1" if is_reference(row["cost_ratio"]) else b"\0",
        *(_known(row[name]) for name in RISING),
        *(_known(row[name], falling=True) for name in FALLING),
        _known(row["bytes_per_page"]),
        row["candidate_id"].to_bytes(8),
        row["environment_digest"].encode(),
        rest,
    ))  # fmt: skip


def at(ratio: float) -> bytes:
    """Give what the places of a cost ratio begin with."""
    return (b"\0" if ratio else b"\1") + _ordered(ratio)


def is_reference(cost_ratio: float | None) -> bool:
    """Say whether a row saves too little to be a rule."""
    return cost_ratio is not None and cost_ratio < LEAST_RATIO


def _known(figure: float | None, *, falling: bool = False) -> bytes:
    if figure is None or math.isnan(figure):
        return UNKNOWN
    return _ordered(figure).translate(FLIP) if falling else _ordered(figure)


def _ordered(figure: float) -> bytes:
    """Write a number so that greater ones are greater bytes."""
    written = struct.pack(">d", figure + 0.0)  # of two zeros, the positive one
    return written.translate(FLIP) if written[0] & 0x80 else bytes([written[0] | 0x80]) + written[1:]
