"""Loading: what is read, what is refused, and the sentences that say so."""

import subprocess
import sys

import pytest

import vortex_dsl
from vortex_dsl import ProgramError, Shape, load_program, trace

SHAPE = Shape(4, 128)
QUEST = '''from vortex_dsl import Int, Program, maximum, topk
class Quest(Program):
    """Rank pages by an upper bound of q·k (arXiv:2406.10774).

    More words.
    """
    pages = Int(64, low=4, high=1024, log=True)   # pages chosen per KV head
    def summarize(self, k, v):
        return {"hi": k.max("token"), "lo": k.min("token")}
    def bound(self, q, page):
        return maximum(q * page.hi, q * page.lo).sum("dim")
    def select(self, q, page):
        return topk(self.bound(q, page).max("head"), self.pages)
'''


def refusal(text) -> str:
    with pytest.raises(ProgramError) as caught:
        load_program(text)
    return str(caught.value)


def traced(text, shape=SHAPE) -> str:
    return trace(load_program(text), shape).digest


def test_a_file_and_its_text_give_equal_programs(tmp_path):
    path = tmp_path / "quest.py"
    path.write_text(QUEST, encoding="utf-8")
    assert load_program(path) == load_program(str(path)) == load_program(QUEST)


def test_a_program_tells_its_name_text_and_idea():
    program = load_program(QUEST)
    assert (program.name, program.text) == ("Quest", QUEST)
    assert program.doc == "Rank pages by an upper bound of q·k (arXiv:2406.10774)."


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path):
    path = tmp_path / "quest.py"
    path.write_bytes(b"\xef\xbb\xbf" + QUEST.replace("\n", "\r\n").encode())
    assert load_program(path) == load_program(QUEST)


def test_the_error_of_the_language_page_comes_out_just_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quest.py").write_text(QUEST.replace('sum("dim")', 'sum("dims")'), encoding="utf-8")
    assert refusal("quest.py") == (
        "quest.py:11:16: 'sum' over axis 'dims', but the value has axes [page, head, dim]; did you mean 'dim'?"
    )


