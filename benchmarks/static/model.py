"""How long a launch would take on a card, from its machine code and what it moves: a model, no measurement.

The longest of three: its bytes at the rate that kernels reach; its instructions at one a cycle and scheduler; and its
programs, so many at once as registers, shared memory and warps allow, each as long as one warp takes alone. It knows
nothing of bank conflicts, of caches, or of clocks that fall; `measured.py` says how far it is off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.static import sass
from vortex_dsl.analysis.devices import DEVICES, LAUNCH_S, REACHED

if TYPE_CHECKING:
    from benchmarks.static.launched import Launch

# Of a launch that may begin while another of ours ends: assumed, half of `LAUNCH_S`, until a card has told.
DEPENDENT_LAUNCH_S = LAUNCH_S / 2
RETURN_CYCLES = 700  # of a program that finds nothing to do: a slot is taken for as long as one load


@dataclass(frozen=True)
class Card:
    """What a processor of a card holds, and how many there are."""

    name: str
    arch: int
    processors: int
    clock_hz: float
    registers: int = 65536
    shared_bytes: int = 228 * 1024
    warps: int = 64
    programs: int = 32
    schedulers: int = 4

    @property
    def bytes_per_s(self) -> float:
        return DEVICES[self.name].bytes_per_s * REACHED


CARDS = (Card("H200", 90, 132, 1.755e9), Card("B200", 100, 148, 1.85e9))


@dataclass(frozen=True)
class Estimate:
    """Microseconds of one launch, beside what bounds it; programs_at_once: on one processor."""

    us: float
    programs_at_once: int
    cycles: int
    instructions: int


def resident(launch: Launch, card: Card) -> int:
    """Count the programs that one processor holds at once."""
    registers = -(-launch.code.registers * 32 // 256) * 256 * launch.warps
    by_shared = card.shared_bytes // (launch.shared + 1024)
    return max(min(card.registers // registers, by_shared, card.warps // launch.warps, card.programs), 1)


def estimate(launch: Launch, card: Card, first: bool = False) -> Estimate:
    """Model one launch. first: whether the launch before it is not ours, so that it has to end."""
    warp = sass.walked(launch.code, launch.repeats)
    cycles, instructions = warp.now, warp.issued
    at_once = resident(launch, card)
    per_processor = launch.live / card.processors
    waves = max(per_processor / at_once, 1.0)
    issued = max(per_processor, 1.0) * launch.warps * instructions / card.schedulers
    idle = (launch.programs - launch.live) / card.processors / at_once * RETURN_CYCLES
    most = warp.counted or cycles  # of programs that do not count last: those that do go on, one of each row
    busy = waves * most + max(waves * launch.rows / launch.live, 1.0) * (cycles - most)
    s = max(launch.moved / card.bytes_per_s, (max(busy, issued) + idle) / card.clock_hz)
    launch_s = DEPENDENT_LAUNCH_S if launch.dependent and not first else LAUNCH_S
    return Estimate((launch_s + s) * 1e6, at_once, cycles, instructions)
