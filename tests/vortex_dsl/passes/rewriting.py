"""Rewrites of a program's text, by its syntax tree: those that keep its meaning, and those that change it.

Each takes a random source and a tree, changes the tree in place and says whether it found a place to do so.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable, Iterator

from vortex_dsl.frontend.vocabulary import IMPORTABLE
from vortex_dsl.tunables import PLATFORM_TUNABLES

Rewrite = Callable[[random.Random, ast.Module], bool]
PLATFORM_AXES = ("page", "head", "token", "dim")


def expression(text: str, **parts: ast.expr) -> ast.expr:
    """Parse an expression; its names that are keys of `parts` are replaced by these."""

    class Fill(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return copy.deepcopy(parts.get(node.id, node))

    return Fill().visit(ast.parse(text, mode="eval").body)


def class_of(tree: ast.Module) -> ast.ClassDef:
    return next(node for node in tree.body if isinstance(node, ast.ClassDef))


def functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def function(tree: ast.Module, name: str) -> ast.FunctionDef | None:
    return next((node for node in functions(tree) if node.name == name), None)


def parameter(tree: ast.Module, name: str, place: int) -> str:
    found = function(tree, name)
    assert found is not None
    return found.args.args[place].arg


def places(root: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.expr]]:
    """Give every expression below root with where it hangs: node, field, index in a list."""
    for node in ast.walk(root):
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.expr):
                yield node, name, None, value
            elif isinstance(value, list):
                yield from ((node, name, i, each) for i, each in enumerate(value) if isinstance(each, ast.expr))


def put(place: tuple[ast.AST, str, int | None, ast.expr], new: ast.expr) -> None:
    node, name, i, _ = place
    if i is None:
        setattr(node, name, new)
    else:
        getattr(node, name)[i] = new


def need(tree: ast.Module, *names: str) -> None:
    """Import names of the language, unless all are."""
    line = next(node for node in tree.body if isinstance(node, ast.ImportFrom))
    known = {alias.name for alias in line.names}
    if "*" not in known:
        line.names += [ast.alias(name) for name in names if name not in known]


def tunables(tree: ast.Module) -> dict[str, ast.Assign]:
    return {
        node.targets[0].id: node
        for node in class_of(tree).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def declare(tree: ast.Module, line: str) -> None:
    class_of(tree).body.insert(1, ast.parse(line).body[0])


def is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


def chosen(rng: random.Random, found: list) -> list:
    """Give one of what was found, nothing of nothing."""
    return [rng.choice(found)] if found else []


# What keeps the meaning


def rename_variables(_rng: random.Random, tree: ast.Module) -> bool:
    for each in functions(tree):
        stored = {node.id for node in ast.walk(each) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        own = [argument for argument in each.args.args[1:] if each.name in ("summarize", "select")]
        names = {name: f"{name}_anew" for name in (*stored, *(argument.arg for argument in own))}
        for argument in own:
            argument.arg = names[argument.arg]
        for node in ast.walk(each):
            if isinstance(node, ast.Name):
                node.id = names.get(node.id, node.id)
    return True


def rename_attributes(rng: random.Random, tree: ast.Module) -> bool:
    """Give tunables, states, fields and methods other names."""
    own = [name for name in tunables(tree) if name not in PLATFORM_TUNABLES]
    fields = [key for node in field_dicts(tree) for key in node.keys if isinstance(key, ast.Constant)]
    names = {name: f"anew{i}" for i, name in enumerate(sorted({*own, *(key.value for key in fields)}))}
    for key in fields:
        key.value = names[key.value]
    for name, node in tunables(tree).items():
        node.targets[0].id = names.get(name, name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            node.attr = names.get(node.attr, node.attr)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "remember":
            for keyword in node.keywords:
                keyword.arg = names.get(keyword.arg, keyword.arg)
    return bool(names)


def field_dicts(tree: ast.Module) -> list[ast.Dict]:
    summarize = function(tree, "summarize")
    returned = [node.value for node in ast.walk(summarize) if isinstance(node, ast.Return)] if summarize else []
    return [node for node in returned if isinstance(node, ast.Dict)]


def rename_axes(_rng: random.Random, tree: ast.Module) -> bool:
    """Give the axes that the program makes other names."""
    made = set()
    for node in ast.walk(tree):
        name = getattr(getattr(node, "func", None), "attr", getattr(getattr(node, "func", None), "id", ""))
        if isinstance(node, ast.Call) and name == "split":
            made |= {keyword.arg for keyword in node.keywords if keyword.arg not in PLATFORM_AXES}
        elif isinstance(node, ast.Call) and name in ("rename", "vector", "matrix", "stack"):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            made |= {each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    names = {name: f"a{i}_{name}" for i, name in enumerate(sorted(made - {*PLATFORM_AXES}, reverse=True))}
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                argument.value = names.get(argument.value, argument.value)
        if getattr(node.func, "attr", "") in ("split", "rename"):
            for keyword in node.keywords:
                keyword.arg = names.get(keyword.arg, keyword.arg)
    return bool(names)


def rename_the_class(_rng: random.Random, tree: ast.Module) -> bool:
    class_of(tree).name = "Anew"
    class_of(tree).body[0] = ast.Expr(ast.Constant("Another idea, in other words."))
    return True


def swap_commuting(rng: random.Random, tree: ast.Module) -> bool:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult | ast.BitAnd | ast.BitOr):
            found.append(node)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("maximum", "minimum", "union", "dot"):
            found += [node] * (len(node.args) > 1)
    for node in rng.sample(found, (len(found) + 1) // 2):
        if isinstance(node, ast.BinOp):
            node.left, node.right = node.right, node.left
        else:
            node.args[:2] = node.args[1::-1]
    return bool(found)


def mirror_comparisons(_rng: random.Random, tree: ast.Module) -> bool:
    mirrored = {
        ast.Lt: ast.Gt,
        ast.Gt: ast.Lt,
        ast.LtE: ast.GtE,
        ast.GtE: ast.LtE,
        ast.Eq: ast.Eq,
        ast.NotEq: ast.NotEq,
    }
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Compare) and len(node.ops) == 1]
    for node in found:
        node.left, node.comparators, node.ops = node.comparators[0], [node.left], [mirrored[type(node.ops[0])]()]
    return bool(found)


def unfold_numbers(rng: random.Random, tree: ast.Module) -> bool:
    """Write numbers as sums and products of numbers."""
    found = [place for each in functions(tree) for place in places(each) if is_number(place[3])]
    for place in rng.sample(found, (len(found) + 1) // 2):
        text = rng.choice(("(x + 3) - 3", "x * 2 // 2") if isinstance(place[3].value, int) else ("x * 2 / 2", "-(-x)"))
        put(place, expression(text, x=place[3]))
    return bool(found)


def add_neutral(rng: random.Random, tree: ast.Module) -> bool:
    """Do to a value what changes nothing."""
    found = [
        place
        for each in functions(tree)
        for place in places(each)
        if getattr(getattr(place[3], "func", None), "id", "") == "dot"
    ]
    for place in chosen(rng, found):
        put(place, expression(rng.choice(("x * 1", "x / 1.0", "-(-x)", "x - 0", "1 * x", "x ** 1")), x=place[3]))
    return bool(found)


def add_dead_code(rng: random.Random, tree: ast.Module) -> bool:
    select, query = function(tree, "select"), parameter(tree, "select", 1)
    assert select is not None
    kind = rng.randrange(6)
    if kind == 0:
        select.body[:0] = ast.parse(f"spare = {query}.sum('dim') * 3\nspare = spare + spare.max('head')").body
    elif kind == 1:
        tree.body.insert(1, ast.parse("def spare(x):\n    return x * 2").body[0])
    elif kind == 2:
        need(tree, "Float")
        declare(tree, "spare = Float(0.5, 0.0, 1.0)")
    elif kind == 3:
        need(tree, "State")
        declare(tree, "spare = State(axes=('head', 'page'), init=3)")
    elif kind == 4:
        tree.body.insert(1, ast.parse("SPARE = [i * 2 for i in range(5)]").body[0])
    else:
        for fields in field_dicts(tree):
            fields.keys.append(ast.Constant("spare"))
            fields.values.append(expression(f"{parameter(tree, 'summarize', 2)}.max('token')"))
    return True


INCREASING = (
    *("2 * x", "x * 0.5", "x + 3", "x - 7.25", "x / 3", "x * self.scale", "x / page.count", "x - x.mean('page')"),
    *("x - x.max('page')", "x * 2 * 3 - 1", "self.scale + x", "x * (2 * self.scale) - layer.index"),
    *("x / (3 / page.count)", "x + x.max('page') * 2", "x + x", "x / (1 + page.count)", "exp(self.scale) * x"),
    *("x * maximum(self.scale, 1 / page.count)", "x - (3 - x.min('page')) / 2", "(x + 1) + (x + 1)"),
)
SATURATING = ("exp(x)", "sigmoid(x)", "tanh(x)", "exp(0.5 * x) * 2", "x.softmax('page')", "exp(exp(x * 0.01)) - 1")


def wrap_scores(rng: random.Random, tree: ast.Module) -> bool:
    """Map a final score by something that keeps its order."""
    return wrap(rng, tree, INCREASING)


def squash_scores(rng: random.Random, tree: ast.Module) -> bool:
    """Map a final score by something that keeps its order, but not in float32."""
    return wrap(rng, tree, SATURATING)


def wrap(rng: random.Random, tree: ast.Module, maps: tuple[str, ...]) -> bool:
    found = list(scores(tree))
    for place in chosen(rng, found):
        need(tree, "exp", "sigmoid", "tanh", "layer", "maximum")
        page = ast.Name(parameter(tree, "select", 2), ast.Load())
        put(place, expression(rng.choice(maps), x=place[3], page=page))
    return bool(found)


def scores(tree: ast.Module) -> Iterator[tuple[ast.AST, str, int | None, ast.expr]]:
    """Give the scores of topk and refine within select."""
    select = function(tree, "select")
    assert select is not None
    for node in ast.walk(select):
        name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
        place = {"topk": 0, "refine": 1}.get(name)
        if place is not None and len(node.args) > place:
            yield node, "args", place, node.args[place]


def outer(statement: ast.stmt) -> list[tuple[ast.AST, str, int | None, ast.expr]]:
    """Give what a statement evaluates exactly once: calls and operators outside comprehensions and choices."""
    inner = (ast.ListComp, ast.IfExp, ast.BoolOp)
    hidden = {id(below) for node in ast.walk(statement) if isinstance(node, inner) for below in ast.walk(node)}
    called = {id(node.func) for node in ast.walk(statement) if isinstance(node, ast.Call)}
    wanted = (place for place in places(statement) if isinstance(place[3], ast.Call | ast.BinOp))
    return [place for place in wanted if id(place[3]) not in hidden | called]


def name_a_part(rng: random.Random, tree: ast.Module) -> bool:
    """Give an expression a name on a line before."""
    body = rng.choice([each for each in functions(tree) if each.name in ("summarize", "select")]).body
    i = rng.randrange(len(body))
    found = outer(body[i]) if isinstance(body[i], ast.Assign | ast.Return) else []
    for place in chosen(rng, found):
        put(place, ast.Name("part", ast.Load()))
        body.insert(i, ast.Assign([ast.Name("part", ast.Store())], place[3]))
    return bool(found)


def call_a_function(rng: random.Random, tree: ast.Module) -> bool:
    """Let an expression pass through a helper function, or one of the class."""
    select = function(tree, "select")
    assert select is not None
    found = [place for statement in select.body for place in outer(statement)]
    for place in chosen(rng, found):
        if rng.random() < 0.5:
            tree.body.insert(1, ast.parse("def same(x):\n    y = x\n    return y").body[0])
            put(place, expression("same(x)", x=place[3]))
        else:
            class_of(tree).body.append(ast.parse("def same(self, y, x):\n    return x").body[0])
            put(place, expression("self.same(3, x)", x=place[3]))
    return bool(found)


def write_a_name_out(rng: random.Random, tree: ast.Module) -> bool:
    """Put a variable's definition in the place of the variable."""
    each = rng.choice([each for each in functions(tree) if each.name in ("summarize", "select")])
    stored = [node.id for node in ast.walk(each) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    once = {name for name in stored if stored.count(name) == 1} | {argument.arg for argument in each.args.args}
    for statement in each.body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        name, value = statement.targets[0].id, statement.value
        read = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
        if name in once and read & {*stored} <= once and not any(isinstance(n, ast.ListComp) for n in ast.walk(each)):
            for place in list(places(each)):
                if isinstance(place[3], ast.Name) and place[3].id == name and isinstance(place[3].ctx, ast.Load):
                    put(place, copy.deepcopy(value))
            return True
    return False


def wrap_in_a_loop(rng: random.Random, tree: ast.Module) -> bool:
    body = rng.choice([each for each in functions(tree) if each.name in ("summarize", "select")]).body
    i = rng.randrange(len(body))
    head = rng.choice(("for turn in range(1):", "if 2 > 1:", "for turn in range(7):\n    if turn == 3:"))
    wrapped = ast.parse(f"{head}\n        pass" if "turn ==" in head else f"{head}\n    pass").body[0]
    inner = wrapped.body[0].body if "turn ==" in head else wrapped.body
    inner[:] = [body[i]]
    if isinstance(body[i], ast.Return):
        body.append(copy.deepcopy(body[i]))
    body[i] = wrapped
    return True


def reorder_statements(rng: random.Random, tree: ast.Module) -> bool:
    """Swap neighbouring assignments that do not need each other."""
    body = rng.choice([each for each in functions(tree) if each.name in ("summarize", "select")]).body
    for i in range(len(body) - 1):
        first, second = body[i : i + 2]
        if not isinstance(first, ast.Assign) or not isinstance(second, ast.Assign):
            continue
        names = [{node.id for node in ast.walk(each) if isinstance(node, ast.Name)} for each in (first, second)]
        parts = ([node for target in each.targets for node in ast.walk(target)] for each in (first, second))
        targets = [{node.id for node in part if isinstance(node, ast.Name)} for part in parts]
        if not targets[0] & names[1] and not targets[1] & names[0]:
            body[i], body[i + 1] = second, first
            return True
    return False


def reorder_declarations(rng: random.Random, tree: ast.Module) -> bool:
    for fields in field_dicts(tree):
        pairs = list(zip(fields.keys, fields.values, strict=True))
        rng.shuffle(pairs)
        fields.keys, fields.values = [key for key, _ in pairs], [value for _, value in pairs]
    rest = class_of(tree).body[1:]
    rng.shuffle(rest)
    class_of(tree).body[1:] = rest
    return True


def say_the_default(rng: random.Random, tree: ast.Module) -> bool:
    """Write what is so anyway: bfloat16, and the platform's tunables."""
    name = rng.choice([*PLATFORM_TUNABLES])
    if name not in tunables(tree):
        need(tree, "Int", "Choice")
        declare(tree, f"{name} = {PLATFORM_TUNABLES[name]}")
    for fields in field_dicts(tree):
        for i, value in enumerate(fields.values):
            if isinstance(value, ast.Call) and getattr(value.func, "attr", "to") not in ("to", *methods(tree)):
                fields.values[i] = expression("x.to('bfloat16')", x=value)
    return True


def methods(tree: ast.Module) -> list[str]:
    return [each.name for each in functions(tree)]


def write_tunables_out(_rng: random.Random, tree: ast.Module) -> bool:
    """Put defaults in the place of the program's own tunables."""
    defaults = {
        name: node.value.args[0]
        for name, node in tunables(tree).items()
        if isinstance(node.value, ast.Call) and node.value.args and is_number(node.value.args[0])
    }
    found = [
        place
        for each in functions(tree)
        for place in places(each)
        if isinstance(place[3], ast.Attribute)
        and getattr(place[3].value, "id", "") == "self"
        and place[3].attr in defaults
    ]
    for place in found:
        put(place, copy.deepcopy(defaults[place[3].attr]))
    return bool(found)


SAME: tuple[Rewrite, ...] = (
    *(rename_variables, rename_attributes, rename_axes, rename_the_class, swap_commuting, mirror_comparisons),
    *(unfold_numbers, add_neutral, add_dead_code, add_dead_code, wrap_scores, wrap_scores, squash_scores, name_a_part),
    *(call_a_function, write_a_name_out, wrap_in_a_loop, reorder_statements, reorder_declarations, say_the_default),
    *(write_tunables_out, swap_commuting),
)

# What changes the meaning


def reduce_otherwise(rng: random.Random, tree: ast.Module) -> bool:
    ways = ("max", "min", "mean", "sum", "logsumexp")
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in ways]
    for node in chosen(rng, found):
        node.attr = rng.choice([way for way in ways if way != node.attr])
    return bool(found)


