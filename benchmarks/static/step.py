"""A decode step on a card: its launches as they were compiled, what is modelled of them, and the rules they break."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.static import rules, sass
from benchmarks.static.launched import PARTS, Launch, launched
from benchmarks.static.model import Estimate, estimate, resident

if TYPE_CHECKING:
    from benchmarks.drill.served import Case
    from benchmarks.static.model import Card


@dataclass(frozen=True)
class Step:
    """What one case does on one card: each launch with its estimate, and the rules that it breaks."""

    case: Case
    card: Card
    launches: tuple[tuple[Launch, Estimate], ...]
    broken: tuple[str, ...]

    def us(self, part: str) -> float:
        """Modelled microseconds of a part; the whole step's where it is 'whole'."""
        return sum(found.us for launch, found in self.launches if part in (launch.part, "whole"))

    def bound_us(self, part: str) -> float:
        """Microseconds that the part's bytes take at the rate that kernels reach."""
        return sum(launch.moved for launch, _ in self.launches if launch.part == part) / self.card.bytes_per_s * 1e6


def examined(case: Case, card: Card) -> Step:
    """Compile a case for a card, read it and model it."""
    launches = launched(case, card.arch, card.processors)
    found = tuple((launch, estimate(launch, card, first=not i)) for i, launch in enumerate(launches))
    return Step(case, card, found, tuple(each for launch, _ in found for each in rules.broken(launch, case, card)))


HEAD = (
    f"{'part':7}{'kernel':17}{'programs':>15}{'warps':>6}{'regs':>5}{'spill':>6}{'smem':>8}{'at once':>8}"
    f"{'16-byte':>8}{'tensor':>7}{'fp64':>5}{'async':>6}{'instr':>7}{'cycles':>7}{'us':>8}"
)


def printed(step: Step) -> str:
    """Write a step as a table."""
    lines = [f"sm_{step.card.arch} ({step.card.name}): {step.case.program}, {step.case}", HEAD]
    for launch, found in step.launches:
        code, programs = launch.code, f"{launch.live}/{launch.programs}"
        lines.append(
            f"{launch.part:7}{launch.name:17}{programs:>15}{launch.warps:>6}{code.registers:>5}{code.spills:>6}"
            f"{launch.shared:>8}{resident(launch, step.card):>8}{code.wide_share():>8.0%}{code.count(sass.TENSOR):>7}"
            f"{code.count(sass.FP64):>5}{code.count(rules.ASYNC):>6}{found.instructions:>7}{found.cycles:>7}"
            f"{found.us:>8.1f}"
        )
    parts = (f"{part} {step.us(part):.1f} us (bytes {step.bound_us(part):.1f})" for part in PARTS)
    return "\n".join([*lines, "modelled: " + ", ".join(parts) + f", whole {step.us('whole'):.1f} us"])
