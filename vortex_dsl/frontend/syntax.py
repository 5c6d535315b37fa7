"""The allow-list: which parts of Python's syntax a program may use, and what to write in place of the others."""

from __future__ import annotations

import ast

from vortex_dsl.errors import did_you_mean, quoted
from vortex_dsl.frontend.source import Source
from vortex_dsl.values import LARGEST

OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Mod: "mod",
    ast.Pow: "pow",
    ast.FloorDiv: "floordiv",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.USub: "neg",
    ast.Invert: "invert",
}
"""Operators by syntax, named as in the operation table; `//` is there for known numbers only."""

STATEMENTS = (ast.Assign, ast.AugAssign, ast.Return, ast.For, ast.If)
_PARTS = (
    ast.expr_context,
    ast.boolop,
    ast.comprehension,
    ast.keyword,
    ast.arguments,
    ast.arg,
    ast.And,
    ast.Not,
    ast.Or,
)
_EXPRESSIONS = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.IfExp, ast.Call),
    *(ast.Subscript, ast.Slice, ast.List, ast.Tuple, ast.Dict, ast.ListComp),
)
_ALLOWED = (*STATEMENTS, *_EXPRESSIONS, *_PARTS, *OPERATORS)

_REMEDIES: dict[type[ast.AST], str] = {
    ast.Import: "import only with 'from vortex_dsl import ...'",
    ast.ImportFrom: "import at the top of the text, with 'from vortex_dsl import ...'",
    ast.Expr: "bare expressions do nothing; assign or return it, and write remarks as comments",
    ast.While: "write 'for i in range(...)' over a known number",
    ast.Lambda: "write a helper function with 'def'",
    ast.FunctionDef: "define functions at the top level or in the class",
    ast.ClassDef: "write exactly one class, at the top level",
    ast.AnnAssign: "assign without an annotation",
    ast.NamedExpr: "assign on a line of its own",
    ast.GeneratorExp: "write a list comprehension in brackets",
    ast.SetComp: "write a list comprehension in brackets",
    ast.DictComp: "write a list comprehension in brackets, or a literal dict",
    ast.Starred: "name the elements one by one",
    ast.JoinedStr: "write a plain string",
    ast.Pass: "leave the statement out",
    ast.Break: "end the loop by its range",
    ast.Continue: "use 'if'",
    ast.Assert: "leave it out; what a program needs is checked when it is loaded",
    ast.Raise: "leave it out; what a program needs is checked when it is loaded",
    ast.Match: "use 'if'",
    ast.Is: "compare with '=='",
    ast.IsNot: "compare with '!='",
    ast.In: "compare with '==' and 'or'",
    ast.NotIn: "compare with '!=' and 'and'",
    ast.UAdd: "leave the '+' out",
    ast.MatMult: 'write dot(a, b, "dim")',
    ast.BitXor: "write a != b for booleans, a ** b for a power",
    ast.LShift: "multiply by 2 ** n",
    ast.RShift: "divide by 2 ** n",
}
_NAMES: dict[type[ast.AST], str] = {
    ast.Expr: "a bare expression",
    ast.AnnAssign: "an annotation",
    ast.NamedExpr: "':='",
    ast.GeneratorExp: "a generator expression",
    ast.JoinedStr: "string formatting",
    ast.Starred: "a starred expression",
    ast.FunctionDef: "a function inside a function",
    ast.ClassDef: "a class inside a class or function",
    ast.AsyncFunctionDef: "'async def'",
    ast.ImportFrom: "an import here",
    ast.MatMult: "'@'",
    ast.BitXor: "'^'",
    ast.LShift: "'<<'",
    ast.RShift: "'>>'",
    ast.IsNot: "'is not'",
    ast.NotIn: "'not in'",
}


def check_syntax(source: Source, root: ast.AST) -> None:
    """Refuse everything below root that the allow-list does not name."""
    stack = [(root, root)]
    while stack:
        node, parent = stack.pop()
        _check_node(source, node, node if hasattr(node, "lineno") else parent)
        stack.extend((child, node if hasattr(node, "lineno") else parent) for child in ast.iter_child_nodes(node))


def _check_node(source: Source, node: ast.AST, at: ast.AST) -> None:
    if not isinstance(node, _ALLOWED):
        remedy = _REMEDIES.get(type(node), "see the list of what a program may use")
        source.refuse(f"{described(node)} is not allowed; {remedy}", at)
    for name in _names_in(node):
        check_name(source, name, at)
    if isinstance(node, ast.Constant):
        _check_constant(source, node)
    elif isinstance(node, ast.AugAssign) and not isinstance(node.op, ast.Add):
        source.refuse("only '+=' may update a name; write it out, as in 'x = x * 2'", node)
    elif isinstance(node, ast.For) and node.orelse:
        source.refuse("'else' of a loop is not allowed; write what follows after the loop", node.orelse[0])
    elif isinstance(node, ast.Return) and node.value is None:
        source.refuse("'return' without a value; return what the function computes", node)
    elif isinstance(node, ast.keyword) and node.arg is None:
        source.refuse("'**' in a call is not allowed; write the arguments out", node)
    elif isinstance(node, ast.comprehension) and node.is_async:
        source.refuse("'async' is not allowed; write a plain comprehension", at)
    elif isinstance(node, ast.Dict) and not all(map(_is_string, node.keys)):
        source.refuse('a dict\'s keys must be strings written out; write {"name": value}', node)
    elif isinstance(node, ast.Assign | ast.AugAssign | ast.For | ast.comprehension):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            _check_target(source, target)


