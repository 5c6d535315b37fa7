"""Figures of programs, kept in a file: methods, seeds and ratios meet the same programs again and again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.search.problems import Found
from search.evaluator.identity import EVALUATOR_VERSION
from search.records import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.search.problems import Problem
    from search.records import Measurement
    from vortex_dsl.graph.graph import Graph

VERSION = 3  # raised whenever a problem measures something else under the same digest
BUSY_S = 30.0
REFUSED = "refused"


class Kept:
    """A problem whose figures are kept by program digest, for any number of processes at once."""

    def __init__(self, problem: Problem, file: Path) -> None:
        self.name, self.digest, self.terms = problem.name, problem.digest, problem.terms
        self._problem, self._file = problem, file
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as opened:
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute("CREATE TABLE IF NOT EXISTS figures (key TEXT PRIMARY KEY, found TEXT NOT NULL) STRICT")

    def measured(self, graph: Graph, split: str) -> Found:
        """Measure a program, or read what came of it before (`Problem.measured`)."""
        key = digest_of((VERSION, EVALUATOR_VERSION, self.digest, split, graph.digest))
        with closing(self._open()) as opened:
            row = opened.execute("SELECT found FROM figures WHERE key = ?", (key,)).fetchone()
            found = json.loads(row[0]) if row else self._anew(graph, split)
            if not row:
                opened.execute("INSERT OR IGNORE INTO figures VALUES (?, ?)", (key, json.dumps(found)))
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

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None)
