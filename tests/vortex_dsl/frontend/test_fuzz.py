"""Mutated texts and syntax trees: a Program or a ProgramError comes out, soon, in little memory, and always the same.

`make test` runs a share of them. All 20,000, with what came out:

    VORTEX_FUZZ=20000 .venv/bin/python -m pytest -s tests/vortex_dsl/frontend/test_fuzz.py
"""

import ast
import copy
import os
import random
import re
import resource
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from search.agents.drawing.generate import generate
from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.errors import ProgramError

NUM_TEXTS = int(os.environ.get("VORTEX_FUZZ", "4000"))
NUM_PARTS = 8  # one test each, so that a failure names its seed
MOST_SECONDS, MOST_BYTES, LONGEST_ERROR = 2.0, 500 * 2**20, 400
SHAPE = Shape(4, 64)

REMEMBERING = '''from vortex_dsl import *

WEIGHTS = [0.25, 0.5, 0.25]
ROWS = [[0.5 * i + j for j in range(8)] for i in range(2)]


def widen(x, n):
    return x * n if n > 0 else x


class Remembering(Program):
    """A program with a bit of everything."""

    pages = Int(64, low=4, high=1024, log=True)
    share = Float(0.5, 0.0, 1.0)
    mode = Choice("hi", ("hi", "lo"))
    last = State(axes=("page",), init=0.0)

    def summarize(self, k, v):
        parts = k.split("token", sub=4)
        flat = dot(k.take("dim", slice(0, 8)), matrix(ROWS, "rank", "dim"), "dim").mean("token")
        return {"hi": parts.max("token").to("int8"), "c": k.mean("token"), "n": v.norm("dim").mean("token"), "f": flat}

    def bonus(self, x):
        return x.smooth("page", [w * 2 for w in WEIGHTS]) + hash(floor(x), 7)

    def select(self, q, page):
        s = dot(q.mean("head"), page.c, "dim") * page.n + page.f.sum("rank")
        if self.mode == "hi":
            s += maximum(q * page.hi, 0.0).sum("dim").max("sub", "head")
        for i in range(2):
            s = s + widen(page.index, i) * 0.5 - where(page.reserved, 1.0, page.last)
        best = refine(union(topk(s, self.pages), above(s, 0.0, limit=3)), self.bonus(s), 0.06 * page.count)
        return best.remember(last=self.share * page.last + s)
'''

HOSTILE = (
    *("x = x * x", "x = [x, x]", "q = q + q", "page = q", "self = q", "return q", "return", "x = 2 ** 31"),
    *("x = 1 / 0", "x = [0] * 9 ** 9", "x = 'a' * 2 ** 31", "x = vector(range(2 ** 31), 'dim')", "x = q[0]"),
    *("x = q.__class__", "x = range(8192)[::2]", "x = [i for i in range(128) for j in range(128)]"),
    *("x = matrix([[1], [2, 3]], 'a', 'b')", "import os", "from os import *", "exec('1')", "lambda: 1"),
    *("x = (yield)", "x = f'{q}'", "x = b'1'", "x = 1j", "global q", "del q", "assert q", "raise q", "pass"),
    *("x: int = 1", "q.x = 1", "x = y = q", "x, y = 1, 2", "x = not q", "x = q and q", "x = 1 if q else 2"),
    *("x = q < q < q", "x = -0.0", "x = 1e-45", "x = 1e308", "x = None"),
    *("x = q.take('dim', slice(9, None, -3))", "x = q.split('dim', a=3)", "x = q.rename(dim='page')"),
    *("x = q.sum('x')", "x = page.last.remember(last=1)", "h = State(axes=('page', 'page'))", "x = State()"),
    *("x = Int(1, 0, 2)", "x = topk", "x = self.pages.pages", "x = self.select(q, page)", "x = page.page"),
    *("x = layer.index + kv_head.index", "x = '\\ud800'", "for i in range(0, 128, 0):\n    x = i"),
    *("for i in q:\n    x = i", "while 1:\n    x = 1", "if q:\n    x = 1"),
    *("for i in range(128):\n    q = q + i", "for i in range(100):\n    q = exp(q) * i"),
    *("def f(x):\n    return f(x)", "class C(Program):\n    pass", "@f\ndef g(x):\n    return x"),
    *("x = [[[[[1]]]]]", "x = {'a': {'b': q}}", "x = {1: 2}"),
)
PIECES = (
    *("(", ")", "[", "]", "{", "}", '"', "'", "'''", "\n", "    ", "\t", "\\", "\\\n", "**"),
    *("999999999999999999999999999999", "0x", "1e999", "#", "lambda:", "not ", "-", "~", "f'{", ":=", "\x00"),
    *("\x0c", "é", "ｘ", "\u202e", "\ud800", "self", "page", "topk", "__class__", "[0]", ".a", "()"),
    *(".sum('dim')", "*q", "range(2**31)", "return ", "async ", "await ", "if 1:", "else:", ";", "@", "..."),
)


