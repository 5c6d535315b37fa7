"""From a text to a Program: its structure checked, its tunables read, nothing of it executed."""

from __future__ import annotations

import ast
import copyreg
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vortex_dsl.errors import ProgramError, did_you_mean, quoted
from vortex_dsl.frontend.evaluate import Evaluator
from vortex_dsl.frontend.program import Definition, Program
from vortex_dsl.frontend.source import Source, parse, read_source, text_source
from vortex_dsl.frontend.syntax import check_function, check_name, check_read_names, check_shadowing, check_syntax
from vortex_dsl.frontend.trace import check_traces
from vortex_dsl.frontend.vocabulary import BUILT_IN, IMPORTABLE, RESERVED, STATE
from vortex_dsl.graph.graph import PAGE_VALUES
from vortex_dsl.tunables import PLATFORM_TUNABLES, Choice, Float, Int, State, Tunable, Value, declared_budgets

_KINDS: dict[str, type[Tunable | State]] = {"Int": Int, "Float": Float, "Choice": Choice, STATE: State}
_NUMERIC = ("default", "low", "high", "log", "budget")
_PARAMETERS = {"Int": _NUMERIC, "Float": _NUMERIC, "Choice": ("default", "options"), STATE: ("axes", "init")}
_OPTIONAL = ("log", "budget", "axes", "init")
_ENTRIES = {"summarize": "def summarize(self, k, v)", "select": "def select(self, q, page)"}
MAX_STATES = 16  # of one program; each costs memory per request


def load_program(path_or_text: str | Path) -> Program:
    """Read a program from a file, or from a text (which contains a newline). Raises ProgramError."""
    return _loaded(read_source(path_or_text))


def parse_program(text: str, file: str) -> Program:
    """Load a program from its text, with `file` as the name in errors."""
    return _loaded(text_source(text, file))


def _loaded(source: Source) -> Program:
    definition = _Loader(source).definition_of(parse(source))
    program = Program(source.text, file=source.file, definition=definition)
    check_traces(program)
    return program


