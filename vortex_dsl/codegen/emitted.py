"""Emitted text -> kernels: checked against an allow-list, written to a private file, loaded.

Triton reads the source of a kernel back from its file. The folder belongs to this process alone and is removed with
it, so nobody else's file is ever loaded; Triton's own cache, keyed by the text, keeps what was compiled.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import importlib.util
import re
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from vortex_dsl.errors import CompilerError
from vortex_dsl.frontend.source import parsed

_NAME = re.compile(r"[a-z][a-z0-9_]*_[0-9]+")
_COMMENT = re.compile(r"# [a-z0-9_ ,:>\[\]-]+")
_TL = (
    *("program_id", "arange", "load", "store", "full", "where", "sum", "cumsum", "exp", "log", "sqrt_rn", "abs"),
    *("dot", "div_rn", "permute", "reshape", "floor", "float32", "float16", "int32", "int64", "int8", "uint8"),
    *("join", "minimum"),
)
_CALLED = ("kernels.arithmetic", "kernels.dependent")
_STRINGS = ("inf", "-inf", "nan", "tf32x3")
_BUILT_IN = ("float", "range")
_NODES = (
    *(ast.Assign, ast.Expr, ast.For, ast.If, ast.Return, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.keyword),
    *(ast.Subscript, ast.Slice, ast.Tuple, ast.Name, ast.Attribute, ast.Constant, ast.expr_context),
    *(ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift),
    *(ast.USub, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq),
)


@lru_cache(maxsize=1)
def helpers() -> frozenset[str]:
    """Give the names of the functions that emitted kernels may call: the jitted ones of two files."""
    found: set[str] = set()
    for name in _CALLED:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        functions = [
            each for each in parsed(Path(spec.origin).read_text("utf-8")).body if isinstance(each, ast.FunctionDef)
        ]
        found |= {each.name for each in functions if [ast.unparse(x) for x in each.decorator_list] == ["triton.jit"]}
    return frozenset(found)


class EmissionError(CompilerError):
    """Emitted text that the allow-list refuses."""


def check_emitted(text: str) -> None:
    """Refuse text that is anything but kernels made of names, numbers and calls that emission uses, and comments."""
    for line in text.splitlines():
        if "#" in line and not _COMMENT.fullmatch(line):
            message = f"emitted code has a comment that no kernel needs: {line:.80}"
            raise EmissionError(message)
    for statement in parsed(text).body:
        if not isinstance(statement, ast.FunctionDef):
            raise _refused(statement)
        _check_function(statement)


def _check_function(function: ast.FunctionDef) -> None:
    arguments = function.args
    plain = not (arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs)
    names = [function.name, *(argument.arg for argument in arguments.args)]
    bare = not (arguments.defaults or function.returns or any(argument.annotation for argument in arguments.args))
    decorated = [ast.unparse(decorator) for decorator in function.decorator_list] == ["triton.jit"]
    if not (plain and bare and decorated and all(map(_NAME.fullmatch, names))):
        raise _refused(function)
    for statement in function.body:
        for node in ast.walk(statement):
            if not (isinstance(node, _NODES) and _is_harmless(node)):
                raise _refused(node)


def _is_harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        known = node.id in helpers() or node.id in _BUILT_IN or node.id == "tl"
        return _NAME.fullmatch(node.id) is not None or (known and isinstance(node.ctx, ast.Load))
    if isinstance(node, ast.Attribute):
        of_tl = isinstance(node.value, ast.Name) and node.value.id == "tl"
        return isinstance(node.ctx, ast.Load) and (node.attr in _TL if of_tl else node.attr == "to")
    if isinstance(node, ast.Constant):
        return node.value in _STRINGS if isinstance(node.value, str) else _is_number(node.value)
    if isinstance(node, ast.keyword):
        return node.arg in ("mask", "other", "input_precision")
    if isinstance(node, ast.For):
        return not node.orelse
    if isinstance(node, ast.If):
        return not node.orelse and [ast.unparse(statement) for statement in node.body] == ["return"]
    if isinstance(node, ast.Return):
        return node.value is None
    return True


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _refused(node: ast.AST) -> EmissionError:
    line = getattr(node, "lineno", 0)
    return EmissionError(f"emitted code has something that no kernel needs at line {line}: {ast.unparse(node):.80}")


@lru_cache(maxsize=1)
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="vortex-emitted-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@lru_cache(maxsize=1024)
def load_kernels(text: str) -> dict[str, Any]:
    """Check emitted text and load it: the kernels by name. The same text is loaded once per process."""
    check_emitted(text)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = _folder() / f"emitted_{digest}.py"
    path.write_text(text, "utf-8")
    spec = importlib.util.spec_from_file_location(f"vortex_emitted_{digest}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__dict__.update(_surroundings())
    spec.loader.exec_module(module)
    return {name: value for name, value in vars(module).items() if _NAME.fullmatch(name)}


def _surroundings() -> dict[str, Any]:
    """Give the only names that emitted kernels find: they import nothing themselves."""
    import triton
    import triton.language as tl

    from kernels import arithmetic, dependent

    called = vars(arithmetic) | vars(dependent)
    return {"triton": triton, "tl": tl, **{name: called[name] for name in helpers()}}
