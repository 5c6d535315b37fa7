"""Programs as text: highlighted, compared line by line, and as what the compiler makes of them. Nothing is executed."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from markupsafe import Markup

from search.fit import traced
from search.report.wording import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search.fit import Values
    from vortex_dsl import Shape
    from vortex_dsl.backends.tape.tape import Tape

MAX_SHOWN = 20_000  # characters of a text in a page: more is fetched on demand
MAX_LINES = 2000  # of a difference
CONTEXT = 4


@dataclass(frozen=True)
class Line:
    """A line of a difference: `kind` is added, removed, same or gap."""

    kind: str
    sign: str
    text: str


@dataclass(frozen=True)
class Compiled:
    """What the compiler makes of a program: plan and kernels for Triton, the tape for a CPU or why there is none.

    `names`: what the text calls a field, by what the compiler does.
    """

    names: tuple[tuple[str, str], ...]
    plan: str
    kernels: str
    tape: str


def highlighted(text: str) -> Markup:
    """Give Python as HTML of classes; what is not seen and may deceive is replaced, and the end left out."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return Markup(highlight(shown(text, MAX_SHOWN), PythonLexer(), HtmlFormatter(nowrap=True)))  # noqa: S704 - it escapes


def difference(before: str, after: str) -> tuple[Line, ...]:
    """Give the lines of a difference with some around them; none where both are the same."""
    old, new = (shown(text, MAX_SHOWN).splitlines()[:MAX_LINES] for text in (before, after))
    kinds = {"+": "added", "-": "removed", " ": "same", "@": "gap"}
    lines = list(difflib.unified_diff(old, new, lineterm="", n=CONTEXT))[2:]
    return tuple(Line(kinds[line[0]], line[0], line[1:]) for line in lines[:MAX_LINES] if line[0] in kinds)


@lru_cache(maxsize=32)
def compiled(text: str, values: Values, shape: Shape) -> Compiled:
    """Compile a program without running it. Raises ProgramError."""
    from vortex_dsl.backends.tape.tape import tape_of
    from vortex_dsl.codegen.emit import emit_stage, emit_summarize, source_text
    from vortex_dsl.codegen.plan import make_plan
    from vortex_dsl.frontend.trace import field_names
    from vortex_dsl.ops.op import InTorch

    program, graph = traced(text, values, shape)
    plan = make_plan(graph)
    stages = [(stage, emit_stage(plan, stage)) for stage in plan.stages]
    kernels = source_text(plan, emit_summarize(plan) if plan.layout.fields else None, stages)
    tape = tape_of(graph)
    told = f"On a CPU it runs in torch: {tape.reason}" if isinstance(tape, InTorch) else "\n".join(_tape(tape))
    return Compiled(tuple(field_names(program, graph).items()), str(plan), kernels, told)


def _tape(tape: Tape) -> Iterator[str]:
    """List a tape's instructions by segment; places grow with n, the pages at hand."""
    from kernels.host.lines import FN, OP, TO
    from kernels.host.tape import FAMILIES, FUNCTIONS

    yield f"{tape.small} numbers of scratch and {tape.columns} a page; fields {', '.join(tape.fields) or 'none'}"
    for first, end, block, at, _ in tape.segments.tolist():
        how = f"at most {block:,} pages at a time" if block else "once"
        among = ", pages of a selection alone" if at >= 0 else ""
        yield f"segment {first} to {end - 1}, {how}{among}"
        for i in range(first, end):
            line = tape.lines[i].tolist()
            family, fn = FAMILIES[line[OP]], line[FN]
            name = f"{family}.{FUNCTIONS[family][fn]}" if family in FUNCTIONS else family
            yield f"  {i:3} {name} -> {_place(line[TO], line[TO + 1])}"


def _place(at: int, each: int) -> str:
    return f"{at} + {each}n" if each else str(at)
