"""From a program to its graph, for one shape of model."""

from __future__ import annotations

import ast
import sys
from functools import lru_cache
from typing import Any

from vortex_dsl.errors import ProgramError, quoted
from vortex_dsl.frontend.calls import FLOW
from vortex_dsl.frontend.evaluate import Evaluator
from vortex_dsl.frontend.known import Receiver, is_known, shown
from vortex_dsl.frontend.program import Program
from vortex_dsl.frontend.source import Source
from vortex_dsl.graph.builder import Builder
from vortex_dsl.graph.graph import SETTINGS, Graph
from vortex_dsl.node import Node
from vortex_dsl.passes.pipeline import finished
from vortex_dsl.values import Shape, TypeRuleError

_MIN_FRAMES = 4000
_PROBE_SHAPES = (Shape(group=4, head_dim=128), Shape(group=1, head_dim=64))


@lru_cache(maxsize=128)  # a large program and its graph take some megabytes
def trace(program: Program, shape: Shape) -> Graph:
    """Give the graph of a program that every backend runs: as it was written, then through all passes.

    Raises ProgramError with the place in the text. Equal programs and shapes give the same object.
    """
    return finished(traced(program, shape))


def traced(program: Program, shape: Shape) -> Graph:
    """Evaluate summarize and select over symbolic values: the typed graph of what the program wrote, dead code too.

    Raises ProgramError with the place in the text.
    """
    # A level of nesting is at most 7 Python frames. Raised for good: lowering it again would hurt other threads.
    if sys.getrecursionlimit() < _MIN_FRAMES:
        sys.setrecursionlimit(_MIN_FRAMES)
    return _Tracer(program, shape).graph()


def declared_fields(program: Program, shape: Shape) -> dict[str, Node]:
    """Give what is stored under each name of the dict that summarize returns, before any pass. Raises ProgramError."""
    tracer = _Tracer(program, shape)
    tracer.graph()
    return dict(tracer.builder.fields)


def field_names(program: Program, graph: Graph) -> dict[str, str]:
    """Give the name in the text for each field of a compiled program that still computes what the text says.

    By the field's canonical name. A field that passes have rewritten is known where it alone is left over.
    """
    declared = {node.digest: name for name, node in declared_fields(program, graph.shape).items()}
    stored = {field.name: field.leaf.args[0].digest for field in graph.fields}
    found = {name: declared[digest] for name, digest in stored.items() if digest in declared}
    unnamed = [name for name in stored if name not in found]
    unused = [name for digest, name in declared.items() if digest not in stored.values()]
    return found | (dict(zip(unnamed, unused, strict=True)) if len(unnamed) == len(unused) == 1 else {})


def gone_fields(program: Program, graph: Graph) -> list[str]:
    """Give the names in the text that no field of the compiled program is called by."""
    kept = field_names(program, graph).values()
    return [name for name in declared_fields(program, graph.shape) if name not in kept]


def check_traces(program: Program) -> None:
    """Raise the ProgramError of tracing if it does not depend on the model's shape."""
    errors = []
    for shape in _PROBE_SHAPES:
        try:
            traced(program, shape)
        except ProgramError as error:
            errors.append(error)
        else:
            return
    if str(errors[0]) == str(errors[1]):
        raise errors[0]


class _Tracer:
    def __init__(self, program: Program, shape: Shape) -> None:
        values = dict(program.values)
        self.definition = program.definition
        self.source: Source = program.definition.source
        self.settings = {name: int(values[name]) for name in SETTINGS}
        self.builder = Builder(shape, self.settings["page_size"], program.states)
        self.evaluator = Evaluator(program.definition, values, self.builder)

    def graph(self) -> Graph:
        for statement in self.definition.constants:
            flow = self.evaluator.visit(statement, self.evaluator.constants)
            assert flow is FLOW, "constants are assignments"
        fields = self._summarize() if "summarize" in self.definition.entries else {}
        self.evaluator.selecting = True
        selection = self._run("select", self.builder.input("q"), Receiver("page"))
        if not isinstance(selection, Node):
            message = f"select returns {shown(selection)}; return a selection such as topk(score, self.pages)"
            self.source.refuse(message, self.evaluator.returned)
        try:
            return self.builder.raw(fields, selection, self.settings)
        except TypeRuleError as error:
            return self.source.refuse(str(error), self.evaluator.returned)

    def _run(self, entry: str, *arguments: Any) -> Any:
        function = self.definition.entries[entry]
        names = [argument.arg for argument in function.args.args]
        return self.evaluator.call_function(function, dict(zip(names, (Receiver("self"), *arguments), strict=True)))

    def _summarize(self) -> dict[str, Any]:
        fields = self._run("summarize", self.builder.input("k"), self.builder.input("v"))
        returned = self.evaluator.returned
        if not isinstance(fields, dict):
            self.source.refuse('summarize must return a dict of fields; write {"name": value}', returned)
        places = _places(returned)
        for name, value in fields.items():
            self._check_field(name, value, places.get(name, returned))
        try:
            self.builder.declare(fields)
        except TypeRuleError as error:
            self.source.refuse(str(error), returned)
        self.evaluator.fields = tuple(fields)
        return fields

    def _check_field(self, name: str, value: Any, at: ast.AST | None) -> None:
        if not name.isidentifier() or not name.isascii() or name.strip("_") != name or len(name) > 64:
            self.source.refuse(f"{quoted(name)} is no name for a field; use letters, digits and inner underscores", at)
        if not isinstance(value, Node) and not is_known(value):
            self.source.refuse(f"the field {quoted(name)} is no value; compute it from k and v", at)


def _places(returned: ast.AST | None) -> dict[str, ast.AST]:
    """Say where a literal dict has the value of each of its keys."""
    if not isinstance(returned, ast.Dict):
        return {}
    pairs = zip(returned.keys, returned.values, strict=True)
    return {str(key.value): value for key, value in pairs if isinstance(key, ast.Constant)}