class _Loader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.definition = Definition(source)
        self.class_def: ast.ClassDef | None = None
        self.evaluator: Evaluator | None = None
        self.globals: dict[str, str] = dict.fromkeys(BUILT_IN, "function")  # name to what it is

    def definition_of(self, tree: ast.Module) -> Definition:
        for statement in tree.body[_is_text(tree.body[:1]) :]:
            self._top_level(statement)
        if self.class_def is None:
            self.source.refuse("there is no class; write one 'class Name(Program):' with 'select'")
        self._class_body(self.class_def)
        for function in self._all_functions():
            self._check_function(function)
        self._check_recursion()
        return self.definition

    def _all_functions(self) -> list[ast.FunctionDef]:
        given = self.definition
        return [*given.functions.values(), *given.entries.values(), *given.methods.values()]

    # The top level

    def _top_level(self, node: ast.stmt) -> None:
        if isinstance(node, ast.ImportFrom):
            self._import(node)
        elif isinstance(node, ast.Assign):
            self._module_constant(node)
        elif isinstance(node, ast.FunctionDef):
            self._declare(node.name, "function", node)
            self.definition.functions[node.name] = node
        elif isinstance(node, ast.ClassDef):
            self._class(node)
        else:
            check_syntax(self.source, node)
            self.source.refuse("only imports, constants, functions and one class stand here; leave it out", node)

    def _declare(self, name: str, what: str, node: ast.AST) -> None:
        check_name(self.source, name, node)
        check_shadowing(self.source, name, RESERVED | frozenset(self.globals), node)
        self.globals[name] = what

    def _import(self, node: ast.ImportFrom) -> None:
        if node.module != "vortex_dsl" or node.level:
            seen = quoted("." * node.level + (node.module or ""))
            self.source.refuse(f"an import from {seen} is not allowed; import only from vortex_dsl", node)
        for alias in node.names:
            if alias.asname:
                self.source.refuse(f"{quoted(alias.name)} is renamed; import names as they are", alias)
            if alias.name != "*" and alias.name not in IMPORTABLE:
                near = did_you_mean(alias.name, [*IMPORTABLE]) or "; see the table of operations"
                self.source.refuse(f"vortex_dsl has no name {quoted(alias.name)} for programs{near}", alias)
            names = IMPORTABLE if alias.name == "*" else {alias.name}
            self.definition.imported |= names
            self.globals |= {name: "value" if name in ("layer", "kv_head") else "function" for name in names}

    def _module_constant(self, node: ast.Assign) -> None:
        check_syntax(self.source, node)
        check_read_names(self.source, node, self.globals)
        for part in (part for target in node.targets for part in ast.walk(target)):
            if isinstance(part, ast.Name):
                self._declare(part.id, "value", part)
        self.definition.constants.append(node)

    def _class(self, node: ast.ClassDef) -> None:
        if self.class_def is not None:
            self.source.refuse("a second class; write exactly one, with helper functions beside it", node)
        if node.decorator_list:
            self.source.refuse("a decorator is not allowed; remove it", node.decorator_list[0])
        base = node.bases[0] if len(node.bases) == 1 else None
        if not isinstance(base, ast.Name) or base.id != "Program" or node.keywords:
            self.source.refuse(f"{quoted(node.name)} must have one base, Program; write class Name(Program):", node)
        if "Program" not in self.definition.imported:
            self.source.refuse("'Program' is not imported; add it to 'from vortex_dsl import ...'", base)
        self._declare(node.name, "class", node)
        self.class_def = node

    # The class

    def _class_body(self, node: ast.ClassDef) -> None:
        self.definition.name = node.name
        self.definition.positions[node.name] = (node.lineno, node.col_offset + 1)
        self.definition.doc = self._docstring(node)
        own: dict[str, Tunable] = {}
        states: dict[str, State] = {}
        for statement in node.body[1:]:
            if isinstance(statement, ast.FunctionDef):
                self._method(statement)
            elif isinstance(statement, ast.Assign):
                name = self._new_attribute(statement)
                declared = self._declared(name, statement.value)
                if isinstance(declared, State):
                    states[name] = declared
                    if len(states) > MAX_STATES:
                        self.source.refuse(f"more than {MAX_STATES} states; remember less", statement)
                else:
                    own[name] = declared
                    if len(budgets := declared_budgets(own)) > 1:
                        two = " and ".join(map(quoted, budgets))
                        self.source.refuse(f"{two} are both declared the budget; leave budget=True to one", statement)
            else:
                check_syntax(self.source, statement)
                self.source.refuse("only tunables and functions stand in the class; move it into a function", statement)
        if "select" not in self.definition.entries:
            self.source.refuse(f"{quoted(node.name)} has no 'select'; write {_ENTRIES['select']}:", node)
        self.definition.tunables = MappingProxyType(dict(PLATFORM_TUNABLES) | own)
        self.definition.states = MappingProxyType(states)

    def _docstring(self, node: ast.ClassDef) -> str:
        first = node.body[0]
        text = first.value.value if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) else None
        if not isinstance(text, str) or not text.strip():
            self.source.refuse(f"{quoted(node.name)} has no docstring; say the idea in its first line", node)
        idea = text.strip().split("\n")[0].strip()
        if not idea.isprintable():
            self.source.refuse(f"the docstring begins with {quoted(idea)}; write printable characters only", first)
        return idea

    def _new_attribute(self, node: ast.Assign) -> str:
        target = node.targets[0]
        if len(node.targets) > 1 or not isinstance(target, ast.Name):
            self.source.refuse("several names at once; declare one per line: name = Int(default, low, high)", node)
        self._claim(target.id, target)
        return target.id

    def _claim(self, name: str, node: ast.AST) -> None:
        """Take a name for an attribute of the class."""
        check_name(self.source, name, node)
        if name == "scale":
            self.source.refuse("'scale' is the model's softmax scale, read as self.scale; choose another name", node)
        if name in self.definition.positions and name != self.definition.name:
            self.source.refuse(f"{quoted(name)} is declared twice in the class; choose another name", node)
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1
        self.definition.positions[name] = (line, column)

    def _declared(self, name: str, node: ast.expr) -> Tunable | State:
        check_syntax(self.source, node)
        check_read_names(self.source, node, self.globals)
        kind = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if kind not in _KINDS or not isinstance(node, ast.Call):
            example = PLATFORM_TUNABLES.get(name, Int(64, 4, 1024))
            self.source.refuse(
                f"{quoted(name)} is no tunable; write {name} = {example}, or set it above the class", node
            )
        what = "state" if kind == STATE else "tunable"
        try:
            declared = self._made(kind, node)
        except ProgramError:
            raise
        except (TypeError, ValueError) as error:
            self.source.refuse(f"{what} {quoted(name)}: {error}", node)
        platform = PLATFORM_TUNABLES.get(name)
        if platform is not None and not platform.covers(declared):
            self.source.refuse(f"{quoted(name)} is the platform's; keep its kind and its range, {platform}", node)
        if kind == STATE and name in PAGE_VALUES:
            self.source.refuse(f"page.{name} is the platform's; choose another name for the state", node)
        return declared

    def _made(self, kind: str, node: ast.Call) -> Tunable | State:
        names = _PARAMETERS[kind]
        evaluator = self._known_numbers()
        positional: list[Any] = [evaluator.visit(argument, {}) for argument in node.args]
        given = dict(zip(names, positional, strict=False))
        for keyword in node.keywords:
            if keyword.arg not in names or keyword.arg in given:
                raise TypeError(f"{quoted(keyword.arg)} is unknown or given twice; write {kind}({', '.join(names)})")
            given[keyword.arg] = evaluator.visit(keyword.value, {})
        needed = [name for name in names if name not in _OPTIONAL]
        if len(positional) > len(names) or not all(name in given for name in needed):
            raise TypeError(f"the arguments do not fit; write {kind}({', '.join(needed or names)})")
        return _KINDS[kind](**given)

    def _known_numbers(self) -> Evaluator:
        """Give the one evaluator of all declarations; it knows the constants that are made without calls."""
        if self.evaluator is None:
            self.evaluator = Evaluator(self.definition, {}, None)
            for statement in self.definition.constants:
                if not _calls_something(statement):
                    self.evaluator.visit(statement, self.evaluator.constants)
        return self.evaluator

    # Functions

    def _method(self, node: ast.FunctionDef) -> None:
        self._claim(node.name, node)
        parameters = [argument.arg for argument in node.args.args]
        if parameters[:1] != ["self"]:
            self.source.refuse(f"the first parameter of {quoted(node.name)} must be self; write it there", node)
        if node.name not in _ENTRIES:
            self.definition.methods[node.name] = node
            return
        if len(parameters) != 3:
            self.source.refuse(
                f"{quoted(node.name)} takes {len(parameters)} parameters; write {_ENTRIES[node.name]}:", node
            )
        self.definition.entries[node.name] = node

    def _check_function(self, node: ast.FunctionDef) -> None:
        check_function(self.source, node, RESERVED | frozenset(self.globals))
        parameters = [argument.arg for argument in node.args.args]
        for i, argument in enumerate(node.args.args):
            if argument.arg in parameters[:i]:
                self.source.refuse(f"the parameter {quoted(argument.arg)} is there twice; rename one", argument)
        check_read_names(self.source, node, self.globals)

    def _check_recursion(self) -> None:
        """Refuse functions that can come to call themselves."""
        functions = {**self.definition.functions, **{f"self.{n}": f for n, f in self.definition.methods.items()}}
        calls = {name: _calls(function, functions.keys()) for name, function in functions.items()}
        for name, function in functions.items():
            seen: set[str] = set()
            waiting = list(calls[name])
            while waiting:
                callee = waiting.pop()
                if callee == name:
                    self.source.refuse(f"{quoted(name)} calls itself; write a loop over range(...)", function)
                if callee not in seen:
                    seen.add(callee)
                    waiting.extend(calls[callee])


