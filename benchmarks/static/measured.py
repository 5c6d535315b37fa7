"""The model beside what a card was measured to take, where the drill ran the same case on the same kind of card."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.static.step import Step

RESULTS = Path(__file__).parents[1] / "results"
DRILLED = ("index", "attend", "write")


def rows(folder: Path = RESULTS) -> dict[tuple[str, str, str, str], float]:
    """Give the measured microseconds by card, program, case and part; a later file's stand for an earlier one's."""
    found = {}
    for path in sorted(folder.glob("drill_*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        card = lines[0]["device"].split()[1]
        timed = [line for line in lines if line.get("mode") == "time" and "us" in line]
        found |= {(card, line["program"], line["case"], line["part"]): line["us"] for line in timed}
    return found


def compared(steps: Sequence[Step], folder: Path = RESULTS) -> str:
    """Set the model beside every measured part. The kernels may have changed since: then it says what is expected."""
    known, lines, ratios = rows(folder), [], []
    for step in steps:
        for part in DRILLED:
            us = known.get((step.card.name, step.case.program, str(step.case), part))
            if us is None:
                continue
            ratios.append(step.us(part) / us)
            lines.append(
                f"{step.card.name} {step.case.program:11}{step.case!s:34}{part:8}modelled {step.us(part):7.1f} us, "
                f"measured {us:7.1f} us, {ratios[-1]:.2f} of it"
            )
    if not ratios:
        return "nothing of this was measured"
    share = f"{median(ratios):.2f} of what was measured, {min(ratios):.2f} to {max(ratios):.2f}"
    lines.append(f"{len(ratios)} parts: the model gives {share}; what was measured may have been older kernels")
    return "\n".join(lines)
