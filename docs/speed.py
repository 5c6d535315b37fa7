"""Draw what `benchmarks/serve.py` measured as docs/speed.svg: `python docs/speed.py benchmarks/results/serve_*.json`.

Needs matplotlib: `pip install -e ".[docs]"`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib import pyplot

COLOURS = ("#2a6f97", "#e07a5f", "#6a994e", "#8d6a9f")


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Give the programs' rows of one file, without dense ones."""
    return [row for row in json.loads(path.read_text())["results"] if row["low"] is not None]


def draw(paths: list[Path], into: Path) -> None:
    """Draw one group of bars per case and page size, one bar per program, with 95 % intervals."""
    rows = [row for path in paths for row in rows_of(path)]
    groups = list(dict.fromkeys(f"{row['case']}\npages of {row['page_size']}" for row in rows))
    programs = list(dict.fromkeys(row["program"] for row in rows))
    width = 0.8 / len(programs)
    figure, axes = pyplot.subplots(figsize=(1.6 + 1.5 * len(groups), 3.4), layout="constrained")
    for i, program in enumerate(programs):
        own = {f"{row['case']}\npages of {row['page_size']}": row for row in rows if row["program"] == program}
        places = [groups.index(group) + (i - (len(programs) - 1) / 2) * width for group in own]
        ratios = [row["ratio"] for row in own.values()]
        below = [row["ratio"] - row["low"] for row in own.values()]
        above = [row["high"] - row["ratio"] for row in own.values()]
        axes.bar(places, ratios, 0.92 * width, yerr=(below, above), capsize=3, color=COLOURS[i % 4], label=program)
    axes.axhline(1.0, color="#444444", linewidth=1, linestyle="--")
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel("decode tokens/s, dense = 1")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(into, metadata={"Date": None})


if __name__ == "__main__":
    draw([Path(name) for name in sys.argv[1:]], Path(__file__).with_name("speed.svg"))
