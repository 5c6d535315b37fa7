"""The leaderboard for people: a table for each circumstance, the front in it, and why the others have no figure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from search.ranking.front import Front, circumstance, has_figure, is_faster
from search.ranking.reasons import Reasons
from search.report.columns import Fitted
from search.report.wording import ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType

    from search.ranking.standing import Standing

NOTHING = "–"
PUBLISHED = "zoo/"  # the origin of a published rule
UNMEASURED = "no stage that ranks it has been measured yet"
UNRANKED = "nobody is on the front, as no rule has passed a stage yet that ranks it"
BY_RECALL = f"{UNRANKED}; the best by recall alone, which ranks nobody"
NOWHERE = "no row of the leaderboard is like that"
ON_FRONT = "*"
UNDECIDED = "~"
# Heading and alignment. Docs name these columns, and a test compares the two.
COLUMNS = (
    ("id", "right"),
    ("name", "left"),
    ("kl", "right"),
    ("agree", "right"),
    ("retrieval", "right"),
    ("loss", "right"),
    ("recall", "right"),
    ("accuracy", "right"),
    ("speed-up", "right"),
    ("modelled", "right"),
    ("pages", "right"),
    ("bytes/page", "right"),
    ("dollars", "right"),
    ("origin", "left"),
    ("confirmed", "right"),
)
WIDE = 140  # from here on a row is one line; below, what belongs together is stacked, and fits 96 columns
BELOW = {"name": "origin", "agree": "retrieval", "pages": "bytes/page", "confirmed": "dollars"}
SPLIT = {
    "retrieval": "retri-\neval",
    "modelled": "model-\nled",
    "bytes/page": "bytes/\npage",
    "confirmed": "con-\nfirmed",
}
# What is left out first where that is not narrow enough: figures that another one nearly says.
LEAST = (
    "pages and bytes/page", "pages", "bytes/page", "agree and retrieval", "agree", "modelled", "confirmed and dollars",
    "confirmed", "loss", "recall", "accuracy",
)  # fmt: skip
FOLDED = ("name", "origin")  # the rest is never cut
# Two figures that only say in another way what a better one says where there is one.
STANDS_FOR = {"kl": "recall", "retrieval": "accuracy"}


def board(
    fronts: Sequence[Front], title: str = "", recalled: Callable[[Front], Sequence[Standing]] = lambda _: ()
) -> Group:
    """Draw each front, who of those behind it was asked for, and its references.

    `recalled`: gives the best rules by recall of a front on which nobody is.
    """
    parts: list[RenderableType] = []
    for front in fronts:
        alike = [each for each in fronts if _but_for_lengths(each) == _but_for_lengths(front)]
        is_first = len(alike) > 1 and front is alike[0]
        parts += [Text(_of_several_lengths(alike), style="italic")] if is_first else []
        parts += _drawn(front, recalled(front))
    return Group(*([Text(title, style="bold")] if title else ()), *(parts or [Text(NOWHERE)]))


def _but_for_lengths(front: Front) -> tuple[object, ...]:
    return circumstance(replace(front.first, lengths=()))


def _of_several_lengths(fronts: Sequence[Front]) -> str:
    """Say why a rule stands in several tables of one cost ratio, and which figure is the same in each of them."""
    rows = [row for front in fronts for row in (front.first, *front.members, *front.references)]
    own = {"accuracy": "accuracy_lengths", "retrieval": "retrieval_lengths"}
    lengths = {name: next((n for row in rows if (n := getattr(row, field))), ()) for name, field in own.items()}
    same = [f"{name} is of questions of {_tokens(found)}" for name, found in lengths.items() if found]
    told = f"; {' and '.join(same)}, the same figure in each" if same else ""
    return (
        f"{_cost(fronts[0].first)}: {len(fronts)} tables, as stages differ in length, and figures of different lengths "
        f"are never ranked together. A rule may stand in each{told}"
    )


def listed(rows: Iterable[tuple[Standing, bool]]) -> Group:
    """Draw each section: all rows in the order in which they came, and beneath why some got no further.

    `rows`: each with whether it is on the front, which of a list that was cut off nobody can say.
    """
    divided: dict[tuple[object, ...], list[tuple[Standing, bool]]] = {}
    for row, is_on_front in rows:
        divided.setdefault(circumstance(row), []).append((row, is_on_front))
    return Group(*([part for each in divided.values() for part in _listed(each)] or [Text(NOWHERE)]))


def told(standing: Standing) -> str:
    """Say where the figures of a row come from: without it none of them means anything."""
    s = standing
    cost = _cost(s)
    if not s.environment:
        return f"{cost}: nothing has been measured yet"
    mixed = " (mixed lengths: each stage has its own of them)" if s.mixed_lengths else ""
    lengths = f"{_tokens(s.lengths)}{mixed}" if s.lengths else "lengths of their own"
    versions = ", ".join(f"{name} {version}" for name, version in s.versions if name in ("torch", "vllm"))
    return (
        f"{cost}; {lengths}\nmodel: {s.model} ({s.model_digest[:8]})\n"
        f"device: {s.device or 'unknown'}, {s.dtype or 'unknown dtype'} "
        f"({versions or 'unknown versions'}; evaluator {s.evaluator_version})"
    )


def _cost(s: Standing) -> str:
    return f"cost ratio {s.ratio:g}" if s.ratio else "programs as written"


def _tokens(lengths: Sequence[int]) -> str:
    return f"{', '.join(f'{n:,}' for n in lengths)} tokens"


def verdict(front: Sequence[Standing]) -> str:
    """Say in a sentence who leads a section, and nothing of speed that its interval does not show."""
    known = [s for s in front if s.kl is not None]
    closest = min(known, key=lambda s: (s.kl, s.id), default=None)
    fast = max(filter(is_faster, front), key=lambda s: (s.speedup_low, -s.id), default=None)
    parts = []
    if closest:
        parts.append(f"{named(closest)} is closest to dense, kl {spread(closest.kl, closest.kl_low, closest.kl_high)}")
    if fast:
        parts.append(f"{named(fast)} is the fastest, {speedup(fast)}")
    elif any(s.speedup is not None for s in front):
        parts.append("none is shown to be faster than dense attention")
    cost = f"cost ratio {front[0].ratio:g}" if front and front[0].ratio else "as written"
    return f"{cost}: {'; '.join(parts)}" if parts else ""


def interval(value: float | None, low: float | None, high: float | None, unit: str = "") -> str:
    """Write a number with its interval, as far as both are known."""
    if value is None:
        return NOTHING
    return f"{value:.3f}{unit} {ended(low, high, '{:.3f}'.format)}".rstrip()


def spread(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """Write a number with its interval as narrowly as a table wants it: 0.191 [.170,.210]."""
    if value is None:
        return NOTHING

    def narrow(bound: float) -> str:
        return f"{bound:.{digits}f}".replace("0.", ".", 1) if abs(bound) < 1 else f"{bound:.{digits}f}"

    return f"{value:.{digits}f} {ended(low, high, narrow)}".rstrip()


def number(value: float | None, digits: int = 0) -> str:
    """Write a number with so many decimals, a dash where there is none."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _drawn(front: Front, recalled: Sequence[Standing]) -> Iterator[RenderableType]:
    num_folded = front.num_beaten - len(front.behind)
    notes = [
        f"{num_folded} more behind" if num_folded else "",
        f"{front.num_unranked} without a figure to rank them by" if front.num_unranked else "",
    ]
    hidden = "; ".join(filter(None, notes))
    if front.members:
        yield Drawn(front, (*front.members, *front.behind), hidden)
    elif recalled or front.references:
        yield Drawn(front, recalled, hidden, BY_RECALL if recalled else UNRANKED if front.num_unranked else "")
        yield from _reasons(recalled)
    else:
        yield Text(told(front.first), style="italic")
        yield Text(
            f"{f'{UNRANKED}; {hidden}' if hidden else 'nothing but references without a figure'}: --all says why\n"
        )


