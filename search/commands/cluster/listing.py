"""`vortex cluster`: the nodes of a cluster, and what they are at."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.output import cell, print_data, print_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from search.evaluator.cluster.listing import Node
    from search.evaluator.cluster.telling import Doing

Address = Annotated[
    str,
    typer.Option(
        "--ray", metavar="HOST:PORT", callback=options.head_address, help="The address of the cluster's head."
    ),
]


def cluster(ray: Address, as_json: options.Json = False) -> None:
    """List a cluster's nodes: their kind, what they have, their engines, and what each worker runs and for how long."""
    from search.evaluator.cluster.listing import nodes_at

    nodes = nodes_at(ray)
    if as_json:
        print_json(nodes)
    else:
        print_data(_drawn(nodes))


def _drawn(nodes: list[Node]) -> RenderableType:
    from rich.table import Table

    drawn = Table("node", "kind", "CPUs", "GPUs", "state", "engines", "runs", "for")
    for node in nodes:
        state = f"{'here' if node.is_alive else 'was here'} for {_time(node.seconds)}"
        of_node = (f"{node.host} ({node.address})", node.kind, f"{node.num_cpus:g}", f"{node.num_gpus:g}", state)
        workers = [_told(each) for each in node.workers] or [("", "no worker", "")]
        for i, told in enumerate(workers):
            drawn.add_row(*map(cell, (*(of_node if not i else ("",) * len(of_node)), *told)))
        drawn.add_section()
    return drawn


def _told(doing: Doing) -> tuple[str, str, str]:
    since = _time(max(0.0, time.time() - doing.since_s))
    engines = ", ".join(doing.engines) or "none"
    if not doing.stage:
        return engines, "nothing", since
    at = f" at {doing.ratio:g}x" if doing.ratio else ""
    step = f": {doing.step}" if doing.step else ""
    return engines, f"{doing.stage}{at} of {doing.program}{step}", since


def _time(seconds: float) -> str:
    """Write a time as people do."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
