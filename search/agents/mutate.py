"""Changes of a program's syntax tree. Each operator changes the tree in place and says what it did, None if it cannot.

Operators know types only so far; a change that does not trace is drawn again by the proposer.
"""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING

from search.agents.source import set_default

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from search.agents.source import Source

    Operator = Callable[[Source, random.Random], str | None]

STORAGE = ("bfloat16", "fp8_e4m3", "int8", "int4", "sign")
REDUCTIONS = ("max", "mean", "sum", "logsumexp")
MOST_PAGES = 32
PLATFORM = {"sink": ("Int({}, 0, 16)", (0, 1, 2)), "window": ("Int({}, 1, 64)", (1, 2, 3, 4))}
KEPT = ("page_size", "dense_layers", "share_layers", "refresh_steps")  # another engine, or not to be searched


def retune(source: Source, rng: random.Random) -> str | None:
    """Give one tunable another value, near the old one."""
    numbers = [name for name, call in source.tunables.items() if name not in KEPT and _kind(call) in ("Int", "Float")]
    if not numbers:
        return None
    name = rng.choice(numbers)
    call = source.tunables[name]
    old, low, high = (_number(call, i, key) for i, key in enumerate(("default", "low", "high")))
    if old is None or low is None or high is None:
        return None
    new: float | int
    if _kind(call) == "Int":
        step = max(1, round(old * rng.choice((0.25, 0.5, 1.0))))
        new = int(min(max(old + rng.choice((-step, step)), low), high, max(MOST_PAGES, old)))
    else:
        new = round(min(max(old + rng.gauss(0, 0.2) * (high - low), low), high), 3)
    set_default(call, new)
    return None if new == old else f"{name} = {new} in place of {old}"


def reserve(source: Source, rng: random.Random) -> str | None:
    """Change how many pages at either end are always attended, where others are chosen."""
    if "pages" not in source.tunables:
        return None
    name = rng.choice(sorted(PLATFORM))
    form, options = PLATFORM[name]
    value = rng.choice(options)
    source.declare(name, form.format(value))
    return f"{name} = {value}"


def restore(source: Source, rng: random.Random) -> str | None:
    """Store one field in another kind."""
    fields = source.fields
    if fields is None or not fields.keys:
        return None
    i = rng.randrange(len(fields.keys))
    value, kind = fields.values[i], rng.choice(STORAGE)
    bare = value.func.value if _is_call_of(value, "to") else value  # type: ignore[attr-defined]
    fields.values[i] = _method(bare, "to", kind)
    return f"{ast.literal_eval(fields.keys[i] or ast.Constant('a field'))} in {kind}"


def reduce_otherwise(source: Source, rng: random.Random) -> str | None:
    """Reduce heads, tokens or sub-pages of the score by another operation."""
    select = source.method("select")
    found = [c for c in _calls(select) if _attribute(c) in REDUCTIONS and _axes(c) and "page" not in _axes(c)]
    found = [call for call in found if "dim" not in _axes(call)]
    if not found:
        return None
    call = rng.choice(found)
    assert isinstance(call.func, ast.Attribute)
    old, call.func.attr = call.func.attr, rng.choice([r for r in REDUCTIONS if r != call.func.attr])
    return f"{call.func.attr} in place of {old} over {' and '.join(_axes(call))}"


def share_heads(source: Source, rng: random.Random) -> str | None:
    """Compare pages by the share each head gives them, or take that comparison away."""
    select = source.method("select")
    shares = [call for call in _calls(select) if _attribute(call) == "softmax"]
    if select is not None and shares:
        _replace(select, lambda node: node is shares[0], lambda _: shares[0].func.value)  # type: ignore[attr-defined]
        return "heads without softmax over pages"
    found = [call for call in _calls(select) if _attribute(call) in ("max", "sum") and _axes(call) == ["head"]]
    if not found:
        return None
    call = rng.choice(found)
    assert isinstance(call.func, ast.Attribute)
    call.func.value = _method(ast.BinOp(call.func.value, ast.Mult(), _self("scale")), "softmax", "page")
    return "softmax over pages in each head"


