"""The goals that are set for a step on an H200, beside what is modelled of it.

A whole decode step is modelled as 28 layers of Qwen3-1.7B: the bytes of its weights and eight launches a layer beside
attention, and nothing of what the host or sampling take. Dense attention is modelled as its bytes, in one launch beside
that which writes. So ratios are no forecast of a server's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.static.model import LAUNCH_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.drill.served import Case
    from benchmarks.static.model import Card
    from benchmarks.static.step import Step

CARD = "H200"
LAYERS, LAUNCHES_PER_LAYER = 28, 8
LAYER_BYTES = 2 * (2 * 2048 * 2048 + 2 * 2048 * 1024 + 3 * 2048 * 6144)
HEAD_BYTES = 2 * 151936 * 2048
INDEX_US, OF_ITS_BYTES, LATENTS_AT_LEAST = 8.0, 1.15, 1.0
END_TO_END = {(1, 32768): 1.3, (32, 32768): 5.0, (64, 8192): 3.3}
LATENTS = {(1, 32768): LATENTS_AT_LEAST, (32, 32768): 4.7}  # of a layer's attention
PROGRAMS = ("centroid", "quest")


def dense_us(case: Case, card: Card) -> float:
    """Microseconds of a layer's dense attention, a token's writing included."""
    moved = case.batch * case.kv_heads * case.tokens * case.token_bytes
    return (2 * LAUNCH_S + moved / card.bytes_per_s) * 1e6


def rest_us(card: Card) -> float:
    """Microseconds of a whole step beside attention."""
    return (
        LAYERS * (LAYER_BYTES / card.bytes_per_s + LAUNCHES_PER_LAYER * LAUNCH_S) + HEAD_BYTES / card.bytes_per_s
    ) * 1e6


def end_to_end(step: Step) -> float:
    """How many times as long a whole step with dense attention takes."""
    rest, dense = rest_us(step.card), LAYERS * dense_us(step.case, step.card)
    return (rest + dense) / (rest + LAYERS * step.us("whole"))


def told(step: Step) -> Iterator[str]:
    """Say of each goal whether the model reaches it."""
    case, shape = step.case, (step.case.batch, step.case.tokens)
    if step.card.name != CARD or case.program not in PROGRAMS or case.float8:
        return
    name = f"{step.card.name} {case.program:11}{case!s:45}"
    if shape == (1, 32768) and not case.latents:
        yield _line(name, "index, us", step.us("index"), INDEX_US, at_most=True)
    if case.batch > 1:
        yield _line(
            name, "attention, of its bytes", step.us("attend") / step.bound_us("attend"), OF_ITS_BYTES, at_most=True
        )
    if case.latents:
        yield _line(name, "a layer, times dense", dense_us(case, step.card) / step.us("whole"), LATENTS[shape])
    else:
        yield _line(name, "end to end, times dense", end_to_end(step), END_TO_END[shape])


def _line(name: str, what: str, found: float, wanted: float, at_most: bool = False) -> str:
    reached = found <= wanted if at_most else found >= wanted
    bound = f"{'at most' if at_most else 'at least'} {wanted:g}"
    return f"{name}{what:25}modelled {found:5.2f}, goal {bound}: {'reached' if reached else 'missed'}"
