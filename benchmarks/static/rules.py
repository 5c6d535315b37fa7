"""What every kernel that serves has to keep, judged from its machine code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmarks.static import sass

if TYPE_CHECKING:
    from benchmarks.drill.served import Case
    from benchmarks.static.launched import Launch
    from benchmarks.static.model import Card

ASYNC = re.compile(r"LDGSTS|UTMALDG")
STREAMING = re.compile(r"_attend\w*|map_\d+")  # that read keys and values, or fields, of many pages
# Keys and values in float8 may come 8 bytes at a time, which 32 threads still join to whole sectors: copies to shared
# memory in the layout that tensor cores read it in are no wider.
LEAST_WIDE = 0.45  # of a streaming kernel's loads by bits: the rest are lengths, lists, tables and scales, 9 at most
WAITS = re.compile(r"ACQBULK")  # for the launch before this one
MEETS = re.compile(r"(LDG|LDGSTS|STG|ATOM|ATOMG|RED|UTMA\w*|LD|ST|EXIT|BRA|BRX|JMP|CALL)\b")  # memory, or elsewhere
COUNTS = re.compile(r"ATOMG\b")  # in the card's memory, where programs of a launch count themselves
FENCE, BARRIER = re.compile(r"MEMBAR\b.*\.(GPU|SYS)"), re.compile(r"BAR\.SYNC")
STORES, LOADS = re.compile(r"(STG|ST|RED)\b"), re.compile(r"(LDG|LDGSTS|LD)\b")
PAST_FIRST_CACHE = re.compile(r"LDG\b.*\.STRONG\.(GPU|SYS)")
SMALLEST_CARD_BYTES = 99 * 1024  # of shared memory, that a program may have on a card of workstations
PROGRAM_BYTES = 227 * 1024  # on the cards that are modelled
CUT_BY_CARD = ("_attend_latents",)  # what takes less where a card has less (`kernels.latent.SMALL`)


def broken(launch: Launch, case: Case, card: Card) -> list[str]:
    """Say in a sentence each what a kernel does that it must not."""
    code, where = launch.code, f"sm_{card.arch} {case.program}, {case}: {launch.name}"
    found = []
    if code.spills or code.stack:
        found.append(f"{where} spills {code.spills} times, {code.stack} bytes")
    if code.count(sass.FP64):
        found.append(f"{where} has {code.count(sass.FP64)} instructions in float64")
    if code.fused_shuffles:
        found.append(f"{where} fuses {code.fused_shuffles} products into sums across threads, which then differ")
    least = 64 if case.float8 and launch.name.startswith("_attend") else 128
    if STREAMING.fullmatch(launch.name) and code.wide_share(least) < LEAST_WIDE:
        share = f"{code.wide_share(least):.0%} of its bytes {least // 8} at a time"
        found.append(f"{where} loads {share}: {dict(code.load_bits)}")
    if launch.name.startswith("_attend") and not code.count(sass.TENSOR):
        found.append(f"{where} multiplies without tensor cores")
    if launch.dependent and not waits_first(code):
        found.append(f"{where} may begin before the launch before it ends, and does not wait for that first")
    if not counts_in_order(code):
        found.append(f"{where} counts its programs without a fence, or reads what others stored before it may")
    room = PROGRAM_BYTES if launch.name in CUT_BY_CARD else SMALLEST_CARD_BYTES
    if launch.shared > room:
        found.append(f"{where} takes {launch.shared} bytes of shared memory, more than {room}")
    return found


def waits_first(code: sass.Code) -> bool:
    """Whether every way through a kernel waits for the launch before it, and nothing is read or written until then."""
    names = [each.name for each in code.instructions]
    waits = next((i for i, name in enumerate(names) if WAITS.match(name)), None)
    return waits is not None and not any(MEETS.match(name) for name in names[:waits])


def counts_in_order(code: sass.Code) -> bool:
    """Whether a program counts itself only when what it stored is there, and then reads what others stored.

    All threads pass a barrier, one fences and counts, all pass another: between the first two nothing is stored, before
    the last nothing is read, and behind it only past the first cache.
    """
    names = [each.name for each in code.instructions]
    at = next((i for i, name in enumerate(names) if COUNTS.match(name)), None)
    if at is None:
        return True
    before, after = names[:at], names[at:]
    fenced = next((i for i in reversed(range(at)) if FENCE.match(before[i])), None)
    left = next((i for i in reversed(range(fenced or 0)) if BARRIER.match(before[i])), None)
    met = next((i for i, name in enumerate(after) if BARRIER.match(name)), None)
    if left is None or met is None or any(map(STORES.match, before[left:])) or any(map(LOADS.match, after[:met])):
        return False
    return all(PAST_FIRST_CACHE.match(name) for name in after[met:] if LOADS.match(name))