def _listed(found: Sequence[tuple[Standing, bool]]) -> list[RenderableType]:
    rows, members = [s for s, _ in found], tuple(s for s, is_on_front in found if is_on_front)
    asked = [s.dollars for s in rows if s.dollars is not None]
    front = Front(rows[0], members, num_asked=len(asked), dollars=math.fsum(asked))
    parts: list[RenderableType] = [Drawn(front, [s for s in rows if has_figure(s)])]
    return [*parts, *_reasons([s for s in rows if s.reason or not has_figure(s)])]


def _reasons(stopped: Sequence[Standing]) -> list[RenderableType]:
    """Draw why rows have no more figures, if there are any such."""
    rows = [(str(s.id), s.name, s.reason or f"{s.status}, and {UNMEASURED}") for s in stopped]
    return [Reasons(rows)] if rows else []


@dataclass(frozen=True)
class Drawn:
    """Rows of a front's section, and beneath a line what is only there to compare with, as wide as the console."""

    front: Front
    rows: Sequence[Standing]
    hidden: str = ""
    above: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Draw the table, in one line or in two for each row."""
        # Not as title and caption: Rich would cut them to the table's width.
        yield Text("\n".join(filter(None, (told(self.front.first), self.above))), style="italic")
        is_wide = options.max_width >= WIDE
        names = self._shown(is_wide)
        yield Fitted(self._table(is_wide), LEAST, [each if is_wide else self._told(each) for each in names])
        lines = _caption(self.rows, self.front.references, self.hidden), _spent(self.front)
        yield Text("\n".join(filter(None, lines)), style="dim italic")

    def _columns(self) -> list[str]:
        return columns_of([*self.rows, *self.front.references])

    def _shown(self, is_wide: bool) -> list[str]:
        """Give the columns, without those that stand below another on a narrow console."""
        names = self._columns()
        below = {BELOW.get(name) for name in names}
        return names if is_wide else [name for name in names if name not in below]

    def _told(self, name: str) -> str:
        """Name a column with the one that stands below it on a narrow console."""
        return f"{name} and {BELOW[name]}" if BELOW.get(name) in self._columns() else name

    def _table(self, is_wide: bool) -> Table:
        drawn = Table(box=SIMPLE_HEAD, pad_edge=False, padding=0)
        names, shown = self._columns(), self._shown(is_wide)
        sides: dict[str, JustifyMethod] = {heading: "right" if side == "right" else "left" for heading, side in COLUMNS}
        for name in shown:
            heading = name if is_wide else _stacked(name, {each: SPLIT.get(each, each) for each in names})
            drawn.add_column(heading, justify=sides[name], overflow="fold", no_wrap=name not in FOLDED)
        front, targets = {id(s) for s in self.front.members}, targets_of((*self.rows, *self.front.references))
        for group in (self.rows, self.front.references):
            for s in group:
                cells = cells_of(s, is_on_front=id(s) in front, targets=targets)
                if not is_wide:
                    narrow = {name: cell if name in FOLDED else cell.replace(" ", "\n") for name, cell in cells.items()}
                    cells = {name: _stacked(name, {each: narrow[each] for each in names}) for name in names}
                drawn.add_row(*(Text(cells[name]) for name in shown), style="" if s.status == "ok" else "dim")
            drawn.add_section()
        return drawn


def _stacked(name: str, cells: Mapping[str, str]) -> str:
    """Give a cell with the one that stands below it on a narrow console."""
    return f"{cells[name]}\n{cells[BELOW[name]]}" if BELOW.get(name) in cells else cells[name]


def columns_of(rows: Sequence[Standing]) -> list[str]:
    """Choose the columns in which a row has a figure, without those that a better one stands for."""
    names = [heading for heading, _ in COLUMNS]
    figures = {"kl": "kl", "agree": "agreement", "retrieval": "retrieval", "loss": "retrieval_loss", "recall": "recall",
               "accuracy": "accuracy", "speed-up": "speedup", "modelled": "modelled_speedup",
               "pages": "pages_attended", "bytes/page": "bytes_per_page", "dollars": "dollars"}  # fmt: skip
    missing = {name for name, field in figures.items() if all(getattr(s, field) is None for s in rows)}
    missing |= {lesser for better, lesser in STANDS_FOR.items() if better not in missing}
    return [name for name in names if name not in missing]


def _caption(rows: Sequence[Standing], references: Sequence[Standing], hidden: str) -> str:
    target = modelled_on((*rows, *references))
    lines = [
        f"{hidden}: --all shows them" if hidden else "",
        "below the line: not sparse enough to be a rule, only to compare with" if references else "",
        f"modelled: by bytes and launches on {target}, not measured" if target else "",
        f"{ON_FRONT} on the front; {UNDECIDED} not told apart from dense attention; intervals: 95 %",
    ]
    return "\n".join(filter(None, lines))


def _spent(front: Front) -> str:
    """Tell what asking for the programs of a section cost; nothing where no endpoint was asked."""
    programs = "program" if front.num_asked == 1 else "programs"
    paid = f"dollars: models were paid {front.dollars:,.4f} for {front.num_asked} {programs} of these"
    return paid if front.num_asked else ""


def cells_of(s: Standing, is_on_front: bool, targets: Sequence[str] = ()) -> dict[str, str]:
    """Write every cell of a row, by the column's heading; of several `targets` in a table, its own is named."""
    mark = f" {ON_FRONT}" if is_on_front else " (reference)" if s.reference else ""
    failed = "" if s.status == "ok" else f" ({s.status})"
    return {
        "id": str(s.id),
        "name": f"{s.name or NOTHING}{mark}{failed}",
        "kl": spread(s.kl, s.kl_low, s.kl_high),
        "agree": number(s.agreement, 3),
        "retrieval": number(s.retrieval, 3),
        "loss": spread(s.retrieval_loss, s.retrieval_loss_low, s.retrieval_loss_high, 2),
        "recall": number(s.recall, 3),
        "accuracy": spread(s.accuracy, s.accuracy_low, s.accuracy_high),
        "speed-up": speedup(s),
        "modelled": modelled(s, is_named=len(targets) > 1),
        "pages": number(s.pages_attended, 1),
        "bytes/page": number(s.bytes_per_page),
        "dollars": number(s.dollars, 4),
        "origin": s.origin,
        "confirmed": _confirmed(s),
    }