def sources() -> list[str]:
    drawn = [generate(random.Random(seed), 64, seed) for seed in range(12)]
    return [REMEMBERING] * 12 + [zoo.text(name) for name in zoo.names()] + drawn


def edited(rng: random.Random, text: str, _other: str) -> str:
    """Change characters and lines."""
    for _ in range(rng.randint(1, 4)):
        at, kind = rng.randrange(len(text) + 1), rng.randrange(5)
        if kind == 0:
            text = text[:at] + text[at + rng.randint(1, 12) :]
        elif kind == 1:
            text = text[:at] + rng.choice(PIECES) * rng.choice([1, 1, 1, 2, 250, 9000]) + text[at:]
        elif kind == 2:
            other = rng.randrange(len(text) + 1)
            text = text[:at] + text[other : other + rng.randint(1, 80)] + text[at:]
        elif kind == 3:
            lines = text.split("\n")
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            text = "\n".join(lines)
        else:
            text = text[:at] + chr(rng.choice([rng.randrange(128), rng.randrange(0x10000)])) + text[at + 1 :]
    return text


def shuffled(rng: random.Random, text: str, other: str) -> str:
    """Swap, drop, double or replace tokens, some by those of another program."""
    tokens, others = (re.findall(r"\w+|[^\w]", each) for each in (text, other))
    for _ in range(rng.randint(1, 6)):
        a, b = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        kind = rng.randrange(4)
        if kind == 0:
            tokens[a], tokens[b] = tokens[b], tokens[a]
        elif kind == 1:
            tokens[a] = ""
        elif kind == 2:
            tokens[a] *= 2
        else:
            tokens[a] = rng.choice(rng.choice((tokens, others, PIECES)))
    return "".join(tokens)


def spliced(rng: random.Random, text: str, other: str) -> str:
    """Put lines of another program, or hostile ones, among or in place of this one's."""
    lines, others = text.split("\n"), other.split("\n")
    at, start = rng.randrange(len(lines)), rng.randrange(len(others))
    margin = rng.choice((" " * 8, re.match(" *", lines[at])[0]))
    hostile = [margin + line for line in rng.choice(HOSTILE).split("\n")]
    added = rng.choice((hostile, others[start : start + rng.randint(1, 8)]))
    return "\n".join((*lines[:at], *added, *lines[at + rng.randint(0, 2) :]))


def regrown(rng: random.Random, text: str, other: str) -> str:
    """Replace branches of the syntax tree by others of the same sort, of this program or another or hostile."""
    tree = ast.parse(text)
    donors = [*ast.walk(ast.parse(other)), *ast.walk(ast.parse(text))]
    donors += [node for line in rng.sample(HOSTILE, 6) if "return" not in line for node in ast.walk(ast.parse(line))]
    for _ in range(rng.randint(1, 3)):
        places = [
            (node, name, i)
            for node in ast.walk(tree)
            for name, value in ast.iter_fields(node)
            if isinstance(value, list)
            for i in range(len(value))
        ] + [(node, name, None) for node in ast.walk(tree) for name, value in ast.iter_fields(node) if is_branch(value)]
        if not places:
            break
        node, name, i = rng.choice(places)
        old = getattr(node, name) if i is None else getattr(node, name)[i]
        fitting = [donor for donor in donors if sort_of(donor) is sort_of(old)]
        new = copy.deepcopy(rng.choice(fitting)) if fitting else old
        if i is None:
            setattr(node, name, new)
        elif rng.random() < 0.2:
            del getattr(node, name)[i]
        else:
            getattr(node, name)[i] = new
    return written(tree, text)


def nudged(rng: random.Random, text: str, _other: str) -> str:
    """Change names, numbers, strings and operators for others of the same function: often a program again."""
    tree = ast.parse(text)
    places = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)] or [tree]
    for _ in range(rng.randint(1, 3)):
        nodes = list(ast.walk(rng.choice(places)))
        leaves = [node for node in nodes if isinstance(node, ast.Name | ast.Constant | ast.Attribute | ast.BinOp)]
        if leaves:
            nudge(rng, rng.choice(leaves), leaves)
    return written(tree, text)