def change_a_number(rng: random.Random, tree: ast.Module) -> bool:
    defaults = [(node.value, "args", 0, node.value.args[0]) for node in tunables(tree).values() if node.value.args]
    found = [place for each in functions(tree) for place in places(each)] + defaults
    for place in chosen(rng, [place for place in found if is_number(place[3])]):
        value = place[3].value
        put(
            place,
            ast.Constant(value + rng.choice((1, -1)) if isinstance(value, int) else value * rng.choice((0.25, 3.0))),
        )
        return True
    return False


def store_otherwise(rng: random.Random, tree: ast.Module) -> bool:
    kinds = ("float16", "fp8_e4m3", "int8", "int4", "sign", "sign", "int4")
    for fields in field_dicts(tree):
        i = rng.randrange(len(fields.values))
        value, kind = fields.values[i], ast.Constant(rng.choice(kinds))
        if isinstance(value, ast.Call) and getattr(value.func, "attr", "") == "to":
            value = value.func.value
        fields.values[i] = expression("x.to(kind)", x=value, kind=kind)
        return True
    return False


def swap_not_commuting(rng: random.Random, tree: ast.Module) -> bool:
    found = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div)]
    for node in chosen(rng, found):
        node.left, node.right = node.right, node.left
    return bool(found)


def operate_otherwise(rng: random.Random, tree: ast.Module) -> bool:
    found = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp)]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in ("maximum", "minimum")]
    for node in chosen(rng, [*found, *calls]):
        if isinstance(node, ast.Name):
            need(tree, "maximum", "minimum")
            node.id = "minimum" if node.id == "maximum" else "maximum"
        else:
            node.op = rng.choice([op for op in (ast.Add(), ast.Sub(), ast.Mult()) if type(op) is not type(node.op)])
    return bool(found or calls)


