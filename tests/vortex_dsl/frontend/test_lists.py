"""Lists of known numbers are made once for all texts, and nothing is accepted, refused or computed otherwise for it."""

import pytest

from vortex_dsl import ProgramError, Shape, load_program, trace
from vortex_dsl.frontend import evaluate, lists
from vortex_dsl.frontend.evaluate import Evaluator
from vortex_dsl.frontend.lists import MOST_TOLD, SHARED, Shared
from vortex_dsl.frontend.meter import MAX_STEPS, Spent

SHAPE = Shape(2, 64)
HADAMARD = "[[1 - 2 * ((i // 8 * (j // 8) + i % 8 * j) % 2) for j in range({width})] for i in range(16)]"
TEXT = '''from vortex_dsl import *
{top}

class Listed(Program):
    """Makes a list."""

    pages = Int(4, 1, 64)
    sign = Float(1.0, -1.0, 1.0)

{methods}
    def summarize(self, k, v):
        {first}
        return {{"x": k.mean("token")}}

    def select(self, q, page):
        {body}
'''


def text(body, top="", methods="", first="x = 0"):
    return TEXT.format(top=top, methods=methods, first=first, body="\n        ".join(body.split("\n")))


def rotated(width="self.head_dim", more="0"):
    return f"""made = {HADAMARD.format(width=width)}
turned = dot(matrix(made, "rank", "dim"), q.mean("head"), "dim")
return topk((page.x.mean("dim") + turned.sum("rank") + {more}), self.pages)"""


@pytest.fixture(autouse=True)
def nothing_kept():
    SHARED.forget()


@pytest.fixture
def made(monkeypatch):
    """Lists that are really made, by line."""
    lines, real = [], Evaluator._listed

    def listed(self, node, scope):
        lines.append(node.lineno)
        return real(self, node, scope)

    monkeypatch.setattr(evaluate.Evaluator, "_listed", listed)
    return lines


def graphs(program, *values, shape=SHAPE):
    return [trace(program.with_values(**each), shape).digest for each in values]


def anew(source, *values, shape=SHAPE):
    """Trace each with a text of its own, and nothing kept."""

    def digest(given):
        SHARED.forget()
        return trace(load_program(source).with_values(**given), shape).digest

    return [digest(each) for each in values]


def test_a_list_is_made_once_for_all_budgets(made):
    source = text(rotated())
    program = load_program(source)
    graphs(program, {})
    del made[:]
    budgets = [{"pages": pages} for pages in range(5, 12)]
    found = graphs(program, *budgets)
    assert made == []
    assert found == anew(source, *budgets)


def test_another_width_is_another_list(made):
    source = text(rotated())
    program = load_program(source)
    shapes = (Shape(2, 64), Shape(2, 32), Shape(2, 64))
    found = [graphs(program, {}, shape=shape) for shape in shapes]
    del made[:]
    assert trace(program.with_values(pages=9), Shape(2, 32)).digest
    assert made == []
    assert found == [anew(source, {}, shape=shape) for shape in shapes]


@pytest.mark.parametrize("number", ["1", "1.0", "True", "0", "0.0", "-0.0", "False"])
def test_numbers_that_are_equal_are_told_apart(number):
    """1, 1.0 and True index, divide and compare otherwise; the sign of a zero is that of what it is multiplied by."""
    before = [f"x = {each}\nmade = self.many(x)" for each in ("1", "1.0", "True", "0", "0.0", "-0.0", "False")]
    methods = "    def many(self, x):\n        return [x * (i + 1) for i in range(100)]\n"
    last = f'x = {number}\nreturn topk(page.x.mean("dim") * vector(self.many(x), "rank").sum("rank"), 4)'
    whole, alone = text("\n".join([*before, last]), methods=methods), text(last, methods=methods)
    assert _outcome(whole) == _outcome(alone)


def test_what_is_not_known_is_made_each_time(made):
    body = """made = [page.x.mean("dim") * (i + j) for i in range(8) for j in range(8)]
return topk(made[3] + made[7], self.pages)"""
    program = load_program(text(body))
    del made[:]
    graphs(program, {"pages": 5}, {"pages": 6})
    assert len(made) == 2


def test_constants_and_lists_of_them_are_known(made):
    top = "BASE = [0.5 * i for i in range(64)]\nTWICE = [[BASE[i] * BASE[j] for i in range(32)] for j in range(8)]"
    source = text('return topk(page.x.mean("dim") + matrix(TWICE, "a", "b").sum("a", "b"), self.pages)', top=top)
    program = load_program(source)
    del made[:]
    budgets = [{"pages": pages} for pages in (5, 6)]
    found = graphs(program, *budgets)
    assert made == []
    assert found == anew(source, *budgets)


def test_a_variable_that_is_called_as_a_constant_is_no_constant():
    """At the top level a comprehension may call its own so."""
    top = "A = 3\nB = [[A * j for j in range(40)][1] for A in [A, A + 1, A] for z in [[0]]]"
    body = 'return topk(page.x.mean("dim") * vector(B, "a").sum("a"), 4)'
    assert _outcome(text(body, top=top)) == _outcome(text(body, top="B = [3, 4, 3]"))


