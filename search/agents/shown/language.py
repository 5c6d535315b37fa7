"""The language as Markdown, for prompts and for docs/language.md."""

from __future__ import annotations

from prompts import prompt
from vortex_dsl.ops import OPS
from vortex_dsl.ops.op import OpKind
from vortex_dsl.tunables import PLATFORM_TUNABLES

KINDS = ((OpKind.OPERATOR, "Operators"), (OpKind.FUNCTION, "Functions"), (OpKind.METHOD, "Methods"))


def language() -> str:
    """Tell the language: the text that docs/language.md begins with, and the operation table."""
    return prompt("language", platform=platform_tunables(), operations=operations()).strip()


def platform_tunables() -> str:
    """List the tunables of every program."""
    return "\n".join(f"* `{name} = {tunable}`" for name, tunable in PLATFORM_TUNABLES.items())


def operations() -> str:
    """List the operation table."""
    parts = []
    for kind, title in (*KINDS, (OpKind.SELECTION, "Selections")):
        table = [op for op in OPS.values() if op.kind is kind]
        if kind is OpKind.OPERATOR:
            parts.append(f"{title}: " + "; ".join(f"`{op.doc}`" for op in table))
        else:
            parts.append("\n".join((f"{title}:", *(f"* `{op.signature}`: {op.doc}" for op in table))))
    return "\n\n".join(parts)
