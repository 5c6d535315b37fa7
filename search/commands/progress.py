"""Watching a campaign: a live view on a terminal, one line for each finished candidate elsewhere. On stderr."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from search.commands.output import console, note
from search.leaderboard import interval
from search.records import Record, Stage, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Progress

    from search.observer import Observer
    from search.records import Evaluation


class Tally:
    """What has happened so far, as numbers: the part of watching that needs no screen."""

    def __init__(self) -> None:
        self.num_candidates = 0
        self.num_finished = 0
        self.num_admitted = 0
        self.num_refused = 0
        self.best: Record | None = None

    def on_start(self, num_finished: int, num_candidates: int) -> None:
        """Note where the run begins."""
        self.num_finished, self.num_candidates = num_finished, num_candidates

    def on_candidate(self, record: Record) -> None:
        """Count an admission or a refusal."""
        if record.candidate.status is Status.OK:
            self.num_admitted += 1
        else:
            self.num_refused += 1

    def on_evaluation(self, record: Record, evaluation: Evaluation) -> None:
        """Remember the best probe answers so far; of equal ones the first."""
        if evaluation.key.stage in (Stage.PROBE, Stage.SERVE) and _rank(record) > _rank(self.best):
            self.best = record

    def on_finished(self, record: Record) -> None:  # noqa: ARG002 - the Observer's signature
        """Count a candidate that has no stage left."""
        self.num_finished += 1

    def on_confirming(self, records: Sequence[Record]) -> None:
        """Nothing to count: the leaders are measured again."""

    def __str__(self) -> str:
        best = f"; best {_brief(self.best)}" if self.best else ""
        return f"{self.num_admitted} admitted, {self.num_refused} refused{best}"


class Lines(Tally):
    """One line on stderr for each candidate that is refused or finished: for logs and pipes."""

    def on_candidate(self, record: Record) -> None:
        """Say why a proposal was refused."""
        super().on_candidate(record)
        if record.candidate.status is not Status.OK:
            note(f"step {record.candidate.step}: {record.candidate.status}: {record.candidate.message}")

    def on_finished(self, record: Record) -> None:
        """Say how a candidate ended."""
        super().on_finished(record)
        note(f"[{self.num_finished}/{self.num_candidates}] {summary(record)}")

    def on_confirming(self, records: Sequence[Record]) -> None:
        """Say that the end is near."""
        note(_confirming(records))


class Live(Tally):
    """A bar with what happens below it, redrawn in place."""

    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self._bar = bar
        self._task = bar.add_task("starting", total=None, tally="")

    def on_start(self, num_finished: int, num_candidates: int) -> None:
        """Draw the bar."""
        super().on_start(num_finished, num_candidates)
        self._bar.update(self._task, total=num_candidates, completed=num_finished, description="searching")

    def on_candidate(self, record: Record) -> None:
        """Show the counts."""
        super().on_candidate(record)
        self._bar.update(self._task, tally=str(self))

    def on_evaluation(self, record: Record, evaluation: Evaluation) -> None:
        """Show which stage ended, and the best so far."""
        super().on_evaluation(record, evaluation)
        stage = f"{evaluation.key.stage} of {record.candidate.name}"
        self._bar.update(self._task, description=stage[:24], tally=str(self))

    def on_finished(self, record: Record) -> None:
        """Move the bar, and leave a line above it for what failed."""
        super().on_finished(record)
        self._bar.update(self._task, completed=self.num_finished, tally=str(self))
        if record.status not in (Status.OK, Status.BELOW_GATE):
            self._bar.console.print(summary(record), markup=False, style="dim")

    def on_confirming(self, records: Sequence[Record]) -> None:
        """Say that the end is near."""
        self._bar.update(self._task, description="confirming")
        self._bar.console.print(_confirming(records), markup=False)


@contextmanager
def watched() -> Iterator[Observer]:
    """Give an observer that suits stderr, and clear the screen's last line afterwards."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich import progress
    from rich.table import Column

    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # gives way first on a narrow terminal
    columns = (
        progress.TextColumn("{task.description:<24}", markup=False),
        progress.BarColumn(bar_width=16),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[tally]}", markup=False, table_column=rest),
    )
    with progress.Progress(*columns, console=console(terminal=True, stderr=True), expand=True) as bar:
        yield Live(bar)


def summary(record: Record) -> str:
    """Tell in one line what came of a candidate."""
    candidate = record.candidate
    told = [f"{candidate.name} (id {candidate.id}, {candidate.proposal.proposer}/{candidate.proposal.operator})"]
    for stage, name in ((Stage.PROBE, "accuracy"), (Stage.SERVE, "speedup")):
        evaluation = record.evaluation(stage)
        taken = evaluation.measurement(name) if evaluation else None
        told += [f"{name} {interval(taken.value, taken.low, taken.high)}"] if taken else []
    if record.status is not Status.OK:
        message = record.evaluations[-1].message if record.evaluations else candidate.message
        told += [f"{record.status}: {message}" if message else record.status.value]
    return ", ".join(told)


def _brief(record: Record) -> str:
    speed = record.value(Stage.SERVE, "speedup")
    faster = "" if speed is None else f" at {speed:.2f}x"
    return f"{record.candidate.name} {record.value(Stage.PROBE, 'accuracy') or 0.0:.3f}{faster}"


def _confirming(records: Sequence[Record]) -> str:
    names = ", ".join(f"{record.candidate.name} (id {record.candidate.id})" for record in records)
    return f"confirming {names or 'nobody'} on the held-out split"


def _rank(record: Record | None) -> tuple[float, float]:
    if record is None:
        return -1.0, -1.0
    numbers = record.value(Stage.PROBE, "accuracy"), record.value(Stage.SERVE, "speedup")
    return numbers[0] or 0.0, numbers[1] or 0.0
