"""What can be told of a choice without making it: that it looks at nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.node import reachable
from vortex_dsl.values import PAGE, Kind

if TYPE_CHECKING:
    from vortex_dsl.graph.graph import Graph

SCORES = (Kind.FLOAT, Kind.BOOL)
HELD, RAW = ("field", "state"), ("page.k", "page.v")  # what select sees of what is in a page


def is_blind(graph: Graph) -> bool:
    """Tell whether pages are ranked, and by nothing of what they hold: neither fields, nor states, nor raw pages."""
    chosen = [node for node in reachable((graph.selection,)) if node.type.kind is Kind.SELECTION]
    scores = tuple(arg for node in chosen for arg in node.args if arg.type.kind in SCORES and PAGE in arg.type.names)
    return bool(scores) and not any(
        node.op in HELD or (node.op == "input" and node.attr("name") in RAW) for node in reachable(scores)
    )
