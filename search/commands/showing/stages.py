"""The stages of `vortex show`: what each made of a candidate, at each cost ratio; what is left out is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.commands.exits import CommandError
from search.commands.output import cell
from search.records import Status
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.measure import Measurement as Width

    from search.contracts import Ledger
    from search.records import Evaluation, Measurement, Record, Stage

BETWEEN = "  "  # figures in a line


@dataclass(frozen=True)
class Chosen:
    """Which figures are told: of one stage, at one cost ratio (0: as written); all, or those for which it is there."""

    stage: Stage | None = None
    ratio: float | None = None
    everything: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether no figure of an evaluation is left out."""
        return self.everything or self.stage is not None

    def has(self, evaluation: Evaluation) -> bool:
        """Say whether an evaluation is told."""
        is_stage = self.stage is None or evaluation.key.stage == self.stage
        return is_stage and (self.ratio is None or evaluation.ratio == self.ratio)

    def figures(self, evaluation: Evaluation) -> tuple[Measurement, ...]:
        """Give what is told of one."""
        from search.report.measurements import points_of

        return evaluation.measurements if self.is_whole else points_of(evaluation)


@dataclass(frozen=True)
class Packed:
    """Figures one after the other, as many in a line as there is room for; none is broken that fits into one."""

    figures: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Fill line after line."""
        line = ""
        for each in self.figures:
            if line and len(line) + len(BETWEEN) + len(each) > options.max_width:
                yield cell(line)
                line = ""
            line = f"{line}{BETWEEN if line else ''}{each}"
        yield cell(line)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Width:
        """Need no more than the longest figure."""
        from rich.measure import Measurement as Width

        most = max(map(len, self.figures), default=0)
        return Width(min(most, options.max_width), min(len(BETWEEN.join(self.figures)), options.max_width))


def drawn_stages(ledger: Ledger, record: Record, chosen: Chosen) -> RenderableType:
    """Draw what is chosen, and tell what is not. Raises CommandError where nothing is like what was asked for."""
    from rich.console import Group

    told = [each for each in record.evaluations if chosen.has(each)]
    if record.evaluations and not told:
        raise CommandError(_what_there_is(record))
    left_out = _left_out(told, chosen)
    table = [_table(ledger, told, chosen)] if told else []
    return Group(*table, *map(cell, _reasons(ledger, told)), *([cell(left_out)] if left_out else []))


def _table(ledger: Ledger, told: Sequence[Evaluation], chosen: Chosen) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from search.report.columns import Fitted

    devices = _devices(ledger, told)
    drawn = Table("stage", "status", *(["machine"] if devices else []), box=SIMPLE_HEAD, pad_edge=False, padding=0)
    if chosen.is_whole:
        drawn.add_column("s", justify="right", no_wrap=True)
    drawn.add_column("measured (95 %)", overflow="fold")
    for ratio in sorted({each.ratio for each in told}):
        drawn.add_row(_at(ratio), style="bold")
        for evaluation in (each for each in told if each.ratio == ratio):
            place = [cell(devices.get(evaluation.key.environment_digest, ""))] if devices else []
            seconds = [cell(f"{evaluation.elapsed_s:.1f}")] if chosen.is_whole else []
            row = map(cell, (f" {_stage(ledger, evaluation)}", evaluation.status.value))
            drawn.add_row(*row, *place, *seconds, _figures(evaluation, chosen))
    return Fitted(drawn, ("s",))


def _figures(evaluation: Evaluation, chosen: Chosen) -> RenderableType:
    from search.report.measurements import briefly, written

    write = written if chosen.is_whole else briefly
    figures = [f"{each.name} {write(each)}" for each in chosen.figures(evaluation)]
    if not figures:
        return cell("nothing: see the message below" if evaluation.message else "")
    return cell("\n".join(figures)) if chosen.is_whole else Packed(figures)


def _reasons(ledger: Ledger, told: Sequence[Evaluation]) -> Iterator[str]:
    """Tell each message once, with where it was said."""
    places: dict[tuple[str, str], list[str]] = {}
    for each in told:
        if each.message:
            at = _at(each.ratio)
            said = places.setdefault((_stage(ledger, each), each.message), [])
            said += [] if at in said else [at]
    for (stage, message), found in places.items():
        yield f"{stage}, {' and '.join(found)}: {message}"


def _left_out(told: Sequence[Evaluation], chosen: Chosen) -> str:
    """Tell how many figures are not shown, of what, and which option shows them."""
    from search.report.measurements import part_of

    rest = [m for each in told if not chosen.is_whole for m in each.measurements if m not in chosen.figures(each)]
    if not rest:
        return ""
    parts = dict.fromkeys(found[0] for m in rest if (found := part_of(m)))
    divided = f" (by {', '.join(parts)} and more)" if parts else ""
    stages = ", ".join(dict.fromkeys(each.key.stage.value for each in told))
    ratio = ", --ratio R what is of one cost ratio" if len({each.ratio for each in told} - {0.0}) > 1 else ""
    return f"not shown: {len(rest):,} figures{divided}; --all shows them, --stage NAME those of one of {stages}{ratio}"


def _what_there_is(record: Record) -> str:
    stages = ", ".join(dict.fromkeys(each.key.stage.value for each in record.evaluations))
    ratios = ", ".join(map(_at, sorted({each.ratio for each in record.evaluations})))
    return f"nothing like that was measured of candidate {record.candidate.id}; it has {stages}, {ratios}"


def _at(ratio: float) -> str:
    return f"at {ratio:g}x" if ratio else "as written"


def _stage(ledger: Ledger, evaluation: Evaluation) -> str:
    split = ledger.workload(evaluation.key.workload_digest).split
    return f"{evaluation.key.stage.value}{' (held out)' if split == HELD_OUT else ''}"


def _devices(ledger: Ledger, told: Sequence[Evaluation]) -> Mapping[str, str]:
    """Name the machines by the digests of their environments; nothing where all are the same."""
    measured = (each for each in told if each.status is not Status.QUARANTINED)
    places = list(dict.fromkeys(each.key.environment_digest for each in measured))
    return {each: f"{ledger.environment(each).device} [{each[:6]}]" for each in places} if len(places) > 1 else {}