def resplit(source: Source, rng: random.Random) -> str | None:
    """Summarise other sub-pages: change their number, or begin to split."""
    summarize, select = source.method("summarize"), source.method("select")
    if summarize is None or select is None:
        return None
    splits = [call for call in _calls(summarize) if _attribute(call) == "split"]
    number = rng.choice((2, 4, 8))
    for call in splits:
        call.keywords[0].value = ast.Constant(number)
    if not splits:
        _replace(summarize, lambda n: _named(n, "k"), lambda n: _method(n, "split", "token", sub=number))
        heads = [c for c in _calls(select) if _attribute(c) in REDUCTIONS and _axes(c) == ["head"]]
        for call in heads:
            assert isinstance(call.func, ast.Attribute)
            call.func.value = _method(call.func.value, "max", "sub")
        if not heads:
            return None
    return f"{number} sub-pages"


def narrow(source: Source, rng: random.Random) -> str | None:
    """Look at some of the channels only."""
    summarize, select = source.method("summarize"), source.method("select")
    if summarize is None or select is None or any(_attribute(call) == "take" for call in _calls(summarize)):
        return None
    quarter, all_of_them = source.head_dim // 4, source.head_dim
    half = 2 * quarter
    ranges = (
        (0, half, 1),
        (half, all_of_them, 1),
        (0, all_of_them, 2),
        (0, half + quarter, 1),
        (quarter, all_of_them, 1),
    )
    start, stop, step = rng.choice(ranges)
    channels = ast.parse(f"slice({start}, {stop}, {step})", mode="eval").body

    def taken(node: ast.expr) -> ast.expr:
        return ast.Call(ast.Attribute(node, "take", ast.Load()), [ast.Constant("dim"), channels], [])

    _replace(summarize, lambda n: _named(n, "k"), taken)
    _replace(select, lambda n: _named(n, "q"), taken)
    return f"channels {start} to {stop} in steps of {step}"


def gate(source: Source, rng: random.Random) -> str | None:
    """Let the norms of the values count."""
    fields, score = source.fields, _score_slot(source)
    if fields is None or score is None or any(_constant(key) == "gate" for key in fields.keys):
        return None
    fields.keys.append(ast.Constant("gate"))
    way = rng.choice(("mean", "max"))
    fields.values.append(ast.parse(f'v.norm("dim").{way}("token")', mode="eval").body)
    if "gate" not in source.tunables:
        source.declare("gate", f"Float({rng.uniform(0.1, 1):.2f}, low=0.0, high=2.0)")
    bonus = ast.parse("self.gate * log(page.gate + 0.001)", mode="eval").body
    score.args[0] = ast.BinOp(score.args[0], ast.Add(), bonus)
    return f"plus the log of the {way} value norm"


def along_pages(source: Source, rng: random.Random) -> str | None:
    """Let neighbouring pages count."""
    score = _score_slot(source)
    if score is None:
        return None
    side = rng.choice((0.1, 0.25, 0.5))
    weights = ast.List([ast.Constant(side), ast.Constant(1.0), ast.Constant(side)], ast.Load())
    smoothed = _method(score.args[0], "smooth", "page")
    smoothed.args.append(weights)
    score.args[0] = smoothed
    return f"neighbours count {side}"


def budget(source: Source, rng: random.Random) -> str | None:
    """Choose by another rule: a fixed number, one that grows with length, or a share of the mass."""
    call = _score_slot(source)
    if call is None or "pages" not in source.tunables:
        return None
    score = call.args[0]
    assert isinstance(call.func, ast.Name)
    way = rng.choice(("topk", "grow", "topp"))
    call.keywords = []
    if way == "topp":
        source.declare("mass", f"Float({rng.uniform(0.5, 0.99):.2f}, low=0.1, high=1.0)")
        call.func.id, call.args = "topp", [score, _self("mass"), _expression("2 * self.pages")]
        return "pages until the mass is reached"
    call.func.id, call.args = "topk", [score, _self("pages")]
    if way == "grow":
        source.declare("share", f"Float({rng.uniform(0.01, 0.06):.3f}, low=0.001, high=0.5)")
        call.args[1] = _expression("maximum(self.pages, self.share * page.count)")
        return "a budget that grows with length"
    return "a fixed budget"


