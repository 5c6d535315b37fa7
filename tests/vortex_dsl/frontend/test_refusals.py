"""Every place in the language that refuses something is reached by a text, and says what was seen and what to do."""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import vortex_dsl
from vortex_dsl import ProgramError, Shape, load_program, trace

PACKAGE = Path(vortex_dsl.__file__).parent
FILES = (
    *("tunables.py", "values.py", "graph/builder.py", "graph/interner.py"),
    *(f"{folder}/{path.name}" for folder in ("frontend", "ops") for path in sorted((PACKAGE / folder).glob("*.py"))),
)
RAISERS = ("refuse", "refuse_at", "TypeRuleError", "ProgramError", "ValueError", "TypeError")
# Reached from Python only, never by a text; each has a test of its own beside the function.
FROM_PYTHON = {
    "ops/codes.py:_reload_rule",  # operations that only passes make
    "frontend/vocabulary.py:__call__",  # a word of the language, called in Python
    "values.py:check_size",  # sizes of models and workloads
    "graph/builder.py:input",  # the evaluator names what a program receives before it asks
}


def beside(name: str) -> ModuleType:
    """Import a test module of this folder."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile = beside("test_hostile")


@dataclass(frozen=True)
class Site:
    """A call that refuses: where it is, and in which function."""

    file: str
    function: str
    lines: range

    def __str__(self) -> str:
        return f"{self.file}:{self.lines.start} in {self.function}"


def sites() -> list[Site]:
    """Find every call that makes or raises an error which a text can cause."""
    found = []
    for file in FILES:
        tree = ast.parse((PACKAGE / file).read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name not in RAISERS]
        calls = [(function.name, node) for function in functions for node in own_nodes(function)]
        found += [
            Site(file, name, range(node.lineno, (node.end_lineno or 0) + 1))
            for name, node in calls
            if isinstance(node, ast.Call) and callee(node) in RAISERS
        ]
    return found


def own_nodes(function: ast.FunctionDef) -> list[ast.AST]:
    """Give the nodes of a function without those of functions in it."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef):
            found.append(node)
            waiting += ast.iter_child_nodes(node)
    return found


