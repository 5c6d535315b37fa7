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
    room = PROGRAM_BYTES if launch.name in CUT_BY_CARD else SMALLEST_CARD_BYTES
    if launch.shared > room:
        found.append(f"{where} takes {launch.shared} bytes of shared memory, more than {room}")
    return found


def waits_first(code: sass.Code) -> bool:
    """Whether every way through a kernel waits for the launch before it, and nothing is read or written until then."""
    names = [each.name for each in code.instructions]
    waits = next((i for i, name in enumerate(names) if WAITS.match(name)), None)
    return waits is not None and not any(MEETS.match(name) for name in names[:waits])
