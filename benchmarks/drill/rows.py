"""What a drill finds, kept at once: printed and written line by line, so that a cut-off loses nothing."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Rows:
    """Rows of one mode, and the time that it may take. folder: where `NAME.jsonl` grows."""

    name: str
    folder: Path
    budget_s: float
    begun_s: float = field(default_factory=time.monotonic)
    kept: list[dict[str, Any]] = field(default_factory=list)

    def add(self, **given: Any) -> None:
        """Print a row and write it to the file."""
        row = {"mode": self.name, "at_s": round(self.spent_s, 1), **given}
        self.kept.append(row)
        line = json.dumps(row)
        print(line, flush=True)
        with (self.folder / f"{self.name}.jsonl").open("a") as file:
            file.write(line + "\n")

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self.begun_s

    @property
    def left_s(self) -> float:
        return self.budget_s - self.spent_s

    @property
    def num_bad(self) -> int:
        """Count what failed, was wrong, or was left out for want of time: none of it was shown."""
        return sum("failed" in row or "skipped" in row or row.get("right") is False for row in self.kept)

    def close(self) -> int:
        """Say how it went, and give the exit status."""
        self.add(rows=len(self.kept), bad=self.num_bad)
        return 1 if self.num_bad or len(self.kept) == 1 else 0


def sentence(error: BaseException) -> str:
    """Give an error as one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