def described(node: ast.AST) -> str:
    """Say what a piece of syntax is, for a message."""
    return _NAMES.get(type(node), f"'{type(node).__name__.lower().removeprefix('async')}'")


def _names_in(node: ast.AST) -> list[str]:
    """Give the names that a node itself spells out."""
    given = (getattr(node, attribute, None) for attribute in ("id", "attr", "arg", "name"))
    return [name for name in given if isinstance(name, str)]


def check_name(source: Source, name: str, at: ast.AST) -> None:
    """Refuse names that reach behind the language, and those of absurd length."""
    if name.startswith("_") or name.endswith("_"):
        source.refuse(f"the name {quoted(name)} has an underscore at an end; choose another name", at)
    if len(name) > 64:
        source.refuse(f"the name {quoted(name)} has {len(name)} characters; use at most 64", at)


def _check_constant(source: Source, node: ast.Constant) -> None:
    value = node.value
    if isinstance(value, int | float) and not abs(value) <= LARGEST:
        source.refuse("a number is out of bounds; keep numbers within ±2**31", node)
    if value is not None and not isinstance(value, int | float | str):
        source.refuse(f"a {type(value).__name__} is not allowed; use numbers, booleans and strings", node)


def _is_string(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _check_target(source: Source, target: ast.AST) -> None:
    if isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            _check_target(source, element)
    elif not isinstance(target, ast.Name | ast.Starred):
        source.refuse("only names can be assigned to; write 'name = ...'", target)


def check_function(source: Source, function: ast.FunctionDef, reserved: frozenset[str]) -> None:
    """Refuse a function's decorators, defaults, annotations and starred parameters, then its body."""
    arguments = function.args
    if function.decorator_list:
        source.refuse("a decorator is not allowed; remove it", function.decorator_list[0])
    if arguments.defaults or any(arguments.kw_defaults):
        source.refuse("a default is not allowed; pass every argument", function)
    if arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg:
        source.refuse("only plain parameters are allowed; write '*', '/' and '**' out as names", function)
    for annotated in (argument.annotation for argument in arguments.args):
        if annotated is not None:
            source.refuse("an annotation is not allowed; remove it", annotated)
    if function.returns is not None:
        source.refuse("an annotation is not allowed; remove it", function.returns)
    check_name(source, function.name, function)
    for part in (arguments, *function.body):
        check_syntax(source, part)
    for name, at in assigned_names(function):
        check_shadowing(source, name, reserved, at)


def check_shadowing(source: Source, name: str, reserved: frozenset[str], at: ast.AST) -> None:
    """Refuse a new meaning for a name that the language or the program's top level already uses."""
    if name in reserved:
        source.refuse(f"{quoted(name)} already means something; choose another name", at)


def assigned_names(root: ast.AST) -> list[tuple[str, ast.AST]]:
    """Give the parameters and the assigned names below root, each with its place."""
    found: list[tuple[str, ast.AST]] = []
    for node in ast.walk(root):
        if isinstance(node, ast.arg):
            found.append((node.arg, node))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append((node.id, node))
    return found


def check_read_names(source: Source, root: ast.AST, known: dict[str, str]) -> None:
    """Refuse names that root does not bind itself and that are not among the known ones (name to what it is)."""
    own = {name for name, _ in assigned_names(root)}
    called = {node.func for node in ast.walk(root) if isinstance(node, ast.Call)}
    for node in ast.walk(root):
        if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load) or node.id in own:
            continue
        if node.id not in known:
            source.refuse(unknown_name(node.id, [*own, *known]), node)
        if known[node.id] == "function" and node not in called:
            source.refuse(f"{quoted(node.id)} is a function and can only be called; write {node.id}(...)", node)


def unknown_name(name: str, known: list[str]) -> str:
    """Say that a name is not there, and how it could be."""
    from vortex_dsl.frontend.vocabulary import FOREIGN, IMPORTABLE, METHODS

    if name in FOREIGN:
        return f"Python's {quoted(name)} is not in the language; {FOREIGN[name]}"
    if name in IMPORTABLE:
        return f"{quoted(name)} is not imported; add it to 'from vortex_dsl import ...'"
    if name in METHODS:
        return f"{quoted(name)} is a method of values; write x.{name}(...)"
    near = did_you_mean(name, known) or "; assign it first, or take it from 'from vortex_dsl import ...'"
    return f"the name {quoted(name)} is not known here{near}"
