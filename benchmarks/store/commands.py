"""What whole commands cost on a large ledger: a process each, as people start them, Python's start among it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.store.filling import Filled

MOST_TIMES, ENOUGH_S = 3, 60.0
VORTEX = (sys.executable, "-c", "import sys; from search.cli import main; sys.exit(main())")
# A process that was started has held at least what its parent did: one that holds little starts it.
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
# {id}: a candidate; {out}: a folder that is gone afterwards.
COMMANDS: dict[str, tuple[str, ...]] = {
    "vortex leaderboard": ("leaderboard",),
    "vortex status": ("status",),
    "vortex show": ("show", "{id}"),
    "vortex leaderboard --sort": ("leaderboard", "--sort", "kl", "--top", "50"),
    "vortex leaderboard --json --top": ("leaderboard", "--json", "--top", "50"),
    "vortex leaderboard --json": ("leaderboard", "--json"),
    "vortex leaderboard --plot": ("leaderboard", "--plot", "{out}/curve.svg"),
    "vortex leaderboard --plot --ratio": ("leaderboard", "--plot", "{out}/front.svg", "--ratio", "16"),
    "vortex leaderboard --all": ("leaderboard", "--all"),
    "vortex ask": ("ask",),
    "vortex report": ("report", "--out", "{out}/report"),
}


@dataclass(frozen=True)
class Cost:
    """Seconds that a command took each time, those of a processor on average, and the most bytes that it held."""

    wall_s: tuple[float, ...]
    cpu_s: float
    peak_bytes: int

    def __str__(self) -> str:
        wall = f"{min(self.wall_s):8.2f} to {max(self.wall_s):8.2f} s"
        return f"{wall}   cpu {self.cpu_s:7.2f} s   peak {self.peak_bytes / 1e6:6.0f} MB   {len(self.wall_s)} times"


def cost(filled: Filled, what: str) -> Cost:
    """Run a command up to three times; once where it takes a minute. Raises RuntimeError where it fails."""
    taken, cpu_s, peak = [], 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        given = {"id": filled.ids[len(filled.ids) // 2], "out": folder}
        words = [word.format(**given) for word in COMMANDS[what]]
        while len(taken) < MOST_TIMES and sum(taken) < ENOUGH_S:
            began = time.perf_counter()
            used, most = _run([*words, "--db", filled.url])
            taken.append(time.perf_counter() - began)
            cpu_s, peak = cpu_s + used, max(peak, most)
    return Cost(tuple(taken), cpu_s / len(taken), peak)


def _run(words: Sequence[str]) -> tuple[float, int]:
    """Give the seconds of a processor and the most bytes that a command held."""
    question = json.dumps({"agent": "agent"})  # whoever asks nothing does not read it
    measured = [sys.executable, "-c", MEASURED, *VORTEX, *words]
    done = subprocess.run(measured, input=question, capture_output=True, text=True, check=True)
    code, cpu_s, peak_kib = done.stdout.split()
    if code != "0":
        raise RuntimeError(f"vortex {' '.join(words)} ended with {code}: {done.stderr[-1000:]}")
    return float(cpu_s), 1024 * int(peak_kib)