def swap(source: Source, rng: random.Random) -> str | None:
    """Put one part of the score where another is, or apply a function to it."""
    select = source.method("select")
    parts = [n for n in ast.walk(select) if isinstance(n, ast.expr) and _is_part(n)] if select else []
    if len(parts) < 2:
        return None
    old, new = rng.sample(parts, 2)
    if rng.random() < 0.5:
        name = rng.choice(("relu", "tanh", "square", "abs", "sqrt"))
        new = ast.Call(ast.Name(name, ast.Load()), [old], [])
    assert select is not None
    text = ast.unparse(old), ast.unparse(new)
    copy = ast.parse(text[1], mode="eval").body
    _replace(select, lambda node: node is old, lambda _: copy)
    return f"{text[1]} in place of {text[0]}"


OPERATORS: tuple[tuple[Operator, int], ...] = (
    (retune, 6),
    (reserve, 1),
    (restore, 5),
    (reduce_otherwise, 3),
    (share_heads, 2),
    (resplit, 3),
    (narrow, 2),
    (gate, 1),
    (along_pages, 1),
    (budget, 2),
    (swap, 3),
)


def mutate(source: Source, rng: random.Random) -> str | None:
    """Apply one operator, drawn by weight."""
    operator = rng.choices([each for each, _ in OPERATORS], [weight for _, weight in OPERATORS])[0]
    return operator(source, rng)


def _kind(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _number(call: ast.Call, position: int, name: str) -> float | None:
    """Give an argument of a tunable that is written as a number."""
    given = call.args[position] if position < len(call.args) else None
    given = next((keyword.value for keyword in call.keywords if keyword.arg == name), given)
    try:
        value = ast.literal_eval(given) if given is not None else None
    except ValueError:
        return None
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def _calls(function: ast.AST | None) -> list[ast.Call]:
    return [node for node in ast.walk(function) if isinstance(node, ast.Call)] if function else []


def _attribute(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _axes(call: ast.Call) -> list[str]:
    return [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]


def _constant(node: ast.AST | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _is_call_of(node: ast.AST, method: str) -> bool:
    return isinstance(node, ast.Call) and _attribute(node) == method


def _named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)


def _method(value: ast.expr, name: str, *axes: str, **lengths: int) -> ast.Call:
    keywords = [ast.keyword(key, ast.Constant(length)) for key, length in lengths.items()]
    return ast.Call(ast.Attribute(value, name, ast.Load()), [ast.Constant(axis) for axis in axes], keywords)


def _self(name: str) -> ast.Attribute:
    return ast.Attribute(ast.Name("self", ast.Load()), name, ast.Load())


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _score_slot(source: Source) -> ast.Call | None:
    """Give the call of topk or topp that select returns, where its first argument is the score (not by keyword)."""
    select = source.method("select")
    last = select.body[-1] if select else None
    call = last.value if isinstance(last, ast.Return) else None
    if isinstance(call, ast.Call) and call.args and _kind(call) in ("topk", "topp"):
        return call
    return None


def _is_part(node: ast.AST) -> bool:
    """Say whether a node is part of a score: an operation, not a selection, a name or a number."""
    selections = ("topk", "topp", "above", "union", "refine", "every_page", "reserved_only")
    return isinstance(node, ast.BinOp) or (isinstance(node, ast.Call) and _kind(node) not in selections)


def _replace(root: ast.AST, wanted: Callable[[ast.AST], bool], change: Callable[[ast.expr], ast.expr]) -> None:
    """Change the wanted nodes below a root, without looking into what was put there."""
    for parent in list(ast.walk(root)):
        for name, value in _children(parent):
            if isinstance(value, ast.expr) and wanted(value):
                setattr(parent, name, change(value))
            elif isinstance(value, list):
                value[:] = [change(v) if isinstance(v, ast.expr) and wanted(v) else v for v in value]


def _children(node: ast.AST) -> Iterator[tuple[str, object]]:
    return iter(list(ast.iter_fields(node)))