def callee(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def frames(error: BaseException | None) -> set[tuple[str, int]]:
    """Give the lines that an error and those before it went through."""
    passed = set()
    while error is not None:
        place = error.__traceback__
        while place is not None:
            passed.add((place.tb_frame.f_code.co_filename, place.tb_lineno))
            place = place.tb_next
        error = error.__context__
    return passed


WIDE = "x = q\n" + "".join(f"x = x * vector([1], 'a{i}')\n" for i in range(15))
BODIES = (
    *("x = 1 if [1] else 2", "x = 'a' or 1", "x = not 'a'", "for i in range(2.5):\n    x = i", "x = range(0, 9, 0)"),
    *("x = [1, 2][::0]", "x = topk(self, 1)", "x, y = 1, 2, 3", "x = 1 if q else 2", "for i in 3:\n    x = i"),
    *("y = x\nx = 1", "y = late(1)\nlate = 2", "x = self.pags", "x = page.reserve", "x = self.helper", "x = not q"),
    *("x = 0 < q < 1", "x = q and q", "x = q or q", "x = {'a': 1, 'a': 2}", "x = q[0]", "x = q.sum('dim')('head')"),
    *("x = 1\ny = x(2)", "x = range()", "x = slice(1, step=2)", "x = q.summ('dim')", "x = q.exp()", "x = [1][1]"),
    *("x = maximum(q, b=1, b=2)", "x = self.helper(1, 2)", "x = self.helper(x=1)", "x = log(0)", "x = self.last"),
    *("return [1]", "return q", "x = maximum([1, 2], q)", "return topk(page.last, 1)", "x = 1 & 2", "x = q // 2"),
    *("x = q & True", "x = exp(1000)", "x = [i async for i in q]", "x = 'a", "x = q.take('dim', [64])"),
    *(
        "x = q.split('page', a=2)",
        "x = q.take('head', [0])",
        "x = q.split('dim', a=3)",
        "x = q.split('dim', dim=2)",
        "x = q.top('dim', -1)",
    ),
    *("x = page.k.top('page', 2)", "x = q.cumsum('dim')", "x = page.index.smooth('page', [1, 2])"),
    *("x = q.sum('dim', 'dim')", "x = q.sum('zzz')", "x = q.sum(dim='head')", "x = exp(topk(page.index, 1))"),
    *("x = maximum(q)", "x = maximum(q, c=1)", "x = exp(q, q)", "x = union(q, q)", "return topk(q, 1)"),
    *("return topk(page.index, q)", "x = topk(page.index, 1).remember(zzz=1)", "x = q.remember(last=1)"),
    *("x = topk(page.index, 1).remember(last=q)", "x = topk(page.index, 1).remember(last=1).remember(last=2)"),
    *("x = union(topk(page.index, 1).remember(last=1), every_page())", "x = vector([1, 2], 'dim') * q"),
    *("x = matrix([range(128) for i in range(128)], 'a', 'b')", "x = vector([1, 2], 'page')", "x = q.sum"),
    *("x = stack('part')", "x = stack([q for i in range(65) for j in range(2)], 'part')", "x = stack(q, q, 'page')"),
    *(
        "x = exp(30)",
        WIDE,
        "r = every_page()\nfor i in range(9):\n    r = union(r, refine(r, page.index, i))\nreturn r",
    ),
)
BESIDE = "    last = State()\n\n    def helper(self, x):\n        return x\n"
TOPS = (
    *(("return 1", ""), ("x = 1\nx += 1", ""), ("for i in [1]:\n    x = i", ""), ("if 1:\n    x = 1", "")),
    ("def f(x):\n    if x:\n        return 1\n", "    def g(self):\n        return f(0)\n"),
    *(("", "    pages = Int(maximum(1, 2), 1, 2)\n"), ("", "    a = b = Int(1, 1, 2)\n")),
    *(("", "    pages = Int('a', 1, 2)\n"), ("", "    pages = Int(True, 1, 2)\n"), ("", "    x = Float('a', 1, 2)\n")),
    *(("", "    x = Float(3, 1, 2)\n"), ("", "    x = Float(1, 2)\n"), ("", "    x = Choice(1, (1, 1))\n")),
    *(("", "    x = Choice('\\n', ('\\n', 'a'))\n"), ("", "    x = State(init='a')\n")),
    *(("", "    def f(x):\n        return x\n"), ("", "    def f():\n        return 1\n")),
    *(
        ("", "    if 1:\n        x = 1\n"),
        ("", "    return 1\n"),
        ("", "    def summarize(self, k):\n        return {}\n"),
    ),
    ("", "".join(f"    h{i} = State()\n" for i in range(17))),
)
SUMMARIES = (
    *(
        "return 1",
        "return {'a': self}",
        "return {'a_b_': k}",
        "return {'index': k}",
        "return {'last': k}",
        "x = layer.index",
    ),
    *("return {'a': k.to('int8') + 1}", "return {'a': k.to('int9')}", "return {'a b': k}", "return {'a': [1]}"),
    *("return {'a': reserved_only()}", "return {'a': 'b'}", "x = 1", "x = layer.index"),
)
CLASSES = (
    *("x = 1\n", 'class A(Program, Program):\n    """A."""\n', "class A:\n    x = 1\n", "x = '" + "a" * 17000 + "'\n"),
    *('@a\nclass A(Program):\n    """A."""\n', "class A(Program):\n    x = Int(1, 1, 2)\n"),
    *('class A(Program):\n    """\\x1b[2J"""\n', 'class A(Program):\n    """A."""\n'),
)


def texts() -> list[str]:
    """Give texts that are refused, and a few that are not."""
    found = [hostile.in_select(body) for body, _ in hostile.BODIES.values()]
    found += [hostile.in_select("x = 1", top, attributes) for top, attributes, _ in hostile.TOPS.values()]
    found += [hostile.in_select(body, attributes=BESIDE) for body in BODIES]
    found += [hostile.in_select("x = self.g()" if "def g" in own else "x = 1", top, own) for top, own in TOPS]
    summarize = f"{BESIDE}\n    def summarize(self, k, v):\n        "
    found += [hostile.in_select("x = 1", attributes=f"{summarize}{body}\n") for body in SUMMARIES]
    return [
        *found,
        *(f"from vortex_dsl import *\n{text}" for text in CLASSES),
        f"from vortex_dsl import topk\n{CLASSES[-1]}",
    ]


def calls(folder: Path) -> list[Callable[[], object]]:
    """Give what Python asks of the loader that is refused: paths, and values of tunables."""
    (folder / "latin.py").write_bytes(b"x = '\xe9'\n")
    (folder / "long.py").write_text("#" * 40000 + "\n")
    os.mkfifo(folder / "pipe.py")
    program = load_program(hostile.in_select("x = 1", attributes="    share = Float(0.5, 0, 1)\n"))
    paths = ("", "\0", "no such file.py", 3, folder, *(folder / name for name in ("latin.py", "long.py", "pipe.py")))
    values = ({"share": 2}, {"share": "a"}, {"sink": 99}, {"sink": 0.5}, {"page_size": 17}, {"shar": 1}, {"x" * 99: 1})
    asked = [lambda path=path: load_program(path) for path in paths]
    return [*asked, *(lambda given=given: program.with_values(**given) for given in values)]


def refusals(folder: Path) -> list[ProgramError]:
    """Give the error of every case."""
    asked = [lambda text=text: trace(load_program(text), Shape(4, 64)) for text in texts()]
    found = []
    for ask in [*asked, *calls(folder)]:
        try:
            ask()
        except ProgramError as error:
            found.append(error)
    return found


def test_every_refusal_is_reached_and_says_what_to_do(tmp_path: Path) -> None:
    errors = refusals(tmp_path)
    passed = set().union(*map(frames, errors))
    lines = {(Path(name).relative_to(PACKAGE).as_posix(), line) for name, line in passed if str(PACKAGE) in name}
    missed = [site for site in sites() if not any((site.file, line) in lines for line in site.lines)]
    assert [str(site) for site in missed if f"{site.file}:{site.function}" not in FROM_PYTHON] == []
    for error in errors:
        seen, _, remedy = error.message.partition("; ")
        assert seen, error
        assert remedy, error


NEAR = {
    "x = maximun(q, 1)": "maximum",
    "x = q.summ('dim')": "sum",
    "x = q.sum('dims')": "dim",
    "x = page.indx": "index",
    "x = page.lost": "last",
    "x = self.sinc": "sink",
    "x = self.helpr(q)": "helper",
    "qq = q\nx = quq": "qq",
    "x = layer.idnex": "index",
    "return topk(page.index, 4).remember(lastt=1)": "last",
}


@pytest.mark.parametrize("body", NEAR)
def test_a_near_name_is_suggested(body: str) -> None:
    with pytest.raises(ProgramError, match=f"did you mean '{NEAR[body]}'") as caught:
        load_program(hostile.in_select(body, attributes=BESIDE))
    assert caught.value.line >= 12
    assert caught.value.column >= 9


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("from vortex_dsl import maximun\n", "maximum"),
        (hostile.in_select("x = 1", attributes="    h = State(axes=('pag',))\n"), "page"),
        (
            hostile.in_select(
                "x = 1", attributes="    def summarize(self, k, v):\n        return {'a': k.to('int9')}\n"
            ),
            "int",
        ),
    ],
)
def test_a_near_name_is_suggested_outside_select(text: str, near: str) -> None:
    with pytest.raises(ProgramError, match=f"did you mean '{near}"):
        load_program(text)


def test_a_path_of_any_length_gives_a_short_error() -> None:
    for path in ("x" * 100_000, "\x1b[2J\0", "class A(Program): pass # " + "é" * 5000):
        with pytest.raises(ProgramError) as caught:
            load_program(path)
        assert len(str(caught.value)) <= 400
        assert str(caught.value).isprintable()
