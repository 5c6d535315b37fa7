"""No text executes, hangs, or raises anything but ProgramError."""

import random
import sys
import threading
import time

import pytest

from vortex_dsl.errors import ProgramError
from vortex_dsl.frontend.load import load_program
from vortex_dsl.frontend.program import Program
from vortex_dsl.frontend.trace import trace
from vortex_dsl.values import Shape

SOUND = '''from vortex_dsl import *

WEIGHTS = [0.25, 0.5, 0.25]


def widen(x, n):
    return x * n


class Sound(Program):
    """A program with a bit of everything."""

    pages = Int(64, low=4, high=1024, log=True)
    mode = Choice("hi", ("hi", "lo"))

    def summarize(self, k, v):
        parts = k.split("token", sub=4)
        return {"hi": parts.max("token").to("int8"), "c": k.mean("token"), "n": v.norm("dim").mean("token")}

    def select(self, q, page):
        s = dot(q.mean("head"), page.c, "dim") * page.n
        if self.mode == "hi":
            s += maximum(q * page.hi, 0.0).sum("dim").max("sub", "head")
        for i in range(2):
            s = s + widen(page.index, i) * 0.5
        s = s.smooth("page", [w * 2 for w in WEIGHTS])
        return topk(s, maximum(self.pages, 0.06 * page.count))
'''


def in_select(body: str, top: str = "", attributes: str = "") -> str:
    """Give a program whose select starts with `body` (lines at no indentation)."""
    lines = "\n".join("        " + line for line in body.split("\n"))
    return (
        f"from vortex_dsl import *\n{top}\n\nclass Hostile(Program):\n"
        f'    """Does harm."""\n{attributes}\n    def select(self, q, page):\n{lines}\n'
        "        return topk(q.sum('dim', 'head') + page.index, 4)\n"
    )


def nested(opening: str, closing: str, depth: int) -> str:
    return opening * depth + "1" + closing * depth


