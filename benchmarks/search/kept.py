"""What was found, kept in files: methods, seeds and ratios meet the same programs, and who was interrupted goes on."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.search.problems import Found
from search.evaluator.identity import EVALUATOR_VERSION
from search.records import digest_of

if TYPE_CHECKING:
    from benchmarks.search.problems import Problem
    from search.records import Measurement
    from vortex_dsl.graph.graph import Graph

VERSION = 3  # raised whenever a problem measures something else under the same digest
BUSY_S = 30.0
REFUSED = "refused"
ROOT = Path(__file__).parents[2]
SOURCES = ("benchmarks/search", "prompts", "search", "vortex_dsl")  # what a search may depend on
PARTS = (".py", ".md")


class Store:
    """Answers by key, in a table of a file, for any number of processes at once."""

    def __init__(self, file: Path, table: str) -> None:
        self._file, self._table = file, table
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as opened:
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute(f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, found TEXT NOT NULL) STRICT")

    def get(self, key: str) -> Any:
        """Give what was found before, None where nothing was."""
        with closing(self._open()) as opened:
            row = opened.execute(f"SELECT found FROM {self._table} WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, found: dict[str, Any]) -> None:
        """Keep what was found."""
        with closing(self._open()) as opened:
            opened.execute(f"INSERT OR IGNORE INTO {self._table} VALUES (?, ?)", (key, json.dumps(found)))

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None)


class Kept:
    """A problem whose figures are kept by program digest."""

    def __init__(self, problem: Problem, file: Path) -> None:
        self.name, self.digest, self.terms = problem.name, problem.digest, problem.terms
        self._problem, self._figures = problem, Store(file, "figures")

    def measured(self, graph: Graph, split: str) -> Found:
        """Measure a program, or read what came of it before (`Problem.measured`)."""
        key = digest_of((VERSION, EVALUATOR_VERSION, self.digest, split, graph.digest))
        found = self._figures.get(key)
        if found is None:
            found = self._anew(graph, split)
            self._figures.put(key, found)
        if REFUSED in found:
            raise LookupError(found[REFUSED])
        return Found(**found)

    def described(self, split: str) -> tuple[Measurement, ...]:
        """Describe queries and keys (`Problem.described`)."""
        return self._problem.described(split)

    def _anew(self, graph: Graph, split: str) -> dict[str, Any]:
        try:
            return asdict(self._problem.measured(graph, split))
        except LookupError as error:
            return {REFUSED: str(error)}


@cache
def source_digest() -> str:
    """Give the digest of the files that a search may depend on."""
    found = hashlib.sha256()
    for file in sorted(each for top in SOURCES for each in (ROOT / top).rglob("*") if each.suffix in PARTS):
        found.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return found.hexdigest()
