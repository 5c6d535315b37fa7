"""The evaluator: walks a program's syntax tree over symbolic values. Nothing of the text is ever executed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from vortex_dsl.errors import did_you_mean, listed, quoted
from vortex_dsl.frontend.calls import FLOW, Calls, Scope
from vortex_dsl.frontend.known import (
    Receiver,
    checked_argument,
    fold,
    is_known,
    known_condition,
    make_slice,
    no_operand,
    shown,
)
from vortex_dsl.frontend.lists import SHARED
from vortex_dsl.frontend.meter import Meter
from vortex_dsl.frontend.syntax import OPERATORS, unknown_name
from vortex_dsl.frontend.vocabulary import IMPORTED_VALUES, METHODS
from vortex_dsl.graph.graph import PAGE_VALUES
from vortex_dsl.node import Node
from vortex_dsl.values import Shape, TypeRuleError

if TYPE_CHECKING:
    from vortex_dsl.frontend.program import Definition
    from vortex_dsl.graph.builder import Builder
    from vortex_dsl.tunables import Value

MAX_ITERATIONS = 128


class Evaluator(Calls):
    """Evaluates one program for one set of values; counts its steps. Without a builder only known numbers pass."""

    def __init__(self, definition: Definition, values: dict[str, Value], builder: Builder | None) -> None:
        super().__init__(definition)
        self.fields: tuple[str, ...] = ()
        self.selecting = False  # what select alone receives is there
        self.returned: ast.AST | None = None
        self._values = values | (_of_the_model(builder.shape, {*values, *definition.states}) if builder else {})
        self._builder = builder
        self._meter = Meter()
        self._is_keeping = False  # a list that is made, so that none within it is kept by itself

    def visit(self, node: ast.AST, scope: Scope) -> Any:
        """Evaluate an expression, or execute a statement: FLOW, or the value that it returns."""
        try:
            self._meter.enter()
            self._meter.spend()
            return self._handlers[type(node)](self, node, scope)
        except TypeRuleError as error:
            self.refuse(str(error), node)
        finally:
            self._meter.leave()

    def perform(self, op: str, operands: Sequence[Any], named: dict[str, Any] | None = None) -> Any:
        """Perform an operation of the table on symbolic values."""
        if self._builder is None:
            message = f"'{op}' is not a known number here; use numbers and arithmetic on them"
            raise TypeRuleError(message)
        given = [checked_argument(op, operand) for operand in operands]
        by_name = {name: checked_argument(op, value) for name, value in (named or {}).items()}
        self._meter.spend_on((*given, *by_name.values()))
        return self._builder.call(op, given, by_name)

    # Statements

    def block(self, statements: Sequence[ast.stmt], scope: Scope) -> Any:
        """Execute statements: FLOW, or the value that one of them returns."""
        for statement in statements:
            result = self.visit(statement, scope)
            if result is not FLOW:
                return result
        return FLOW

    def _assign(self, node: ast.Assign, scope: Scope) -> object:
        value = self.visit(node.value, scope)
        for target in node.targets:
            self._bind(target, value, scope)
        return FLOW

    def _bind(self, target: ast.expr, value: Any, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = value
            return
        assert isinstance(target, ast.Tuple | ast.List), "the allow-list passes no other targets"
        if not isinstance(value, list | tuple | range) or len(value) != len(target.elts):
            self.refuse(f"{len(target.elts)} names for {shown(value)}; give as many elements as names", target)
        for element, part in zip(target.elts, value, strict=True):
            self._bind(element, part, scope)

    def _update(self, node: ast.AugAssign, scope: Scope) -> object:
        assert isinstance(node.target, ast.Name), "the allow-list passes no other targets"
        old = self._name(node.target, scope)
        scope[node.target.id] = self._operate("add", [old, self.visit(node.value, scope)])
        return FLOW

    def _return(self, node: ast.Return, scope: Scope) -> Any:
        assert node.value is not None, "the allow-list passes no empty return"
        result = self.visit(node.value, scope)
        self.returned = node.value
        return result

    def _for(self, node: ast.For, scope: Scope) -> Any:
        for item in self._sequence(node.iter, scope):
            self._bind(node.target, item, scope)
            result = self.block(node.body, scope)
            if result is not FLOW:
                return result
        return FLOW

    def _if(self, node: ast.If, scope: Scope) -> Any:
        return self.block(node.body if self._holds(node.test, scope) else node.orelse, scope)

    # What must be known while tracing

    def _holds(self, node: ast.expr, scope: Scope) -> bool:
        value = self.visit(node, scope)
        if isinstance(value, Node):
            self.refuse("this is not known while tracing; choose per element with where(condition, a, b)", node)
        if not is_known(value):
            self.refuse(f"{shown(value)} is no condition; compare numbers", node)
        return bool(value)

    def _sequence(self, node: ast.expr, scope: Scope) -> Sequence[Any]:
        value = self.visit(node, scope)
        if not isinstance(value, list | tuple | range):
            self.refuse(f"{shown(value)} is not a list; loop over range(...) or a literal list", node)
        if len(value) > MAX_ITERATIONS:
            self.refuse(f"{len(value)} iterations; a loop has at most {MAX_ITERATIONS}", node)
        return value

    # Expressions

    def _constant(self, node: ast.Constant, _scope: Scope) -> Any:
        if node.value is None:
            self.refuse("None is only an argument of slice(...); use a number", node)
        return node.value

    def _name(self, node: ast.Name, scope: Scope) -> Any:
        for names in (scope, self.constants):
            if node.id in names:
                return names[node.id]
        if node.id in self.definition.imported and node.id in IMPORTED_VALUES:
            return Receiver(node.id)
        return self.refuse(unknown_name(node.id, [*scope, *self.constants]), node)

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Any:
        value = self.visit(node.value, scope)
        if not isinstance(value, Receiver):
            hint = f"; call it: x.{node.attr}(...)" if node.attr in METHODS else did_you_mean(node.attr, [*METHODS])
            hint = hint or "; values have only the methods of the operation table"
            self.refuse(f"{shown(value)} has no attribute {quoted(node.attr)}{hint}", node)
        known = self._attributes_of(value)
        if node.attr not in known:
            if value.name == "self" and node.attr in self.definition.states:
                self.refuse(f"the state {quoted(node.attr)} belongs to the pages; write page.{node.attr}", node)
            near = did_you_mean(node.attr, known) or f"; it has {listed(known)}"
            self.refuse(f"{quoted(value.name)} has no {quoted(node.attr)}{near}", node)
        if value.name == "self":
            return self._of_self(node)
        return self._input(f"{value.name}.{node.attr}")

    def _attributes_of(self, receiver: Receiver) -> list[str]:
        if receiver.name == "self":
            return [*self._values, "scale", *self.definition.methods]
        return [*IMPORTED_VALUES.get(receiver.name, (*PAGE_VALUES, *self.fields, *self.definition.states))]

    def _of_self(self, node: ast.Attribute) -> Any:
        if node.attr in self.definition.methods:
            self.refuse(f"{quoted(node.attr)} is a function and can only be called; write self.{node.attr}(...)", node)
        return self._input("scale") if node.attr == "scale" else self._values[node.attr]

    def _input(self, name: str) -> Node:
        if self._builder is None or not self.selecting:
            message = f"'{name}' here; a page's fields come from its k and v alone, use it in select"
            raise TypeRuleError(message)
        return self._builder.input(name)

    def _operate(self, op: str, operands: list[Any]) -> Any:
        strings = [operand for operand in operands if isinstance(operand, str)]
        if len(strings) == len(operands) > 1 and op in ("eq", "ne"):
            return (strings[0] == strings[1]) is (op == "eq")
        for operand in operands:
            if not isinstance(operand, Node) and not is_known(operand):
                raise TypeRuleError(no_operand(op, operand))
        if not any(isinstance(operand, Node) for operand in operands):
            return fold(op, operands)
        if op == "floordiv":
            message = "'//' of a value that is not known while tracing; write floor(a / b)"
            raise TypeRuleError(message)
        return self.perform(op, operands)

    def _binary(self, node: ast.BinOp, scope: Scope) -> Any:
        return self._operate(OPERATORS[type(node.op)], [self.visit(node.left, scope), self.visit(node.right, scope)])

    def _unary(self, node: ast.UnaryOp, scope: Scope) -> Any:
        if isinstance(node.op, ast.Not):
            value = self.visit(node.operand, scope)
            if isinstance(value, Node):
                self.refuse("'not' of a value that is not known while tracing; write ~x", node)
            return fold("eq", [known_condition(value), 0])
        return self._operate(OPERATORS[type(node.op)], [self.visit(node.operand, scope)])

    def _compare(self, node: ast.Compare, scope: Scope) -> Any:
        left = self.visit(node.left, scope)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.visit(comparator, scope)
            result = self._operate(OPERATORS[type(op)], [left, right])
            if isinstance(result, Node) and len(node.ops) > 1:
                self.refuse("a chain of comparisons of values; write (a < b) & (b < c)", node)
            if result is False:
                return False
            left = right
        return result

    def _logic(self, node: ast.BoolOp, scope: Scope) -> Any:
        is_and = isinstance(node.op, ast.And)
        value: Any = is_and
        for operand in node.values:
            value = self.visit(operand, scope)
            if isinstance(value, Node):
                word, sign = ("and", "&") if is_and else ("or", "|")
                self.refuse(f"'{word}' of a value that is not known while tracing; write a {sign} b", operand)
            if bool(known_condition(value)) is not is_and:
                return value
        return value

    def _choice(self, node: ast.IfExp, scope: Scope) -> Any:
        return self.visit(node.body if self._holds(node.test, scope) else node.orelse, scope)

    def _elements(self, node: ast.List | ast.Tuple, scope: Scope) -> list[Any] | tuple[Any, ...]:
        elements = [self.visit(element, scope) for element in node.elts]
        return elements if isinstance(node, ast.List) else tuple(elements)

    def _dict(self, node: ast.Dict, scope: Scope) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            assert isinstance(key, ast.Constant), "the allow-list passes no other keys"
            assert isinstance(key.value, str), "the allow-list passes no other keys"
            if key.value in result:
                self.refuse(f"the key {quoted(key.value)} is given twice; choose another name", key)
            result[key.value] = self.visit(value, scope)
        return result

    def _comprehension(self, node: ast.ListComp, scope: Scope) -> list[Any]:
        """Make a list, or take the one that was made in the same way before, for what it took."""
        key = None if self._is_keeping else self.definition.lists.key(node, scope, self.constants, self._values)
        if key is None:
            return self._listed(node, scope)
        kept = SHARED.get(key)
        if kept is not None and self._meter.covers(kept.spent):  # else it is refused where it passes the bound
            self._meter.spend(kept.spent.num_steps)
            return kept.numbers
        self._is_keeping = True
        try:
            result, spent = self._meter.measured(lambda: self._listed(node, scope))
        finally:
            self._is_keeping = False
        SHARED.keep(key, result, spent)
        return result

    def _listed(self, node: ast.ListComp, scope: Scope) -> list[Any]:
        result: list[Any] = []
        self._generate(node, node.generators, dict(scope), result)
        return result

    def _generate(self, node: ast.ListComp, rest: list[ast.comprehension], scope: Scope, result: list[Any]) -> None:
        if not rest:
            result.append(self.visit(node.elt, scope))
            return
        self._meter.enter()
        for item in self._sequence(rest[0].iter, scope):
            self._bind(rest[0].target, item, scope)
            if all(self._holds(condition, scope) for condition in rest[0].ifs):
                self._generate(node, rest[1:], scope, result)
        self._meter.leave()

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Any:
        value = self.visit(node.value, scope)
        if isinstance(value, Node):
            self.refuse('values have named axes and no positions; write x.take("dim", [0]) or a slice', node)
        index = self.visit(node.slice, scope)
        key_fits = isinstance(value, list | tuple | range) and isinstance(index, int | slice)
        if not key_fits and not (isinstance(value, dict) and isinstance(index, str)):
            self.refuse(f"{shown(value)} indexed by {shown(index)}; index known lists by known whole numbers", node)
        try:
            result = value[index]
        except (IndexError, KeyError, ValueError):
            return self.refuse(f"{shown(value)} has no element {shown(index)}; use one that exists", node)
        if isinstance(index, slice):
            self._meter.spend_on([result])
        return result

    def _slice(self, node: ast.Slice, scope: Scope) -> slice:
        bounds = [part and self.visit(part, scope) for part in (node.lower, node.upper, node.step)]
        return make_slice(bounds)

    _handlers: ClassVar[dict[type[ast.AST], Callable[[Evaluator, Any, Scope], Any]]] = {
        ast.Assign: _assign,
        ast.AugAssign: _update,
        ast.Return: _return,
        ast.For: _for,
        ast.If: _if,
        ast.Constant: _constant,
        ast.Name: _name,
        ast.Attribute: _attribute,
        ast.BinOp: _binary,
        ast.UnaryOp: _unary,
        ast.Compare: _compare,
        ast.BoolOp: _logic,
        ast.IfExp: _choice,
        ast.List: _elements,
        ast.Tuple: _elements,
        ast.Dict: _dict,
        ast.ListComp: _comprehension,
        ast.Subscript: _subscript,
        ast.Slice: _slice,
        ast.Call: Calls.call,
    }


def _of_the_model(shape: Shape, taken: set[str]) -> dict[str, Value]:
    """Give what `self` knows of the model: `group` and `head_dim`, unless a tunable or a state has the name."""
    return {name: number for name, number in asdict(shape).items() if name not in taken}