BODIES = {
    "import": ("import os", "import"),
    "from import": ("from os import system", "import"),
    "dunder import": ("x = __import__('os')", "underscore"),
    "exec": ("x = exec('1')", "'exec' is not known"),
    "eval": ("x = eval('1')", "'eval' is not known"),
    "open": ("x = open('/etc/passwd')", "'open' is not known"),
    "getattr": ("x = getattr(q, 'type')", "'getattr' is not known"),
    "type": ("x = type(q)", "'type' is not known"),
    "class": ("x = q.__class__", "underscore"),
    "globals": ("x = self.select.__globals__", "underscore"),
    "private": ("x = q._type", "underscore"),
    "trailing underscore": ("x_ = 1", "underscore"),
    "lone underscore": ("for _ in range(2):\n    x = 1", "underscore"),
    "attribute of a value": ("x = q.shape", "has no attribute 'shape'"),
    "attribute of a number": ("x = (1).real", "has no attribute 'real'"),
    "method of a list": ("x = [1].append(2)", "has no function 'append'"),
    "method of a string": ("x = 'a'.format(1)", "has no function 'format'"),
    "attribute assignment": ("self.pages = 3", "only names can be assigned"),
    "item assignment": ("q[0] = 3", "only names can be assigned"),
    "deletion": ("x = 1\ndel x", "'delete' is not allowed"),
    "global": ("global x", "'global' is not allowed"),
    "nonlocal": ("nonlocal x", "'nonlocal' is not allowed"),
    "while": ("while True:\n    x = 1", "'while' is not allowed"),
    "try": ("try:\n    x = 1\nexcept Exception:\n    x = 2", "'try' is not allowed"),
    "with": ("with q:\n    x = 1", "'with' is not allowed"),
    "match": ("match 1:\n    case 1:\n        x = 1", "'match' is not allowed"),
    "async for": ("async for i in q:\n    x = 1", "not allowed"),
    "await": ("x = await q", "'await' is not allowed"),
    "yield": ("x = yield 1", "'yield' is not allowed"),
    "lambda": ("x = lambda: 1", "'lambda' is not allowed"),
    "walrus": ("x = (y := 1)", "':=' is not allowed"),
    "star": ("a, *b = [1, 2]", "a starred expression is not allowed"),
    "star argument": ("x = maximum(*[1, 2])", "a starred expression is not allowed"),
    "double star argument": ("x = topk(**{'a': 1})", "'**' in a call"),
    "f-string": ("x = f'{q}'", "string formatting"),
    "f-string with a bomb": ("x = f'{1:>999999999}'", "string formatting"),
    "percent format": ("x = '%999999999d' % 1", "is no operand"),
    "string bomb": ("x = 'a' * 2147483648", "is no operand"),
    "list bomb": ("x = [0] * 2147483648", "is no operand"),
    "nested comprehension bomb": ("x = [a for a in range(128) for b in range(128) for c in range(128)]", "50000 steps"),
    "tuple bomb": ("x = (1, 2) + (3, 4)", "is no operand"),
    "bytes": ("x = b'abc'", "a bytes is not allowed"),
    "complex": ("x = 1j", "a complex is not allowed"),
    "ellipsis": ("x = ...", "a ellipsis is not allowed"),
    "none": ("x = None", "None"),
    "generator": ("x = topk(q, (i for i in [1]))", "a generator expression"),
    "set": ("x = {1, 2}", "'set' is not allowed"),
    "set comprehension": ("x = {i for i in [1]}", "'setcomp' is not allowed"),
    "dict comprehension": ("x = {i: i for i in [1]}", "'dictcomp' is not allowed"),
    "dict with computed keys": ("x = {1: 2}", "keys must be strings"),
    "bare expression": ("q.sum('dim')", "a bare expression"),
    "string as a statement": ("'remark'", "a bare expression"),
    "pass": ("pass", "'pass' is not allowed"),
    "assert": ("assert True", "'assert' is not allowed"),
    "raise": ("raise q", "'raise' is not allowed"),
    "annotation": ("x: int = 1", "an annotation"),
    "inner function": ("def f():\n    return 1", "a function inside a function"),
    "inner class": ("class C:\n    x = 1", "a class inside"),
    "return nothing": ("return", "'return' without a value"),
    "minus equals": ("x = 1\nx -= 1", "only '+='"),
    "for else": ("for i in range(2):\n    x = 1\nelse:\n    x = 2", "'else' of a loop"),
    "break": ("for i in range(2):\n    break", "'break' is not allowed"),
    "is": ("x = 1 is 1", "'is' is not allowed"),
    "in": ("x = 1 in [1]", "'in' is not allowed"),
    "shift left": ("x = 1 << 2147483647", "'<<' is not allowed"),
    "matmul": ("x = q @ q", "'@' is not allowed"),
    "power bomb": ("x = 2147483647 ** 2147483647", "out of bounds"),
    "power tower": ("x = 9 ** 9 ** 9 ** 9", "out of bounds"),
    "negative power": ("x = 0 ** -1", "divides by zero"),
    "complex power": ("x = (-8) ** 0.5", "'pow' of -8 and 0.5 is no real number"),
    "growing product": ("x = 2\nfor i in range(64):\n    x = x * x", "out of bounds"),
    "growing float": ("x = 2.5\nfor i in range(64):\n    x = x * x", "out of bounds"),
    "huge literal": ("x = 99999999999", "out of bounds"),
    "huger literal": ("x = " + "9" * 5000, "out of bounds"),
    "huge hex": ("x = 0x" + "f" * 5000, "out of bounds"),
    "infinity": ("x = 1e999", "out of bounds"),
    "zero division": ("x = 1 / 0", "divides by zero"),
    "zero modulus": ("x = 1 % 0", "divides by zero"),
    "long range": ("for i in range(129):\n    x = 1", "129 iterations"),
    "very long range": ("for i in range(2147483648):\n    x = 1", "2147483648 iterations"),
    "nested loops": (
        "for i in range(128):\n    for j in range(128):\n        for l in range(128):\n            x = 1",
        "50000",
    ),
    "range as a constant": ("x = vector(range(2147483648), 'dim')", "more than 8192 elements"),
    "range in rows": ("x = matrix([range(2147483648)], 'rank', 'dim')", "more than 8192 elements"),
    "range in take": ("x = q.take('dim', range(2147483648))", "more than 8192 elements"),
    "many elements": ("x = matrix([[j for j in range(128)] for i in range(65)], 'rank', 'dim')", "more than 8192"),
    "doubling lists": ("x = [1]\n" + "x = [x, x]\n" * 300 + "y = vector(x, 'dim')", "lists in lists"),
    "doubling lists returned": ("x = [1]\n" + "x = [x, x]\n" * 300 + "return x", "select returns a list of 2"),
    "doubling lists as a condition": ("x = [1]\n" + "x = [x, x]\n" * 300 + "if x:\n    y = 1", "is no condition"),
    "doubling lists as an index": ("x = [1]\n" + "x = [x, x]\n" * 300 + "y = [1][x]", "indexed by a list of 2"),
    "doubling lists as an axis": ("x = [1]\n" + "x = [x, x]\n" * 300 + "y = q.sum(x)", "lists in lists"),
    "doubling lists in a dict": ("x = [1]\n" + "x = [x, x]\n" * 300 + "y = q.sum([{'a': x}])", "lists in lists"),
    "doubling lists compared": ("x = [1]\n" + "x = [x, x]\n" * 300 + "y = x == x", "is no operand"),
    "513 operations": (
        "for i in range(128):\n    for j in range(5):\n        q = q + i * 7 + j",
        "more than 512 operations",
    ),
    "long axis": ("x = q.sum('" + "d" * 9000 + "')", "a string with 9000 characters"),
    "line ends in a name": ("x = q.take('dim', [{'a': 1}['a\\nERROR']])", "a\\u000aERROR"),
    "many clauses": ("x = [1 " + "for a in [1] " * 900 + "]", "200 deep"),
    "deep calls": ("x = " + "maximum(" * 199 + "q" + ", 1)" * 199, "200 deep"),
    "unary minus": ("x = " + "-" * 300 + "1", "200 deep"),
    "very many minuses": ("x = " + "-" * 15000 + "1", "200 deep"),
    "not": ("x = " + "not " * 3000 + "1", "200 deep"),
    "parentheses": ("x = " + nested("(", ")", 300), "200 deep"),
    "unclosed parentheses": ("x = " + "(" * 10000, "200 deep"),
    "lists": ("x = " + nested("[", "]", 220), "200 deep"),
    "attributes": ("x = q" + ".a" * 7000, "200 deep"),
    "calls": ("x = q" + "()" * 7000, "200 deep"),
    "sums": ("x = 1" + "+1" * 7000, "200 deep"),
    "powers": ("x = 1" + "**1" * 5000, "200 deep"),
    "choices": ("x = " + "1 if 1 else " * 1000 + "1", "200 deep"),
    "elif": ("if 0:\n    x = 1\n" + "elif 0:\n    x = 1\n" * 400, "200 deep"),
    "subscripts": ("x = q" + "[0]" * 5000, "200 deep"),
    "indented blocks": ("\n".join(" " * i + "if 1:" for i in range(120)) + "\n" + " " * 120 + "x = 1", "200 deep"),
    "state": ("x = State(axes=('page',))", "declare tunables and states as attributes"),
    "remember": (
        "return topk(page.index, 4).remember(h=q)",
        "which is no state of the program; declare it in the class: h = State()",
    ),
    "self call": ("return self.select(q, page)", "'self' has no function 'select'"),
    "operation as a value": ("x = topk", "can only be called"),
    "range as a value": ("x = range", "can only be called"),
    "class as a value": ("x = Hostile", "'Hostile' is not known"),
    "instance": ("x = Program()", "cannot be called"),
    "tunable in a function": ("x = Int(1, 0, 2)", "declare tunables and states as attributes"),
    "shadowed operation": ("topk = 3", "already means something"),
    "shadowed range": ("for range in [1]:\n    x = 1", "already means something"),
    "shadowed in a comprehension": ("x = [dot for dot in [1]]", "already means something"),
    "unicode digits": ("x = '1' + ١", "not ASCII"),
    "fullwidth name": ("ｘ = 1", "not ASCII"),
    "fullwidth underscores": ("x = q.＿＿class＿＿", "not ASCII"),
    "null byte": ("x = '\0'", "U+0000"),
    "surrogate": ("x = '\ud800'", "U+D800"),
    "direction override": ("x = 1  # \u202e hidden", "U+202E"),
    "form feed": ("\fx = 1", "U+000C"),
    "long name": ("x" * 100 + " = 1", "100 characters"),
    "backslash n name": ("x = q.sum('\\N{GREEK SMALL LETTER ALPHA}')", "sum"),
    "bad escape name": ("x = '\\N{no such letter}'", "not Python"),
    "axis of dunders": ("x = q.rename(dim='__class__')\nreturn topk(x.sum('__class__', 'dim'), 4)", "'dim'"),
    "unfinished": ("x = (", "not Python"),
    "bad indentation": ("x = 1\n  y = 2", "not Python"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_refused_quickly_and_with_a_place(name):
    body, expected = BODIES[name]
    started = time.process_time()
    with pytest.raises(ProgramError) as caught:
        trace(load_program(in_select(body)), Shape(4, 64))
    assert time.process_time() - started < 2.0
    assert expected in caught.value.message
    assert caught.value.line >= 1
    assert caught.value.column >= 1
    assert len(str(caught.value)) < 400


def chain_of_helpers(num: int) -> str:
    helpers = ["def f0(x):\n    return x"] + [f"def f{i}(x):\n    return f{i - 1}(x)" for i in range(1, num)]
    return "\n".join(helpers)


def doubling_helpers(num: int) -> str:
    helpers = ["def f0(x):\n    return x"] + [f"def f{i}(x):\n    return f{i - 1}(f{i - 1}(x))" for i in range(1, num)]
    return "\n".join(helpers)


LISTS = "A = [1]\nB0 = [A, A]\n" + "".join(f"B{i} = [B{i - 1}, B{i - 1}]\n" for i in range(1, 200))

TOPS = {
    "doubling lists as a default": (LISTS, "    pages = Int(B199, 1, 2)\n", "default of Int is 'list'"),
    "doubling lists as options": (LISTS, "    pages = Choice(B199, B199)\n", "'list' is no option"),
    "doubling lists as a choice": (LISTS, "    pages = Choice(B199, (1, 2))\n", "'list' is not an option"),
    "doubling lists as log": (LISTS, "    pages = Int(1, 1, 2, log=B199)\n", "log is 'list'"),
    "other import": ("import os", "", "'import' is not allowed"),
    "relative import": ("from . import load", "", "only from vortex_dsl"),
    "submodule import": ("from vortex_dsl.load import ast", "", "only from vortex_dsl"),
    "future import": ("from __future__ import annotations", "", "only from vortex_dsl"),
    "unknown import": ("from vortex_dsl import maximun", "", "did you mean 'maximum'?"),
    "import of the loader": ("from vortex_dsl import load_program", "", "no name 'load_program'"),
    "renamed import": ("from vortex_dsl import topk as best", "", "import names as they are"),
    "state import": ("from vortex_dsl import State", "", ""),
    "docstring after an import": ('"""Text."""', "", "a bare expression"),
    "call at the top": ("print(1)", "", "a bare expression"),
    "second class": ("class Other(Program):\n    pass\n", "", "a second class"),
    "shadowing helper": ("def topk(a, b):\n    return a", "", "already means something"),
    "shadowing constant": ("exp = 3", "", "already means something"),
    "constant twice": ("A = 1\nA = 2", "", "already means something"),
    "star parameters": ("def f(*a):\n    return 1", "", "only plain parameters"),
    "keyword parameters": ("def f(**a):\n    return 1", "", "only plain parameters"),
    "keyword-only parameter": ("def f(*, a):\n    return 1", "", "only plain parameters"),
    "positional-only parameter": ("def f(a, /):\n    return 1", "", "only plain parameters"),
    "default": ("def f(a=1):\n    return 1", "", "a default is not allowed"),
    "default that calls": ("def f(a=open('x')):\n    return 1", "", "a default is not allowed"),
    "annotated parameter": ("def f(a: exec('1')):\n    return 1", "", "an annotation is not allowed"),
    "annotated result": ("def f(a) -> exec('1'):\n    return 1", "", "an annotation is not allowed"),
    "decorator": ("@exec\ndef f(a):\n    return 1", "", "a decorator is not allowed"),
    "async helper": ("async def f(a):\n    return 1", "", "'async def' is not allowed"),
    "parameter twice": ("def f(a, a):\n    return 1", "", "there twice"),
    "shadowing parameter": ("def f(exp):\n    return 1", "", "already means something"),
    "shadowing variable": ("A = 1\ndef f(x):\n    A = 2\n    return A", "", "already means something"),
    "recursion": ("def f(a):\n    return f(a)", "", "'f' calls itself"),
    "mutual recursion": ("def f(a):\n    return g(a)\ndef g(a):\n    return f(a)", "", "calls itself"),
    "unused unknown name": ("def f(a):\n    return bogus", "", "'bogus' is not known"),
    "helper as a value": ("def f(a):\n    return a\nB = f", "", "can only be called"),
    "method recursion": ("", "    def f(self, a):\n        return self.f(a)\n", "'self.f' calls itself"),
    "scale": ("", "    scale = Float(1, 0, 2)\n", "'scale' is the model's softmax scale"),
    "plain attribute": ("", "    pages = 3\n", "is no tunable; write pages = Int(64, 4, 1024)"),
    "state": ("", "    h = State(axes=('page',), init=0.0)\n", ""),
    "state over tokens": ("", "    h = State(axes=('token',))\n", "no axis 'token'; it may have page, head, dim"),
    "state over an axis twice": ("", "    h = State(axes=('dim', 'dim'))\n", "an axis twice"),
    "state of a number": ("", "    h = State(3)\n", "axes of State is '3'"),
    "state from a bomb": ("", "    h = State(init=2.0 ** 2 ** 9)\n", "out of bounds"),
    "state as a page's own": ("", "    count = State()\n", "page.count is the platform's"),
    "state as a tunable": ("", "    sink = State()\n", "keep its kind and its range"),
    "private attribute": ("", "    _pages = Int(1, 0, 2)\n", "underscore"),
    "slots": ("", "    __slots__ = ()\n", "underscore"),
    "init": ("", "    def __init__(self):\n        return 1\n", "underscore"),
    "static method": ("", "    @staticmethod\n    def f(self):\n        return 1\n", "a decorator is not allowed"),
    "annotated attribute": ("", "    pages: int = Int(1, 0, 2)\n", "an annotation"),
    "out of range": ("", "    pages = Int(5, 0, 2)\n", "5 is out of range; give a whole number from 0 to 2"),
    "range upside down": ("", "    pages = Int(5, 9, 2)\n", "swap them"),
    "a list as budget": (LISTS, "    pages = Int(1, 1, 2, budget=B199)\n", "budget is 'list'"),
    "two budgets": (
        "",
        "    pages = Int(5, 0, 9, budget=True)\n    share = Float(0.5, 0, 1, budget=True)\n",
        "'pages' and 'share' are both declared the budget; leave budget=True to one",
    ),
    "log from 0": ("", "    pages = Int(5, 0, 9, log=True)\n", "give a low above 0"),
    "fraction": ("", "    pages = Int(2.5, 0, 9)\n", "default of Int"),
    "missing bounds": ("", "    pages = Int(2)\n", "write Int(default, low, high)"),
    "unknown argument": ("", "    pages = Int(2, 1, 3, step=1)\n", "'step' is unknown"),
    "computed with a bomb": ("", "    pages = Int(2 ** 2 ** 2 ** 9, 1, 3)\n", "out of bounds"),
    "no options": ("", "    pages = Choice(1, ())\n", "options of Choice"),
    "not an option": ("", "    pages = Choice(3, (1, 2))\n", "'3' is not an option"),
    "platform range": ("", "    window = Int(4, 0, 64)\n", "keep its kind and its range, Int(2, 1, 64)"),
    "platform kind": ("", "    page_size = Int(16, 16, 32)\n", "keep its kind and its range"),
    "declared twice": ("", "    a = Int(1, 0, 2)\n    a = Int(1, 0, 2)\n", "declared twice"),
    "helper chain": (chain_of_helpers(300), "    def f(self, x):\n        return f299(x)\n", ""),
    "unused elements": ("A = [" + "1," * 6000 + "]", "", ""),
}


@pytest.mark.parametrize("name", TOPS)
def test_a_hostile_declaration_is_refused_or_harmless(name):
    top, attributes, expected = TOPS[name]
    text = in_select("x = 1", top, attributes)
    if not expected:
        assert trace(load_program(text), Shape(4, 64)).digest
        return
    with pytest.raises(ProgramError) as caught:
        trace(load_program(text), Shape(4, 64))
    assert expected in str(caught.value)


def test_helpers_that_call_ever_deeper_are_refused():
    with pytest.raises(ProgramError, match="200 deep"):
        load_program(in_select("x = f299(q)", chain_of_helpers(300)))


def test_helpers_that_double_the_work_are_refused():
    started = time.process_time()
    with pytest.raises(ProgramError, match="50000 steps"):
        load_program(in_select("x = f40(q)", doubling_helpers(41)))
    assert time.process_time() - started < 2.0


def test_many_tunables_that_read_a_slow_constant_cost_its_steps_once():
    attributes = "".join(f"    t{i} = Int(A[0], 0, 9)\n" for i in range(300))
    started = time.process_time()
    program = load_program(in_select("x = 1", "A = [1 for i in range(100) for j in range(100)]", attributes))
    assert len(program.tunables) == 306
    assert time.process_time() - started < 2.0


def test_a_deep_caller_gets_the_same_answer():
    text = in_select("x = " + "(1 + " * 150 + "1" + ")" * 150)

    def descend(depth):
        return load_program(text) if depth == 0 else descend(depth - 1)

    assert descend(100).name == "Hostile"


def test_what_is_nested_almost_too_deep_is_evaluated_on_a_deep_stack():
    """Six Python frames per level here: the interpreter's own limit must not decide."""
    text = in_select("q = " + "self.same(" * 180 + "q" + ")" * 180, "", "    def same(self, x):\n        return x\n")

    def descend(depth):
        return load_program(text) if depth == 0 else descend(depth - 1)

    assert descend(300).name == "Hostile"


def test_a_small_stack_does_not_crash_the_interpreter():
    """A parser that recurses on a thread with little stack is where deep nesting used to be fatal."""
    answers = []

    def work():
        for body in ("x = " + "-" * 15000 + "1", "x = " + nested("(", ")", 190), "x = 1" + "**1" * 5000):
            try:
                answers.append(load_program(in_select(body)))
            except ProgramError as error:
                answers.append(error)

    old = threading.stack_size(1024 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(old)
    assert [type(answer) for answer in answers] == [ProgramError, Program, ProgramError]


def test_nothing_of_a_text_is_executed(capsys):
    sys.modules.pop("vortex_was_here", None)
    text = in_select("x = 1", "MARK = [__import__('sys').modules.__setitem__('vortex_was_here', 1)]")
    with pytest.raises(ProgramError):
        load_program(text)
    assert "vortex_was_here" not in sys.modules
    assert capsys.readouterr().out == ""


def mutated(rng: random.Random, text: str) -> str:
    """Change a text in one to four places: characters, lines and pieces of hostile syntax."""
    pieces = [
        "(",
        ")",
        "[",
        "]",
        '"',
        "'''",
        "\n",
        "    ",
        "\\",
        "**",
        "9" * 30,
        "lambda:",
        "not ",
        "f'{",
        ":=",
        "\0",
        "é",
    ]
    pieces += [
        "self",
        "page",
        "topk",
        "__class__",
        "[0]",
        ".sum('dim')",
        "*q",
        "range(2**31)",
        "return ",
        "0x",
        "1e999",
    ]
    for _ in range(rng.randint(1, 4)):
        at, kind = rng.randrange(len(text)), rng.randrange(5)
        other = rng.randrange(len(text))
        if kind == 0:
            text = text[:at] + text[at + rng.randint(1, 12) :]
        elif kind == 1:
            text = text[:at] + rng.choice(pieces) * rng.choice([1, 1, 1, 2, 250]) + text[at:]
        elif kind == 2:
            text = text[:at] + text[other : other + rng.randint(1, 80)] + text[at:]
        elif kind == 3:
            lines = text.split("\n")
            rng.shuffle(lines) if rng.random() < 0.1 else lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            text = "\n".join(lines)
        else:
            text = text[:at] + chr(rng.choice([rng.randrange(128), rng.randrange(0x10000)])) + text[at + 1 :]
    return text + "\n"


def test_five_hundred_mutated_texts_give_a_program_or_a_program_error():
    rng, errors, slowest = random.Random(20260), [], 0.0
    for _ in range(500):
        text, started = mutated(rng, SOUND), time.process_time()
        try:
            trace(load_program(text), Shape(4, 64))
        except ProgramError as error:
            errors.append(error)
        slowest = max(slowest, time.process_time() - started)
    assert 100 < len(errors) < 490
    assert all(error.line >= 1 and error.column >= 1 and error.message for error in errors)
    assert slowest < 2.0