def choose_otherwise(rng: random.Random, tree: ast.Module) -> bool:
    """Change the score that decides, or how it decides."""
    found = list(scores(tree))
    for place in chosen(rng, found):
        texts = ("-x", "abs(x)", "x.shift('page', 1)", "x - x.max('page') * 2 * (x > 0)", "floor(x)")
        need(tree, "abs", "floor")
        put(place, expression(rng.choice(texts), x=place[3]))
    return bool(found)


def reserve_otherwise(rng: random.Random, tree: ast.Module) -> bool:
    lines = {
        "sink": "sink = Int(3, 0, 16)",
        "window": "window = Int(5, 1, 64)",
        "page_size": "page_size = Choice(32, (16, 32))",
    }
    name = rng.choice([*lines])
    if name in tunables(tree):
        return False
    need(tree, "Int", "Choice")
    declare(tree, lines[name])
    return True


def read_other_fields(rng: random.Random, tree: ast.Module) -> bool:
    """Swap two fields where they are stored."""
    for fields in field_dicts(tree):
        if len(fields.values) > 1:
            fields.values[0], fields.values[1] = fields.values[1], fields.values[0]
            return True
    return False


OTHER: tuple[Rewrite, ...] = (
    *(reduce_otherwise, reduce_otherwise, change_a_number, change_a_number, store_otherwise, swap_not_commuting),
    *(operate_otherwise, choose_otherwise, reserve_otherwise, read_other_fields),
)

assert {"exp", "sigmoid", "tanh", "layer", "maximum", "minimum", "abs", "floor"} <= IMPORTABLE