def _is_text(first: list[ast.stmt]) -> bool:
    """Whether a text begins with a docstring of its own, which says nothing to the language."""
    value = first[0].value if first and isinstance(first[0], ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _calls_something(node: ast.AST) -> bool:
    called = (part.func for part in ast.walk(node) if isinstance(part, ast.Call))
    return any(_callee(func) not in BUILT_IN for func in called)


def _calls(function: ast.FunctionDef, known: Any) -> dict[str, None]:
    """Give the known functions that a function calls, `self.name` for those of the class."""
    called = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    names = (_callee(func) for func in called)
    return dict.fromkeys(name for name in names if name in known)


def _callee(func: ast.expr) -> str:
    if isinstance(func, ast.Attribute):
        return f"self.{func.attr}" if isinstance(func.value, ast.Name) and func.value.id == "self" else ""
    return func.id if isinstance(func, ast.Name) else ""


def _reloaded(text: str, file: str, overrides: tuple[tuple[str, Value], ...]) -> Program:
    return parse_program(text, file).with_values(**dict(overrides))


def _reduced(program: Program) -> tuple[Callable[..., Program], tuple[Any, ...]]:
    """Let a program travel between processes as text and values; the other side parses again."""
    return _reloaded, (program.text, program.file, program.overrides)


copyreg.pickle(Program, _reduced)