MISTAKES = {
    "field": ("page.lo", "page.low", "11:41: 'page' has no 'low'; did you mean 'lo'?"),
    "tunable": ("self.pages", "self.page", "13:54: 'self' has no 'page'; did you mean 'pages'?"),
    "helper": ("self.bound", "self.bond", "13:21: 'self' has no function 'bond'; did you mean 'bound'?"),
    "operation": ("return topk", "return tpk", "13:16: the name 'tpk' is not known here; did you mean 'topk'?"),
    "method": (".max(", ".maxx(", "there is no operation 'maxx' on values; did you mean 'max'?"),
    "not imported": (
        "return topk",
        "return topp",
        "13:16: 'topp' is not imported; add it to 'from vortex_dsl import ...'",
    ),
    "method as function": (
        'maximum(q * page.hi, q * page.lo).sum("dim")',
        'sum(q * page.hi, "dim")',
        "11:16: Python's 'sum' is not in the language; write x.sum(",
    ),
    "function as method": (
        "maximum(q * page.hi, q * page.lo)",
        "q.maximum(page.hi)",
        "11:16: 'maximum' is a function, not a method; write maximum(x, ...)",
    ),
    "score with heads": (
        '.max("head")',
        "",
        "13:16: 'topk' of a score with axes [page, head]; reduce it to exactly [page], for instance with .max('head')",
    ),
    "no selection": (
        "return topk(self.bound(q, page).max('head'), self.pages)".replace("'", '"'),
        'return self.bound(q, page).max("head")',
        "13:16: select returns a value with axes [page]; return a selection such as topk(score, self.pages)",
    ),
    "axis number": ('.max("head")', ".max(0)", "axes have names"),
    "keepdim": (
        '.max("head")',
        '.max("head", keepdim=True)',
        "'max' with 'keepdim'; axes are given by position, and go away: write x.max(\"head\")",
    ),
    "reserved field": ('"hi": k.max("token")', '"k": k.max("token")', "a field may not be called 'k'"),
    "field name": ('"hi": k.max("token")', '"h i": k.max("token")', "9:24: 'h i' is no name for a field"),
    "fields twice": ('"hi": k.max("token")', '"lo": k.max("token")', "the key 'lo' is given twice"),
    "no fields": (
        'return {"hi": k.max("token"), "lo": k.min("token")}',
        'return k.max("token")',
        '9:16: summarize must return a dict of fields; write {"name": value}',
    ),
    "arguments": ("self.bound(q, page)", "self.bound(q)", "the arguments do not fit 'bound'; write bound(q, page)"),
    "summarize": ("summarize(self, k, v)", "summarize(self, k)", "'summarize' takes 2 parameters; write def summarize"),
    "self": ("bound(self, q, page)", "bound(q, page)", "10:5: the first parameter of 'bound' must be self"),
    "no select": ("def select", "def choose", "2:1: 'Quest' has no 'select'; write def select(self, q, page):"),
    "base": ("Quest(Program)", "Quest", "2:1: 'Quest' must have one base, Program; write class Name(Program):"),
    "two bases": ("Quest(Program)", "Quest(Program, Int)", "must have one base, Program"),
    "metaclass": ("Quest(Program)", "Quest(Program, metaclass=Int)", "must have one base, Program"),
    "import of Program": ("Int, Program, ", "Int, ", "'Program' is not imported"),
    "positions": ("page.lo)", "q[0])", 'write x.take("dim", [0]) or a slice'),
    "truth of a value": (
        "        return topk",
        "        if page.count > 3:\n            return topk",
        "this is not known while tracing; choose per element with where(condition, a, b)",
    ),
    "no return": (
        "        return maximum",
        "        x = maximum",
        "'bound' ends without 'return'; return what it computes",
    ),
    "scale in summarize": (
        'k.max("token")',
        'k.max("token") * self.scale',
        "9:40: 'scale' here; a page's fields come from its k and v alone, use it in select",
    ),
    "page in summarize": ('k.max("token")', "page.count", "the name 'page' is not known here"),
    "and of values": (
        "q * page.lo)",
        "(q > 0 and q < 1))",
        "'and' of a value that is not known while tracing; write a & b",
    ),
    "syntax": ("def select(self, q, page):", "def select(self, q, page)", "12:30: this is not Python: expected ':'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_common_mistakes_are_answered_with_place_and_remedy(name):
    old, new, expected = MISTAKES[name]
    assert old in QUEST
    assert expected in refusal(QUEST.replace(old, new))


def test_a_column_counts_characters_where_the_parser_counts_bytes():
    text = QUEST.replace('"lo": k.min("token")', '"lo": k.min("é", "token", bogus)')
    assert ":9:65: the name 'bogus'" in refusal(text)


def test_a_missing_docstring_is_refused():
    text = "from vortex_dsl import *\nclass A(Program):\n    def select(self, q, page):\n        return every_page()\n"
    assert refusal(text) == "<program>:2:1: 'A' has no docstring; say the idea in its first line"


def test_a_text_without_a_class_is_refused():
    assert "there is no class" in refusal("\n")
    assert "there is no class" in refusal("A = 1\n")


def test_a_missing_file_is_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "no.py")
    assert "the text is empty" in refusal("")
    assert "cannot read" in refusal("x" * 5000)
    assert "cannot read" in refusal("a\0b")


def test_a_folder_a_device_and_another_type_are_refused(tmp_path):
    assert "this is a folder" in refusal(tmp_path)
    assert "not a regular file" in refusal("/dev/zero")
    assert "not int" in refusal(3)


def test_bytes_that_are_not_utf8_are_refused_with_their_place(tmp_path):
    path = tmp_path / "latin.py"
    path.write_bytes(b"# one\n# caf\xe9\n")
    assert refusal(path) == f"{path}:2:6: the byte 0xE9 is not UTF-8; save the file as UTF-8"


def test_the_size_is_bounded_before_parsing(tmp_path):
    assert load_program(QUEST + "#" * (16 * 1024 - len(QUEST.encode()))).name == "Quest"
    assert "at most 16384" in refusal(QUEST + "#" * (16 * 1024))
    path = tmp_path / "large.py"
    path.write_text("(" * 10_000_000)
    assert "more than 16384 bytes" in refusal(path)


def test_what_depends_on_the_shape_is_left_to_trace():
    text = QUEST.replace('k.max("token")', 'k.max("token").take("dim", slice(0, 8)).rename(dim="few").sum("few")')
    odd = QUEST.replace('.sum("dim")', '.split("dim", part=3).sum("dim", "part")')
    assert load_program(text).name == load_program(odd).name == "Quest"
    with pytest.raises(ProgramError, match="'split' of axis 'dim' of length 64 into 3"):
        vortex_dsl.trace(load_program(odd), vortex_dsl.Shape(group=2, head_dim=64))
    assert vortex_dsl.trace(load_program(odd), vortex_dsl.Shape(group=2, head_dim=96)).digest


def test_import_is_light():
    """Neither the package nor loading and tracing may need torch or anything as heavy; the best of three counts."""
    code = (
        "import sys, time; started = time.perf_counter(); import vortex_dsl; print(time.perf_counter() - started)\n"
        f"program = vortex_dsl.load_program({QUEST!r})\n"
        "vortex_dsl.trace(program, vortex_dsl.Shape(group=4, head_dim=64))\n"
        "heavy = {'torch', 'vllm', 'ray', 'sqlalchemy', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    runs = (subprocess.run([sys.executable, "-c", code], check=True, capture_output=True) for _ in range(3))
    assert any(float(run.stdout) < 0.1 for run in runs)


def test_a_program_text_can_be_imported_by_an_editor():
    names: dict = {}
    exec(QUEST, names)
    assert names["Quest"].pages == vortex_dsl.Int(64, 4, 1024, log=True)
    with pytest.raises(TypeError, match="only in a program"):
        names["topk"](1, 2)
    with pytest.raises(AttributeError, match="has no attribute 'bogus'"):
        vortex_dsl.bogus  # noqa: B018


def test_importing_modules_does_not_hide_the_functions_of_their_names():
    import vortex_dsl.analysis.cost
    import vortex_dsl.api
    import vortex_dsl.frontend.trace

    assert vortex_dsl.trace(load_program(QUEST), vortex_dsl.Shape(4, 64)).digest
    assert vortex_dsl.cost(load_program(QUEST), vortex_dsl.Shape(4, 64), tokens=1024) is not None


FOREIGN_CALLS = {
    "min(1, 2)": "write minimum(a, b), or x.min(",
    "max(q, 2)": "write maximum(a, b), or x.max(",
    "int(2.5)": "write floor(x), or a // b for known numbers",
    "float(2)": "leave it out; numbers need no conversion",
    "len([1, 2])": "page.count counts pages",
    "[1] + [2]": "join lists with [x for part in [a, b] for x in part]",
    "[1] * 3": "repeat with [x for i in range(n)]",
    "[1] - q": "go through its elements with a comprehension, or make numbers a value with vector(numbers,",
    '"a" + "b"': "use values and numbers",
    "(0 - 2) ** 0.5": "'pow' of -2 and 0.5 is no real number; raise numbers of at least 0",
    "0 ** (0 - 1)": "'pow' of 0 divides by zero",
    "0.0 ** (0 - 0.5)": "'pow' of 0.0 divides by zero",
}


@pytest.mark.parametrize("written", FOREIGN_CALLS)
def test_what_python_would_take_is_answered_with_what_to_write(written):
    text = QUEST.replace('.max("head")', f'.max("head") + ({written})')
    assert FOREIGN_CALLS[written] in refusal(text)


def test_known_numbers_are_computed_as_python_does():
    """The operators' folds stand in the operation table, which computes in floats; indices must stay whole."""
    whole = {"2 ** 3": 8, "-3 + 4": 1, "7 % 4": 3, "-(0 - 5)": 5, "2 ** 0": 1, "(1 < 2) + (2 < 3)": 2, "7 // 2": 3}
    for written, value in whole.items():
        index = QUEST.replace("self.pages)", f"[10, 11, 12, 13, 14, 15, 16, 17, 18][{written}])")
        assert traced(index) == traced(QUEST.replace("self.pages)", f"{value + 10})")), written
    for written in ("4 / 2", "2.0 ** 2", "2 ** (0 - 1)"):
        assert "index known lists by known whole numbers" in refusal(
            QUEST.replace("self.pages)", f"[1, 2, 3][{written}])")
        )


def test_a_text_may_begin_with_a_docstring():
    """It is a remark: nothing of it counts, and the class still has to say its idea."""
    assert traced('"""A remark."""\n' + QUEST) == traced(QUEST)
    assert load_program('"""A remark."""\n' + QUEST).doc == load_program(QUEST).doc
    assert "a bare expression is not allowed" in refusal(QUEST + '"""A remark at the end."""\n')
    assert "a bare expression is not allowed" in refusal("1\n" + QUEST)


def test_the_models_group_and_head_dim_are_known_numbers():
    asked = QUEST.replace("self.pages)", "self.head_dim // self.group)")
    for group, head_dim in ((4, 128), (2, 64), (8, 64)):
        given = QUEST.replace("self.pages)", f"{head_dim // group})")
        assert traced(asked, Shape(group, head_dim)) == traced(given, Shape(group, head_dim))
    assert traced(asked, Shape(4, 128)) != traced(asked, Shape(2, 128))


def test_a_programs_own_name_comes_before_the_models():
    own = QUEST.replace("    def summarize", "    group = Int(7, low=1, high=9)\n\n    def summarize")
    assert traced(own.replace("self.pages)", "self.group)")) == traced(QUEST.replace("self.pages)", "7)"))
    remembered = QUEST.replace("    def summarize", "    group = State()\n\n    def summarize").replace(
        "import ", "import State, "
    )
    assert "write page.group" in refusal(remembered.replace("self.pages)", "self.group)"))


def test_what_depends_on_the_model_is_told_when_it_is_traced():
    wide = QUEST.replace("self.pages)", "[1, 2, 3, 4][self.group])")
    assert traced(wide, Shape(3, 64)) == traced(QUEST.replace("self.pages)", "4)"), Shape(3, 64))
    with pytest.raises(ProgramError, match="has no element 4"):
        trace(load_program(wide), Shape(4, 128))
