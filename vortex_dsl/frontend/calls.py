"""Calls in a program's text: of operations, of its own functions and methods, of range and slice."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vortex_dsl.errors import did_you_mean, listed, quoted
from vortex_dsl.frontend.known import Receiver, is_known, make_range, make_slice, shown
from vortex_dsl.frontend.syntax import unknown_name
from vortex_dsl.frontend.vocabulary import BUILT_IN, FUNCTIONS, METHODS, STATE, TUNABLE_KINDS
from vortex_dsl.node import Node

if TYPE_CHECKING:
    from vortex_dsl.frontend.program import Definition

FLOW = object()  # what a statement gives when the function goes on
Scope = dict[str, Any]


class Calls(ABC):
    """What the evaluator does with a call: finds out what is called, binds the arguments, and runs it."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.constants: Scope = {}

    @abstractmethod
    def visit(self, node: ast.AST, scope: Scope) -> Any:
        """Evaluate an expression."""

    @abstractmethod
    def block(self, statements: Sequence[ast.stmt], scope: Scope) -> Any:
        """Execute statements: FLOW, or the value that one of them returns."""

    @abstractmethod
    def perform(self, op: str, operands: Sequence[Any], named: dict[str, Any] | None = None) -> Any:
        """Perform an operation of the table on symbolic values."""

    def refuse(self, message: str, node: ast.AST | None) -> Any:
        """Raise a ProgramError at the node."""
        self.definition.source.refuse(message, node)

    def call_function(self, function: ast.FunctionDef, arguments: dict[str, Any]) -> Any:
        """Run a function's body with its parameters bound; every path must return."""
        result = self.block(function.body, arguments)
        if result is FLOW:
            self.refuse(f"{quoted(function.name)} ends without 'return'; return what it computes", function)
        return result

    def call(self, node: ast.Call, scope: Scope) -> Any:
        """Evaluate a call."""
        if isinstance(node.func, ast.Attribute):
            receiver = self.visit(node.func.value, scope)
            if isinstance(receiver, Receiver):
                return self._call_of_receiver(node, receiver, node.func.attr, scope)
            return self._call_method(node, receiver, node.func.attr, scope)
        if isinstance(node.func, ast.Name):
            return self._call_name(node, node.func.id, scope)
        return self.refuse("only operations and functions can be called; call them by name", node)

    def _call_name(self, node: ast.Call, name: str, scope: Scope) -> Any:
        if name in scope or name in self.constants:
            self.refuse(f"{quoted(name)} is a variable, not a function; call an operation or a function", node)
        if name in BUILT_IN:
            return self._call_built_in(node, name, scope)
        if name in self.definition.functions:
            function = self.definition.functions[name]
            return self.call_function(function, self._bound(node, function, scope, []))
        if name not in self.definition.imported:
            self.refuse(unknown_name(name, [*self.definition.imported, *self.definition.functions, *BUILT_IN]), node)
        if name in TUNABLE_KINDS or name == STATE:
            self.refuse(f"{name}(...) here; declare tunables and states as attributes of the class", node)
        if name not in FUNCTIONS:
            self.refuse(f"{quoted(name)} cannot be called; call an operation or a function", node)
        return self.perform(name, *self._arguments(node, scope))

    def _call_built_in(self, node: ast.Call, name: str, scope: Scope) -> range | slice:
        given = [None if _is_none(argument) else self.visit(argument, scope) for argument in node.args]
        if node.keywords or not 1 <= len(given) <= 3:
            self.refuse(f"'{name}' takes one to three numbers by position; write {name}(start, stop, step)", node)
        return make_slice(given, "slice") if name == "slice" else make_range(given)

    def _call_of_receiver(self, node: ast.Call, receiver: Receiver, name: str, scope: Scope) -> Any:
        if receiver.name == "self" and name in self.definition.methods:
            function = self.definition.methods[name]
            return self.call_function(function, self._bound(node, function, scope, [receiver]))
        known = [*self.definition.methods] if receiver.name == "self" else []
        near = did_you_mean(name, known) or "; define it in the class, or call an operation by its name"
        return self.refuse(f"{quoted(receiver.name)} has no function {quoted(name)}{near}", node)

    def _call_method(self, node: ast.Call, receiver: Any, name: str, scope: Scope) -> Any:
        if not isinstance(receiver, Node) and not is_known(receiver):
            self.refuse(f"{shown(receiver)} has no function {quoted(name)}; call operations on values", node)
        if name in FUNCTIONS:
            self.refuse(f"{quoted(name)} is a function, not a method; write {name}(x, ...)", node)
        if name not in METHODS:
            near = did_you_mean(name, [*METHODS]) or "; see the table of operations"
            self.refuse(f"there is no operation {quoted(name)} on values{near}", node)
        positional, named = self._arguments(node, scope)
        return self.perform(name, [receiver, *positional], named)

    def _arguments(self, node: ast.Call, scope: Scope) -> tuple[list[Any], dict[str, Any]]:
        positional = [self.visit(argument, scope) for argument in node.args]
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            assert keyword.arg is not None, "the allow-list passes no '**'"
            if keyword.arg in named:
                self.refuse(f"the argument {quoted(keyword.arg)} is given twice; give it once", node)
            named[keyword.arg] = self.visit(keyword.value, scope)
        return positional, named

    def _bound(self, node: ast.Call, function: ast.FunctionDef, scope: Scope, first: list[Any]) -> dict[str, Any]:
        """Match a call's arguments to a function's parameters: each must be given once."""
        positional, named = self._arguments(node, scope)
        given = [*first, *positional]
        names = [argument.arg for argument in function.args.args]
        bound = dict(zip(names, given, strict=False)) | named
        if len(given) > len(names) or len(bound) < len(given) + len(named) or set(bound) != set(names):
            signature = f"{function.name}({listed(names[len(first) :])})"
            self.refuse(f"the arguments do not fit {quoted(function.name)}; write {signature}", node)
        return bound


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
