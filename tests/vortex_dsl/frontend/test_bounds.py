"""Time, memory and messages are bounded for any text. Each case here took seconds, gigabytes or pages of text once."""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
import time

import pytest

from vortex_dsl import ProgramError, Shape, load_program, trace

SHAPE = Shape(4, 64)
MOST_SECONDS, MOST_BYTES = 2.0, 500 * 2**20


def program(body: str, top: str = "", attributes: str = "") -> str:
    lines = "\n".join("        " + line for line in body.split("\n"))
    return (
        f"from vortex_dsl import *\n{top}\n\nclass Bounded(Program):\n"
        f'    """Costs little."""\n{attributes}\n    def select(self, q, page):\n{lines}\n'
        "        return topk(page.index, 4)\n"
    )


def states(num: int, update: str) -> str:
    """Give a program of so many states, each updated from the one after it."""
    declared = "".join(f"    a{i} = State(axes=())\n" for i in range(num))
    updates = ", ".join(f"a{i}={update.format(next=(i + 1) % num, i=i)}" for i in range(num))
    return program(f"return topk(page.index * page.a0, 4).remember({updates})", attributes=declared)


def listing(count: int, start: int, form: str) -> str:
    return ", ".join(form.format(i) for i in range(start, start + count))


NUMBERS = "A = [0.5 for i in range(128) for j in range(64)]"
NESTED = "for i in range(128):\n    for j in range(90):\n        "
AXES = "x = q.sum('head')\ny = x\n" + "".join(f"y = y * x.rename(dim='a{i}')\n" for i in range(200))
LONG = "\U0001f600" + "a" * 12000
SHARED = "r = topk(page.index, 3)\nfor i in range(60):\n"
SQUARES = "n = {}\nfor i in range(60):\n    n = n * n + n\n"
BOMBS = {
    "one big constant many times": (program(NESTED + "t = vector(A, 'a')", NUMBERS), "50000 steps"),
    "many big constants": (program("for i in range(100):\n    t = vector(range(i, i + 8192), 'a')"), "50000 steps"),
    "many big rows": (
        program("for i in range(128):\n    t = matrix([A, A], 'a', 'b')", "A = range(4096)"),
        "50000 steps",
    ),
    "many long takes": (
        program("for i in range(100):\n    t = q.take('dim', A)", "A = [0 for i in range(128) for j in range(64)]"),
        "50000 steps",
    ),
    "copies of a list": (
        program("x = [A[:] for i in range(100) for j in range(100)]", f"A = [{'1,' * 6000}]"),
        "50000 steps",
    ),
    "a square again and again": (
        program("x = self.scale\n" + "x = x * x\n" * 60 + "return topk(page.index * x, 4)"),
        "",
    ),
    "a quotient again and again": (
        program("x = self.scale\n" + "x = x / (x * x)\n" * 60 + "return topk(page.index / x, 4)"),
        "",
    ),
    "the same score again and again": (
        program("s = page.index\n" + "s = exp(s) + exp(s)\n" * 100 + "return topk(s, 4)"),
        "",
    ),
    "values of ever more axes": (program(AXES + "y = y + 1\n" * 50), "use at most 16"),
    "a list of long strings": (
        program("x = vector([S for i in range(128) for j in range(60)], 'dim')", f"S = '{LONG}'"),
        "numbers",
    ),
    "an operand of long strings": (
        program("x = q + 1\nx = maximum(q, [S for i in range(128)])", f"S = '{LONG}'"),
        "known number",
    ),
    "a chain of states": (states(300, "page.a{next}"), "more than 16 states"),
    "a chain of sums of states": (states(250, "page.a{next} + {i}"), "more than 16 states"),
    "sixteen states": (states(16, "page.a{next} + {i}"), ""),
    "unions of unions": (
        program(SHARED + "    r = union(refine(r, page.index * i, 9999), r)\nreturn r"),
        "64 selections",
    ),
    "a chain of selections": (program(SHARED + "    r = refine(r, floor(page.index * i), 60 - i)\nreturn r"), ""),
    "budgets of budgets": (program(SQUARES.format("page.count") + "return topk(page.index, n)"), ""),
    "budgets that grow": (program(SQUARES.format("layer.index") + "return topk(page.index, n)"), ""),
    "512 operations": (
        program("s = page.index\nfor i in range(127):\n    s = floor((exp(s) + i) * 1.5)\nreturn topk(s, 4)"),
        "",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_or_harmless(name: str) -> None:
    text, expected = BOMBS[name]
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    try:
        answer = trace(load_program(text), SHAPE).digest
    except ProgramError as error:
        answer = error.message
    assert time.thread_time() - started < MOST_SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_BYTES
    assert expected in answer
    assert bool(expected) is not answer.isalnum()


MANY_TUNABLES = "".join(f"    qq{i} = Int(1, 0, 2)\n" for i in range(500))
MANY_OPTIONS = f"    m = Choice('a', ({listing(150, 0, repr('b' * 58 + '{}'))}))\n"
FIELDS = listing(900, 0, "'qq{}': m")
MANY_FIELDS = f"    def summarize(self, k, v):\n        m = k.mean('token')\n        return {{{FIELDS}}}\n"
WORDY = {
    "take": program("x = q.take('dim', range(1000, 9000))"),
    "options": program("x = 1", attributes=MANY_OPTIONS),
    "tunables": program("x = self.zzzzzzzz", attributes=MANY_TUNABLES),
    "fields": program("x = page.zzzzzzz", attributes=MANY_FIELDS),
    "axes": program("".join(f"q = q * vector([1], '{'b' * 60}{i}')\n" for i in range(13)) + "return topk(q, 4)"),
    "clashing axes": program(
        "".join(f"q = q * vector([1], '{'b' * 60}{i}')\n" for i in range(13))
        + f"x = q.rename({'b' * 60}1='{'b' * 60}2')"
    ),
    "parameters": program("x = f()", f"def f({listing(900, 0, 'a{}')}):\n    return 1"),
    "strings": program("x = {'a': 1}['" + "\\x01" * 900 + "']"),
    "operators": program(f"x = '{'é' * 900}' + '{'é' * 900}'"),
    "a name": program(f"x = {'n' * 9000}"),
    "an axis": program(f"x = q.sum('{'n' * 9000}')"),
    "a tunable of a string": program("x = 1", attributes=f"    m = Int('{'a' * 9000}', 1, 2)\n"),
    "an option": program("x = 1", attributes=f"    m = Choice('{'a' * 9000}', ('{'a' * 9000}',))\n"),
    "an argument": program(f"x = maximum({listing(900, 0, 'a{}=1')})"),
    "a state": program(f"return topk(page.index, 1).remember({'h' * 60}=1)", attributes="    g = State()\n"),
    "a module": f"from {'.'.join(['os'] * 4000)} import a\n",
}


@pytest.mark.parametrize("name", WORDY)
def test_a_message_stays_short(name: str) -> None:
    with pytest.raises(ProgramError) as caught:
        trace(load_program(WORDY[name]), SHAPE)
    assert len(str(caught.value)) <= 400
    assert str(caught.value).isprintable()
    assert "; " in caught.value.message


QUOTES = (
    "'",
    "''",
    "'''",
    '"',
    "'\"",
    "'''\\",
    "''''\"",
    "\\'",
    "a'",
    "ab'''",
    "'''\\\n",
    "#'\n",
    "''' ''",
    "f'",
    "'''\"\"\"",
)


@pytest.mark.parametrize("unit", QUOTES)
def test_odd_quotes_take_linear_time(unit: str) -> None:
    text = "'''" + (unit * 16000)[:16000] + "\n"
    started = time.thread_time()
    with pytest.raises(ProgramError):
        load_program(text)
    assert time.thread_time() - started < 0.2


@pytest.mark.parametrize("quote", ["'", '"', "'''", '"""'])
def test_a_string_without_an_end_is_refused_where_it_begins(quote: str) -> None:
    with pytest.raises(ProgramError, match=r"program>:2:5: .* a string without an end; close it with") as caught:
        load_program(f"\nx = {quote}abc\n")
    assert caught.value.message.endswith(quote)


@pytest.mark.parametrize("string", ["'\\''", '"\'"', "'''a'b''c\n'''", "'a\\\nb'", '"""\\""""', "b''", "''"])
def test_strings_end_where_python_says(string: str) -> None:
    """What follows the string is seen: were the string taken to be longer, the letter would be a part of it."""
    with pytest.raises(ProgramError, match="is not ASCII"):
        load_program(f"x = {string} + é\n")


def test_warnings_of_the_parser_are_neither_printed_nor_raised() -> None:
    text = program("x = '\\d'\ny = 1 if 1else 2")
    code = f"from vortex_dsl import load_program; load_program({text!r})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == ""


def test_unprintable_text_stays_in_the_program() -> None:
    """What other parts print or store, an idea and options, can always be printed and stored."""
    for text in (
        program("x = 1").replace("Costs little.", "Costs \\x1b[2J little."),
        program("x = 1").replace("Costs little.", "Costs \\ud800 little."),
        program("x = 1", attributes="    m = Choice('\\ud800', ('\\ud800', 'b'))\n"),
        program("x = 1", attributes="    m = Choice('\\n', ('\\n', 'b'))\n"),
    ):
        with pytest.raises(ProgramError, match="printable characters"):
            load_program(text)


HOSTILE_VALUES = (10**5000, -(10**5000), float("nan"), float("inf"), 1e300, True, None, "x" * 9000, [], {}, object())


@pytest.mark.parametrize("name", ["pages", "share", "mode", "sink", "page_size", "unknown", "", "\n"])
def test_values_from_python_are_accepted_or_refused(name: str) -> None:
    own = "    pages = Int(4, 1, 8)\n    share = Float(0.5, 0, 1)\n    mode = Choice('a', ('a', 'b'))\n"
    loaded = load_program(program("x = 1", attributes=own))
    for value in HOSTILE_VALUES:
        with pytest.raises(ProgramError) as caught:
            loaded.with_values(**{name: value})
        assert len(str(caught.value)) <= 400
        assert str(caught.value).isprintable()


def test_minus_zero_is_zero() -> None:
    loaded = load_program(
        program("return topk(page.index / self.share, 4)", attributes="    share = Float(1, -1, 1)\n")
    )
    zero, minus = loaded.with_values(share=0.0), loaded.with_values(share=-0.0)
    assert zero == minus
    assert trace.__wrapped__(zero, SHAPE).digest == trace.__wrapped__(minus, SHAPE).digest


def test_a_program_travels_between_processes() -> None:
    loaded = load_program(program("x = 1", attributes="    pages = Int(4, 1, 8)\n")).with_values(pages=5, sink=2)
    arrived = pickle.loads(pickle.dumps(loaded))
    assert arrived == loaded
    assert arrived.file == loaded.file
    assert trace(arrived, SHAPE).digest == trace(loaded, SHAPE).digest


def test_traced_graphs_are_kept_in_a_bounded_number() -> None:
    assert trace.cache_info().maxsize <= 128


def test_an_error_in_a_state_names_one_place() -> None:
    with pytest.raises(ProgramError) as caught:
        load_program(program("x = 1", attributes="    h = State(init=2 ** 32)\n"))
    assert str(caught.value).count("<program>") == 1


def test_a_long_program_needs_little_stack() -> None:
    """In a process of its own: a stack that overflows ends the interpreter."""
    chain = program(
        "s = page.index\nfor i in range(120):\n    s = floor(s) / 3 - page.count * 0.5\nreturn topk(floor(s), 4)"
    )
    code = (
        "import threading; from vortex_dsl import Shape, load_program, trace; threading.stack_size(256 * 1024)\n"
        f"work = threading.Thread(target=lambda: print(trace(load_program({chain!r}), Shape(4, 64)).digest))\n"
        "work.start(); work.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.strip() == trace(load_program(chain), SHAPE).digest
