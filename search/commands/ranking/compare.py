"""`vortex compare`: candidates side by side, in pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.database import existing
from search.commands.exits import CommandError
from search.commands.output import print_data, print_json
from search.commands.programs.named import candidate_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from search.contracts import Ledger
    from search.ranking.comparison import Circumstances, Difference
    from search.records import Record

MAX_COMPARED = 16
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="ID",
        help="Candidates by ids, beginnings of digests, published rules' names or files; all against the first.",
    ),
]


def compare(names: Names, db: options.Database = options.DATABASE_URL, as_json: options.Json = False) -> None:
    """Compare candidates in pairs: by question, kind, length, text and layer, with intervals of the differences."""
    from search.ranking.comparison import compare as compared

    if len(names) > MAX_COMPARED:
        raise CommandError(f"{len(names)} candidates are too many to compare at a time; give at most {MAX_COMPARED}")
    with existing(db) as ledger:
        records = [candidate_named(ledger, name) for name in names]
        differences = compared(records, _circumstances(ledger, records))
    print_json(differences) if as_json else print_data(_drawn(records, differences))


def _circumstances(ledger: Ledger, records: Sequence[Record]) -> Circumstances:
    from search.ranking.comparison import MEASURED, Circumstances

    keys = [e.key for record in records for e in record.evaluations if e.status in MEASURED]
    workloads, environments = ({getattr(k, name) for k in keys} for name in ("workload_digest", "environment_digest"))
    return Circumstances({w: ledger.workload(w) for w in workloads}, {e: ledger.environment(e) for e in environments})


def _drawn(records: Sequence[Record], differences: Sequence[Difference]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from search.ranking.leaderboard import interval
    from search.report.columns import Fitted

    names = {record.candidate.id: record.candidate.name for record in records}
    tables: list[RenderableType] = []
    machines = ["machine"] if len({each.machine for each in differences}) > 1 else []
    for a, b in dict.fromkeys((each.a, each.b) for each in differences):
        drawn = Table("ratio", "stage", *machines, "figure", "of")
        for heading in ("A", "B", "difference", "pairs"):
            drawn.add_column(heading, justify="right", no_wrap=True)
        for each in (d for d in differences if (d.a, d.b) == (a, b)):
            ratio = f"{each.ratio:g}" if each.ratio else "as written"
            stage = each.stage.value if each.split == "search" else f"{each.stage.value} ({each.split})"
            figures = f"{each.value_a:.3f}", f"{each.value_b:.3f}", interval(each.difference, each.low, each.high)
            of = (ratio, stage, *([each.machine] if machines else []), each.figure, each.part)
            drawn.add_row(*map(Text, (*of, *figures, str(each.num_pairs))))
        tables += [Text(f"A: {names[a]} ({a}), B: {names[b]} ({b})"), Fitted(drawn, ("pairs", "A", "B"))]
    tables.append(Text("difference: B - A, for speed-up B / A; pairs: what it is taken over; intervals: 95 %"))
    return Group(*tables)
