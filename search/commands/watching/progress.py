"""Watching a campaign: a live view on a terminal, one line for each finished candidate elsewhere. On stderr."""

from __future__ import annotations

import math
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.archive.speeds import speedup
from search.campaigns.saying import SILENCE_S
from search.commands.output import console, note
from search.parents import LOSSES, REFERENCE, Leader, loss
from search.ranking.leaderboard import interval
from search.ranking.simpler import is_simpler
from search.records import Record, Stage, Status
from search.report.wording import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from rich.progress import Progress
    from rich.text import Text

    from search.observer import Observer, Running
    from search.records import Evaluation, EvaluationKey

PAUSE_S = 3.0  # between lines about single stages
REFRESHED_PER_S = 4.0
MAX_MESSAGE = 300  # characters in the line of a candidate; `vortex show` has all of it
MOST_TOLD = 4  # workers of which a line tells what they are at
# What a line tells of a candidate at each cost ratio.
TOLD = (
    (Stage.CHECK, "budget"),
    (Stage.SCREEN, "mass"),
    (Stage.RECALL, "mass"),
    (Stage.FIDELITY, "kl"),
    (Stage.RETRIEVAL, "accuracy"),
    (Stage.PROBE, "accuracy"),
    (Stage.SERVE, "speedup"),
)


class Tally:
    """What has happened so far, as numbers: the part of watching that needs no screen."""

    def __init__(self) -> None:
        self.num_candidates = 0
        self.num_finished = 0
        self.num_admitted = 0
        self.num_refused = 0
        self.best: Leader | None = None

    def on_start(self, num_finished: int, num_candidates: int) -> None:
        """Note where the run begins."""
        self.num_finished, self.num_candidates = num_finished, num_candidates

    def on_candidate(self, record: Record) -> None:
        """Count an admission or a refusal, of what the search proposed."""
        if is_simpler(record):
            return
        if record.candidate.status is Status.OK:
            self.num_admitted += 1
        else:
            self.num_refused += 1

    def on_evaluation(self, record: Record, evaluation: Evaluation) -> None:
        """Remember what loses least so far at the lowest cost ratio, yardsticks aside; of equal ones the first."""
        stages = (*LOSSES, Stage.SERVE)
        if evaluation.key.stage in stages and record.candidate.proposal.operator != REFERENCE:
            found = Leader(record, evaluation.ratio)
            self.best = found if self.best is None or _rank(found) > _rank(self.best) else self.best

    def on_finished(self, record: Record) -> None:
        """Count a candidate of the search that has no stage left."""
        self.num_finished += not is_simpler(record)

    def on_confirming(self, leaders: Sequence[Leader]) -> None:
        """Nothing to count: the leaders are measured again."""

    def on_waiting(self, running: Sequence[Running], num_waiting: int) -> None:
        """Nothing to count."""

    def __str__(self) -> str:
        best = f"; best {_brief(self.best)}" if self.best else ""
        return f"{self.num_admitted} admitted, {self.num_refused} refused{best}"


class Lines(Tally):
    """One line on stderr for each candidate that is refused or finished, and for each silence: for logs and pipes."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self._steps = steps
        self._told_at = time.monotonic()
        self._has_figures = False
        self._last_step = ""

    def _tell(self, line: str) -> None:
        note(line)
        self._told_at = time.monotonic()

    def on_candidate(self, record: Record) -> None:
        """Say why a proposal was refused."""
        super().on_candidate(record)
        if record.candidate.status is not Status.OK and not is_simpler(record):
            self._tell(f"step {record.candidate.step}: {record.candidate.status}: {record.candidate.message}")

    def on_evaluation(self, record: Record, evaluation: Evaluation) -> None:
        """Say what was found now and then: a candidate's last stage may be minutes away."""
        super().on_evaluation(record, evaluation)
        told = [
            figure
            for stage, name in TOLD
            if stage is evaluation.key.stage and (figure := _figure(record, stage, name, evaluation.ratio))
        ]
        is_first, self._has_figures = not self._has_figures, self._has_figures or bool(told)
        if told and (is_first or time.monotonic() - self._told_at >= PAUSE_S):
            self._tell(f"{evaluation.key.stage}{_at(evaluation.ratio)} of {record.candidate.name}: {', '.join(told)}")

    def on_finished(self, record: Record) -> None:
        """Say how a candidate ended."""
        super().on_finished(record)
        if not is_simpler(record):
            self._tell(f"[{self.num_finished}/{self.num_candidates}] {summary(record)}")

    def on_confirming(self, leaders: Sequence[Leader]) -> None:
        """Say that the end is near."""
        self._tell(_confirming(leaders))

    def on_waiting(self, running: Sequence[Running], num_waiting: int) -> None:
        """Say which step has begun, and break a silence: what takes so long."""
        silence_s = time.monotonic() - self._told_at
        if not running or silence_s < PAUSE_S:
            return
        step = self._steps.of(running[:1])[0]
        if silence_s >= SILENCE_S or step != self._last_step:
            self._last_step = step
            self._tell(waiting(running, num_waiting, self._steps))