def nudge(rng: random.Random, node: ast.AST, leaves: list[ast.AST]) -> None:
    """Change one leaf of a tree."""
    other = rng.choice([each for each in leaves if type(each) is type(node)])
    if isinstance(node, ast.BinOp):
        node.op = rng.choice((ast.Add(), ast.Sub(), ast.Mult(), ast.Div(), ast.Mod(), ast.Pow(), ast.BitAnd()))
    elif isinstance(node, ast.Name):
        node.id = other.id
    elif isinstance(node, ast.Attribute):
        node.attr = rng.choice((other.attr, "max", "mean", "count", "softmax"))
    elif isinstance(node.value, str) and isinstance(other.value, str):
        node.value = other.value
    else:
        node.value = rng.choice((0, 1, 1, 2, 3, 0.5, 2.5, 127, -1, 1e9, 1e-30))


def is_branch(value: object) -> bool:
    return isinstance(value, ast.expr | ast.operator | ast.cmpop | ast.unaryop)


def sort_of(node: object) -> object:
    """Give what a branch may be replaced by: an expression by any expression, a statement by any statement."""
    sorts = (ast.expr, ast.stmt, ast.operator, ast.cmpop, ast.unaryop)
    return next((sort for sort in sorts if isinstance(node, sort)), type(node))


def written(tree: ast.Module, otherwise: str) -> str:
    try:
        return ast.unparse(ast.fix_missing_locations(tree))
    except (ValueError, AttributeError, TypeError, RecursionError):  # not every tree is a text
        return otherwise


MUTATIONS = (edited, shuffled, spliced, regrown, regrown, nudged, nudged, nudged, nudged, nudged, nudged)


def mutated(rng: random.Random, texts: list[str]) -> str:
    text = rng.choice(texts)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        mutate = rng.choice(MUTATIONS)
        try:
            text = mutate(rng, text, rng.choice(texts))
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # an earlier change left no tree to change
            text = edited(rng, text, text)
    return text + "\n"


NAMES = ("pages", "sink", "page_size", "mode", "x", "\n")
NUMBERS = (0, 1, 3, 128, -1, 2.5, 1e300, -0.0, float("nan"), float("inf"), 10**5000)
VALUES = (*NUMBERS, True, None, "hi", "", [], (1,), {}, "\ud800", "x" * 9000)


@dataclass
class Tally:
    """What came out."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: str = ""

    def answer(self, text: str, values: dict[str, object]) -> str:
        """Give what loading and tracing say: a digest, or an error, which is checked."""
        started = time.thread_time()
        try:
            program = load_program(text)
            traced = trace.__wrapped__(program.with_values(**values), SHAPE)
            answer = traced.digest
        except ProgramError as error:
            check_error(error)
            answer = str(error)
        seconds = time.thread_time() - started
        if seconds > self.slowest_s:
            self.slowest_s, self.slowest = seconds, text
        return answer


def check_error(error: ProgramError) -> None:
    assert error.file == "<program>", error
    assert error.line >= 1, error
    assert error.column >= 1, error
    seen, _, remedy = error.message.partition("; ")
    assert seen, error
    assert remedy, error
    assert len(str(error)) <= LONGEST_ERROR, error
    assert str(error).isprintable(), error


def sort_of_answer(answer: str) -> str:
    """Give an error's wording without what is particular to one text."""
    if re.fullmatch("[0-9a-f]{16}", answer):
        return "a program"
    message = answer.split(":", 3)[3]
    return re.sub(r"'[^']*'|\d+|\[.*?\]", "…", message.split(";")[0])[:60]


@pytest.mark.parametrize("part", range(NUM_PARTS))
def test_what_is_mutated_loads_or_is_refused(part: int) -> None:
    texts, tally = sources(), Tally()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for i in range(part, NUM_TEXTS, NUM_PARTS):
        rng = random.Random(f"fuzz {i}")
        text = mutated(rng, texts)
        values = {rng.choice(NAMES): rng.choice(VALUES)} if rng.random() < 0.1 else {}
        answer = tally.answer(text, values)
        tally.outcomes[sort_of_answer(answer)] += 1
        if i % 5 == 0:
            assert tally.answer(text, values) == answer, f"text {i} has two answers"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert tally.slowest_s < MOST_SECONDS, tally.slowest
    assert peak < MOST_BYTES
    assert 0.05 < tally.outcomes["a program"] / tally.outcomes.total() < 0.95
    print(
        f"\npart {part}: slowest {tally.slowest_s:.3f} s, {peak / 2**20:.0f} MiB more, {len(tally.outcomes)} outcomes:"
    )
    print("\n".join(f"  {num:6d}  {outcome}" for outcome, num in tally.outcomes.most_common(12)))
