"""A program's text as a syntax tree to change, and back. The tree is read and written, never executed."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.agents.drawing.draft import imports
from vortex_dsl.frontend.source import parsed
from vortex_dsl.frontend.vocabulary import STATE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet


@dataclass
class Source:
    """A loaded program's tree, free to change, and the head dimension that it is meant for.

    Only texts that `load_program` accepts have one.
    """

    tree: ast.Module
    head_dim: int

    @classmethod
    def parse(cls, text: str, head_dim: int) -> Source:
        """Read a text; a docstring of its own, which stands before the imports, is left out."""
        tree = parsed(text)
        tree.body = [node for node in tree.body if not isinstance(node, ast.Expr)]
        return cls(tree, head_dim)

    @property
    def program(self) -> ast.ClassDef:
        """The class."""
        return next(node for node in self.tree.body if isinstance(node, ast.ClassDef))

    def method(self, name: str) -> ast.FunctionDef | None:
        """Give a method, None if the program has none of this name."""
        methods = (node for node in self.program.body if isinstance(node, ast.FunctionDef))
        return next((node for node in methods if node.name == name), None)

    @property
    def has_helpers(self) -> bool:
        """Whether there are functions or methods beside summarize and select."""
        methods = [node.name for node in self.program.body if isinstance(node, ast.FunctionDef)]
        return any(isinstance(n, ast.FunctionDef) for n in self.tree.body) or not set(methods) <= {
            "summarize",
            "select",
        }

    @property
    def constants(self) -> list[ast.stmt]:
        """The assignments outside the class."""
        return [node for node in self.tree.body if isinstance(node, ast.Assign)]

    @property
    def tunables(self) -> dict[str, ast.Call]:
        """The tunables that the text declares, by name."""
        return {name: call for name, call in self._declared.items() if _called(call) != STATE}

    @property
    def states(self) -> dict[str, ast.Call]:
        """The states that the text declares, by name."""
        return {name: call for name, call in self._declared.items() if _called(call) == STATE}

    @property
    def _declared(self) -> dict[str, ast.Call]:
        found = {}
        for node in self.program.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                target = node.targets[0]
                assert isinstance(target, ast.Name)
                found[target.id] = node.value
        return found

    @property
    def fields(self) -> ast.Dict | None:
        """The fields that summarize returns, None where they are not written as one literal."""
        summarize = self.method("summarize")
        last = summarize.body[-1] if summarize else None
        return last.value if isinstance(last, ast.Return) and isinstance(last.value, ast.Dict) else None

    @property
    def field_names(self) -> list[str]:
        """The names of the fields, as far as summarize writes them as one literal."""
        keys = self.fields.keys if self.fields else []
        return [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]

    @property
    def local_names(self) -> list[str]:
        """The names that select assigns, in order."""
        select = self.method("select")
        nodes = ast.walk(select) if select else ()
        return [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]

    def add_field(self, name: str, value: ast.expr) -> None:
        """Add a field; one needs `fields`, or no summarize at all."""
        if self.method("summarize") is None:
            function = parsed("def summarize(self, k, v):\n    return {}").body[0]
            body = self.program.body
            body.insert(next(i for i, node in enumerate(body) if isinstance(node, ast.FunctionDef)), function)
        fields = self.fields
        assert fields is not None, "summarize must return one literal"
        fields.keys.append(ast.Constant(name))
        fields.values.append(value)

    def declare(self, name: str, tunable: str) -> None:
        """Declare a tunable or a state, in place of one of the same name."""
        line = parsed(f"{name} = {tunable}").body[0]
        body = self.program.body
        for i, node in enumerate(body):
            if assigned(node) == name:
                body[i] = line
                return
        body.insert(1, line)

    def undeclare(self, names: AbstractSet[str]) -> None:
        """Leave out the declarations of tunables and states."""
        self.program.body = [node for node in self.program.body if assigned(node) not in names]

    def define(self, name: str, value: str) -> None:
        """Define a constant before the class, unless it is there."""
        if name not in map(assigned, self.constants):
            self.tree.body.insert(self.tree.body.index(self.program), parsed(f"{name} = {value}").body[0])

    def bake(self, values: Mapping[str, float | int | str], platform: Mapping[str, str]) -> None:
        """Make values the defaults. `platform` says how to declare a tunable that the text leaves to the platform."""
        for name, value in values.items():
            call = self.tunables.get(name)
            if call is None:
                self.declare(name, platform[name])
                call = self.tunables[name]
            set_default(call, value)

    def describe(self, name: str, idea: str, change: str) -> None:
        """Name the class and write its docstring: the idea, then what was changed."""
        text = f"{idea}\n\n    {change}\n    " if change else idea
        self.program.name = name
        self.program.body[0] = ast.Expr(ast.Constant(text))

    @property
    def idea(self) -> str:
        """The first line of the docstring."""
        return (ast.get_docstring(self.program) or "").split("\n")[0]

    @property
    def stem(self) -> str:
        """The class name without the number that tells descendants apart."""
        return re.sub(r"\d+$", "", self.program.name) or "Program"

    def text(self) -> str:
        """Write the text, with the import line that it needs."""
        rest = [node for node in self.tree.body if not isinstance(node, ast.ImportFrom)]
        body = ast.unparse(ast.fix_missing_locations(ast.Module(rest, [])))
        return f"{imports(body)}\n\n\n{body}\n"


def assigned(node: ast.stmt) -> str:
    """Give the name that a statement assigns, nothing where it is another statement."""
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return target.id if isinstance(target, ast.Name) else ""


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def set_default(tunable: ast.Call, value: float | int | str) -> None:
    """Give a tunable another default."""
    keyword = next((each for each in tunable.keywords if each.arg == "default"), None)
    if keyword is not None:
        keyword.value = ast.Constant(value)
    else:
        tunable.args[0] = ast.Constant(value)
