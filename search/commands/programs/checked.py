"""What `vortex check` shows of a program that passed: as JSON, or drawn."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from vortex_dsl.frontend.trace import field_names, gone_fields

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vortex_dsl.analysis.cost import Cost, StageCost
    from vortex_dsl.analysis.devices import Roofline
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.graph.graph import Graph

NANOSECONDS = 1e9


@dataclass(frozen=True)
class Checked:
    """A program that passed, and what is known of it; a roofline only where a device was named."""

    program: Program
    graph: Graph
    cost: Cost
    warnings: tuple[str, ...]
    roofline: Roofline | None
    passes: tuple[PassShown, ...]  # empty unless they were asked for


@dataclass(frozen=True)
class PassShown:
    """A pass and the program after it."""

    name: str
    doc: str
    changed: bool
    program: str


def told(checked: Checked) -> dict[str, object]:
    """Give all of it for JSON."""
    program, graph, spent = checked.program, checked.graph, checked.cost
    names = field_names(program, graph)
    answer: dict[str, object] = {
        "ok": True,
        "name": program.name,
        "doc": program.doc,
        "digest": graph.digest,
        "values": dict(program.values),
        "operations": graph.num_operations,
        "fields": [
            {"name": names.get(field.name, field.name), "type": str(field.type), "storage": field.storage}
            for field in graph.fields
        ],
        "cost": {**asdict(spent), "bytes": spent.bytes, "flops": spent.flops, "ratio": spent.ratio},
        "warnings": list(checked.warnings),
    }
    if checked.roofline:
        roof = checked.roofline
        answer["roofline"] = {**asdict(roof), "sparse_s": roof.sparse_s, "speedup": roof.speedup}
    if checked.passes:
        answer |= {
            "passes": [asdict(each) for each in checked.passes],
            "layout": _layout(graph),
            "stages": _stages(graph),
            "plan": _plan(graph),
        }
    return answer


def drawn(checked: Checked) -> RenderableType:
    """Draw all of it: the passes first, where they were asked for."""
    from rich.console import Group
    from rich.text import Text

    program, graph, spent = checked.program, checked.graph, checked.cost
    names, gone = field_names(program, graph), gone_fields(program, graph)
    kept = [f"{names.get(field.name, field.name)} {field.type} as {field.storage}" for field in graph.fields]
    rewritten = f" (of {', '.join(gone)}, which are merged, rewritten or not used)" if gone else ""
    layers = f"{spent.layers.num:,} layers of which {spent.layers.num_dense} are dense"
    lines = (
        *(_compiled(checked) if checked.passes else ()),
        f"{program.name}: {program.doc}",
        f"digest {graph.digest}, {graph.num_operations} operations",
        "tunables " + ", ".join(f"{name}={value}" for name, value in sorted(program.values.items())),
        f"fields {', '.join(kept) or 'none'}{rewritten}; {spent.bytes_per_page:,} bytes per page",
        f"reads {spent.pages_read:,.1f} of {spent.pages_dense:,} pages in a sparse layer",
        f"dense attention reads {spent.ratio:.1f} times the bytes, over {layers}",
    )
    warnings = (Text(f"warning: {sentence}", style="yellow") for sentence in checked.warnings)
    return Group(*map(Text, lines), _costs(spent, checked.roofline), *warnings)


def passes(program: Program, group: int, head_dim: int) -> tuple[PassShown, ...]:
    """Run the passes one by one on a program that is known to pass them."""
    from vortex_dsl import Shape
    from vortex_dsl.frontend.trace import traced
    from vortex_dsl.passes.pipeline import steps

    raw = traced(program, Shape(group=group, head_dim=head_dim))
    shown = [PassShown("trace", "What the program's text performs, equal operations merged.", True, raw.listing)]
    before = raw
    for each, graph in steps(raw):
        shown.append(PassShown(each.name, each.doc, graph is not before, graph.listing))
        before = graph
    return tuple(shown)


def _compiled(checked: Checked) -> list[str]:
    """Show every pass, then where the fields lie, then the stages."""
    from vortex_dsl.passes.pipeline import CANONICAL

    lines: list[str] = []
    for each in checked.passes:
        shown = each.program.split("\n") if each.changed else ["changed nothing"]
        lines += [f"{each.name}: {each.doc}", *(f"  {line}" for line in shown)]
        if each.name == CANONICAL[-1].name:
            lines.append(f"digest {checked.graph.digest}: What follows is fitted to the model's shape and keeps it.")
    graph = checked.graph
    layout = [
        f"{row['name']} at byte {row['offset']}: {row['type']} as {row['storage']}, {row['bytes']} bytes"
        for row in _layout(graph)
    ]
    lines += [
        "layout: Where the fields lie in the bytes of a page.",
        *(f"  {line}" for line in layout or ["no fields"]),
    ]
    stages = [f"{i}. {stage}" for i, stage in enumerate(_stages(graph), 1)]
    lines += ["stages: Select is cut where pages are mixed.", *(f"  {stage}" for stage in stages)]
    lines += ["plan: The kernels that Triton is given, and what they leave in memory."]
    return [*lines, *(f"  {line}" for line in _plan(graph)), ""]


def _layout(graph: Graph) -> list[dict[str, object]]:
    from vortex_dsl.analysis.layout import Layout

    return [
        {
            "name": each.name,
            "type": str(each.field.type),
            "storage": each.kind,
            "offset": each.offset,
            "bytes": each.num_bytes,
        }
        for each in Layout(graph).fields
    ]


def _stages(graph: Graph) -> list[str]:
    from vortex_dsl.analysis.schedule import schedule

    return [str(stage) for stage in schedule(graph)]


def _plan(graph: Graph) -> list[str]:
    from vortex_dsl.codegen.plan import make_plan

    return [line.strip() for line in str(make_plan(graph)).split("\n")[1:]]


def _costs(spent: Cost, roof: Roofline | None) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from search.report.columns import Fitted

    caption = f"one decode step of a sparse layer, per sequence and KV head, at {spent.tokens:,} tokens"
    drawn = Table("stage")
    for heading in ("pages", "bytes", "flops", *([f"ns on {roof.device.name}"] if roof else [])):
        drawn.add_column(heading, justify="right", no_wrap=True)
    times = roof.stages_s if roof else (0.0,) * len(spent.stages)
    for stage, seconds in zip(spent.stages, times, strict=True):
        drawn.add_row(*_row(stage), *([_ns(seconds)] if roof else []))
    drawn.add_section()
    totals = (roof.sparse_s, roof.dense_s) if roof else (0.0, 0.0)
    for name, num_bytes, flops, seconds in (
        ("sparse in all", spent.bytes, spent.flops, totals[0]),
        ("dense", spent.dense_bytes, spent.dense_flops, totals[1]),
    ):
        drawn.add_row(name, "", f"{num_bytes:,.0f}", f"{flops:,.0f}", *([_ns(seconds)] if roof else []))
    ratios = [spent.dense_bytes / spent.bytes, spent.dense_flops / spent.flops]
    ratios += [roof.dense_s / roof.sparse_s] if roof else []
    drawn.add_row("dense / sparse", "", *(f"{ratio:.2f}" for ratio in ratios))
    return Group(Fitted(drawn, ("pages", "flops")), Text(caption, style="italic"))


def _row(stage: StageCost) -> tuple[str, ...]:
    return stage.name, f"{stage.pages:,.4g}", f"{stage.bytes:,.0f}", f"{stage.flops:,.0f}"


def _ns(seconds: float) -> str:
    return f"{seconds * NANOSECONDS:,.1f}"