def modelled(s: Standing, *, is_named: bool = True) -> str:
    """Write a modelled speed-up, with the device that it is modelled for unless that stands elsewhere."""
    if s.modelled_speedup is None:
        return NOTHING
    return f"{s.modelled_speedup:.1f}x {s.target if is_named else ''}".strip()


def _confirmed(s: Standing) -> str:
    if s.confirmed_kl is None:
        return spread(s.confirmed_accuracy, s.confirmed_accuracy_low, s.confirmed_accuracy_high)
    return spread(s.confirmed_kl, s.confirmed_kl_low, s.confirmed_kl_high)


def speedup(s: Standing) -> str:
    """Write a speed-up; whoever's interval holds 1 is neither faster nor slower."""
    if s.speedup is None:
        return NOTHING
    is_slower = s.speedup_high is not None and s.speedup_high < 1.0
    figure, _, ends = spread(s.speedup, s.speedup_low, s.speedup_high, digits=2).partition(" ")
    return f"{'' if is_faster(s) or is_slower else UNDECIDED}{figure}x {ends}".rstrip()


def modelled_on(rows: Iterable[Standing]) -> str:
    """Name every device that speeds of these rows are modelled for: a campaign may name another than the last."""
    return ", ".join(targets_of(rows))


def targets_of(rows: Iterable[Standing]) -> list[str]:
    """Give these devices."""
    return sorted({s.target for s in rows if s.target and s.modelled_speedup is not None})


def most_modelled_on(rows: Iterable[Standing]) -> str:
    """Name the device that most of these rows' speeds are modelled for, nothing where none is."""
    numbers = Counter(s.target for s in rows if s.target and s.modelled_speedup is not None)
    return max(sorted(numbers), key=lambda device: numbers[device], default="")


def named(s: Standing) -> str:
    """Name a row's program so that `vortex show` finds it."""
    return f"{s.name} ({s.id})"
