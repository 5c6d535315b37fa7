"""Names of fields as a program's text has them: the compiler merges, rewrites and numbers what they call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.graph.graph import Graph


def names_of(program: Program, graph: Graph) -> dict[str, str]:
    """Give the name in the text for each field of a compiled program that still computes what the text says.

    By the field's canonical name. A field that passes have rewritten is known where it alone is left over.
    """
    from vortex_dsl.frontend.trace import declared_fields

    declared = {node.digest: name for name, node in declared_fields(program, graph.shape).items()}
    stored = {field.name: field.leaf.args[0].digest for field in graph.fields}
    found = {name: declared[digest] for name, digest in stored.items() if digest in declared}
    unnamed = [name for name in stored if name not in found]
    unused = [name for digest, name in declared.items() if digest not in stored.values()]
    return found | (dict(zip(unnamed, unused, strict=True)) if len(unnamed) == len(unused) == 1 else {})


def gone_of(program: Program, graph: Graph) -> list[str]:
    """Give the names in the text that no field of the compiled program is called by."""
    from vortex_dsl.frontend.trace import declared_fields

    kept = names_of(program, graph).values()
    return [name for name in declared_fields(program, graph.shape) if name not in kept]