class Live(Tally):
    """A bar with what happens below it, redrawn in place."""

    def __init__(self, bar: Progress, steps: Steps, below: Text) -> None:
        super().__init__()
        self._bar, self._steps, self._below = bar, steps, below
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
        if record.status not in (Status.OK, Status.BELOW_GATE) and not is_simpler(record):
            self._bar.console.print(summary(record), markup=False, style="dim")

    def on_confirming(self, leaders: Sequence[Leader]) -> None:
        """Say that the end is near."""
        self._bar.update(self._task, description="confirming")
        self._bar.console.print(_confirming(leaders), markup=False)

    def on_waiting(self, running: Sequence[Running], num_waiting: int) -> None:
        """Show what is done right now, and for how long."""
        self._below.plain = waiting(running, num_waiting, self._steps) if running else ""


@contextmanager
def watched(steps: Steps) -> Iterator[Observer]:
    """Give an observer that suits stderr, and clear the screen's last line afterwards."""
    if not sys.stderr.isatty():
        yield Lines(steps)
        return
    from rich import progress
    from rich.console import Group
    from rich.live import Live as Screen
    from rich.table import Column
    from rich.text import Text

    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # gives way first on a narrow terminal
    columns = (
        progress.TextColumn("{task.description:<24}", markup=False),
        progress.BarColumn(bar_width=16),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[tally]}", markup=False, table_column=rest),
    )
    on_stderr = console(terminal=True, stderr=True)
    bar, below = progress.Progress(*columns, console=on_stderr, expand=True), Text(style="dim")
    with Screen(Group(bar, below), console=on_stderr, refresh_per_second=REFRESHED_PER_S):
        yield Live(bar, steps, below)


@dataclass(frozen=True)
class Steps:
    """What a running evaluation is at: `stages` are the campaign's, in order; `doing` says what workers do now."""

    stages: Sequence[Stage] = ()
    doing: Callable[[Collection[EvaluationKey]], Mapping[EvaluationKey, str]] = lambda _: {}

    def of(self, running: Sequence[Running]) -> list[str]:
        """Tell of each which stage it is, of how many, and the step in it, where that is known."""
        done = self.doing([each.key for each in running if each.key])
        return [self._of(each, done.get(each.key, "") if each.key else "") for each in running]

    def _of(self, running: Running, step: str) -> str:
        stage = running.workload.stage
        place = f"stage {self.stages.index(stage) + 1} of {len(self.stages)}" if stage in self.stages else ""
        known = ", ".join(filter(None, (place, step)))
        return f"{stage}{_at(running.workload.ratio)} of {running.name}{f' ({known})' if known else ''}"


def waiting(running: Sequence[Running], num_waiting: int, steps: Steps) -> str:
    """Tell in one line what workers are at."""
    told = running[:MOST_TOLD]
    parts = [f"{said} since {each.age_s:.0f} s" for said, each in zip(steps.of(told), told, strict=True)]
    parts += [f"{len(running) - MOST_TOLD} more run"] if len(running) > MOST_TOLD else []
    parts += [f"{num_waiting} more wait"] if num_waiting else []
    return "; ".join(parts)


def _at(ratio: float) -> str:
    """Name a cost ratio, nothing where a program is judged as written."""
    return f" at {ratio:g}x" if ratio else ""


def summary(record: Record) -> str:
    """Tell in one line what came of a candidate: at each cost ratio the figures that it got to."""
    candidate = record.candidate
    told = [f"{candidate.name} (id {candidate.id}, {candidate.proposal.proposer}/{candidate.proposal.operator})"]
    for ratio in sorted({evaluation.ratio for evaluation in record.evaluations}):
        figures = [figure for stage, name in TOLD if (figure := _figure(record, stage, name, ratio))]
        told += [f"{'as written' if not ratio else f'{ratio:g}x'}: {', '.join(figures)}"] if figures else []
    if record.status is not Status.OK:
        message = record.evaluations[-1].message if record.evaluations else candidate.message
        told += [f"{record.status}: {cut(message, MAX_MESSAGE)}" if message else record.status.value]
    return ", ".join(told)


def _figure(record: Record, stage: Stage, name: str, ratio: float) -> str:
    evaluation = record.evaluation(stage, ratio)
    taken = evaluation.measurement(name) if evaluation else None
    if taken is None:
        return ""
    found = f"{taken.value:g}" if stage is Stage.CHECK else interval(taken.value, taken.low, taken.high)
    return f"screened {name} {found}" if stage is Stage.SCREEN else f"{name} {found}"


def _brief(leader: Leader) -> str:
    record, ratio = leader.record, leader.ratio
    speed, lost = speedup(record, ratio), loss(record, ratio)
    faster = "" if speed is None else f" at {speed:.2f}x"
    return f"{record.candidate.name}{_at(ratio)} loses {lost or 0.0:.3f}{faster}"


def _confirming(leaders: Sequence[Leader]) -> str:
    names = ", ".join(
        f"{each.record.candidate.name} (id {each.record.candidate.id}){_at(each.ratio)}" for each in leaders
    )
    return f"confirming {names or 'nobody'} on the held-out split"


def _rank(leader: Leader) -> tuple[float, float, float]:
    """Rank by the lowest cost ratio, then by what is lost, then by speed."""
    lost = loss(leader.record, leader.ratio)
    speed = speedup(leader.record, leader.ratio)
    return -leader.ratio, -math.inf if lost is None else -lost, speed or 0.0