def test_what_only_select_may_read_is_refused_in_summarize_whatever_came_before():
    """A helper's list that reads `self.scale` is fine in select and refused in summarize."""
    methods = "    def many(self):\n        return [i for i in range(100) for z in [self.scale * 0]]\n"
    good = text('made = self.many()\nreturn topk(page.x.mean("dim") + made[3], self.pages)', methods=methods)
    bad = text(
        'made = self.many()\nreturn topk(page.x.mean("dim") + made[3], self.pages)', methods=methods,
        first="x = self.many()",
    )  # fmt: skip
    assert _outcome(good) == _outcome(good)
    assert "use it in select" in _outcome(bad)


def nested(levels):
    """Call through so many functions, then make the list."""
    helpers = "".join(f"    def f{i}(self):\n        return self.f{i + 1}()\n" for i in range(levels))
    return helpers + f"    def f{levels}(self):\n        return [i * 2 for i in range(100)]\n"


def test_a_list_that_was_made_is_refused_where_it_would_be_too_deep():
    """Of chains of calls the longest that is accepted by itself is the longest that is accepted after a shorter one."""

    def outcome(levels, *, after):
        before = f"made = self.f{levels}()\n" if after else ""
        body = f'{before}made = self.f0()\nreturn topk(page.x.mean("dim") + made[3], self.pages)'
        return _outcome(text(body, methods=nested(levels)))

    alone = [outcome(levels, after=False) for levels in range(80, 110)]
    after = [outcome(levels, after=True) for levels in range(80, 110)]
    assert any("deep" in each for each in alone)
    assert not all("deep" in each for each in alone)
    assert ["deep" in each for each in alone] == ["deep" in each for each in after]
    assert [_without_lines(each) for each in alone] == [_without_lines(each) for each in after]


def test_a_list_that_was_made_costs_as_many_steps_again():
    """Loops that make it anew are refused at the same place as if each time were the first."""
    loop = (
        'for n in range({times}):\n    made = [i * {what} + 1 for i in range(100)]\nreturn topk(page.x.mean("dim"), 4)'
    )
    times = range(90, 106, 3)
    known, unknown = ([_outcome(text(loop.format(times=t, what=w))) for t in times] for w in ("2", "n"))
    assert [_without_lines(each) for each in known] == [_without_lines(each) for each in unknown]
    assert any("50000 steps" in each for each in known)
    assert not all("50000 steps" in each for each in known)


def test_no_more_is_kept_than_is_meant():
    shared = Shared(most_steps=2 * MAX_STEPS)
    for i in range(12):
        shared.keep(str(i), [i], Spent(MAX_STEPS - i, 0))
        assert sum(each.spent.num_steps for each in shared._kept.values()) <= shared.most_steps
    assert shared.get("11").numbers == [11]


def test_another_text_takes_the_list_that_the_first_one_made(made):
    digests = set()
    for more in ("page.x.norm('dim')", "page.x.mean('dim')"):
        source = text(rotated(more=more))
        del made[:]
        load_program(source)
        digests.add(trace(load_program(source), SHAPE).digest)
    assert made == []
    assert len(digests) == 2


def test_a_constant_of_another_text_is_another_one():
    top = "BASE = [{first} * i for i in range(64)]\nTWICE = [BASE[i] * BASE[j] for i in range(32) for j in range(8)]"
    body = 'return topk(maximum(page.x.mean("dim"), vector(TWICE, "a").sum("a")), self.pages)'
    sources = [text(body, top=top.format(first=first)) for first in ("0.5", "1", "1.0", "0.5")]
    together = [trace(load_program(source), SHAPE).digest for source in sources]
    assert together == [_outcome(source) for source in sources]
    assert together[0] == together[3] != together[1]


def test_a_constant_that_is_long_when_it_is_written_down_is_not_written_down():
    """Each list holds the one before often: by elements it is larger than any memory."""
    long: list = [1, 2]
    for _ in range(40):
        long = [long] * 4
    assert lists._told(long) is None
    assert lists._told("x" * (MOST_TOLD + 1)) is None
    assert lists._told([1, 1.0, (True, -0.0), "x"]) == "[1, 1.0, (True, -0.0), 'x']"
    rows = "\n".join(f"A{i + 1} = [A{i}, A{i}, A{i}, A{i}]" for i in range(40))
    top = f"A0 = [1, 2]\n{rows}\nB = [i * len(A40) for i in range(100)]"
    assert _outcome(text('return topk(page.x.mean("dim") * vector(B, "a").max("a"), 4)', top=top))


def _outcome(source):
    """Give the digest of a text's graph where nothing is kept, or why it is refused."""
    SHARED.forget()
    try:
        return trace(load_program(source), SHAPE).digest
    except ProgramError as error:
        return str(error)


def _without_lines(told):
    return told.split(": ", 1)[-1]
