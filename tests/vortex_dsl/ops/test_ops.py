"""Every operation's meaning against NumPy, alone and in a batch with garbage; binding; type rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from vortex_dsl.backends.interpreter import evaluate
from vortex_dsl.graph.builder import Builder
from vortex_dsl.graph.interner import Interner
from vortex_dsl.node import LEAVES, reachable
from vortex_dsl.ops import OPS
from vortex_dsl.ops.frame import Frame
from vortex_dsl.ops.op import OpKind
from vortex_dsl.values import Kind, Shape, TypeRuleError

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = Shape(group=2, head_dim=8)
TOKENS, PAGES = 16, 7
LENGTHS = (7, 4, 0, 1)  # complete pages per row
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """An operation on K [page, token, dim], q [head, dim] and page.index [page], and the same in NumPy."""

    op: str
    build: Callable[[Builder, dict[str, Any]], Any]
    numpy: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    label: str = ""


def call(name: str, *args: Any, **kwargs: Any) -> Callable[[Builder, dict[str, Any]], Any]:
    """Build one operation; strings that name an input stand for it."""

    def build(builder: Builder, inputs: dict[str, Any]) -> Any:
        return builder.call(name, [inputs.get(a, a) if isinstance(a, str) else a for a in args], kwargs)

    return build


def binary(op: str, function: Callable[..., Any]) -> Case:
    return Case(op, call(op, "K", "q"), lambda k, q, i: function(k[:, None], q[None, :, None]))


def unary(op: str, function: Callable[..., Any], source: str = "K") -> Case:
    return Case(op, call(op, source), lambda k, q, i: function({"K": k, "positive": np.abs(k) + 0.5}[source]))


def boolean(op: str, function: Callable[..., Any]) -> Case:
    def build(builder: Builder, inputs: dict[str, Any]) -> Any:
        a, b = builder.call("gt", [inputs["K"], 0.0]), builder.call("lt", [inputs["K"], 0.5])
        return builder.call(op, [a] if op == "invert" else [a, b])

    return Case(op, build, lambda k, q, i: function(k > 0, k < 0.5))


def logsumexp(x: np.ndarray, axis: Any) -> np.ndarray:
    return np.log(np.exp(x.astype(np.float64)).sum(axis))


def top_mask(x: np.ndarray, n: int) -> np.ndarray:
    order = np.argsort(-x, axis=-1, kind="stable")
    mask = np.zeros(x.shape, bool)
    np.put_along_axis(mask, order[..., :n], values=True, axis=-1)
    return mask


def shifted(x: np.ndarray, n: int, fill: float) -> np.ndarray:
    return np.stack([x[i - n] if 0 <= i - n < len(x) else np.full_like(x[0], fill) for i in range(len(x))])


def smoothed(x: np.ndarray, weights: list[float]) -> np.ndarray:
    half = len(weights) // 2
    padded = np.concatenate([np.zeros_like(x[:1])] * half + [x] + [np.zeros_like(x[:1])] * half)
    return sum(w * padded[j : j + len(x)] for j, w in enumerate(weights))


def hashed(i: np.ndarray, seed: int) -> np.ndarray:
    def mix(h: int) -> int:
        h = ((h ^ (h >> 16)) * 0x85EBCA6B) % 2**32
        h = ((h ^ (h >> 13)) * 0xC2B2AE35) % 2**32
        return h ^ (h >> 16)

    return np.array([(mix((int(x) + mix(seed % 2**32)) % 2**32) >> 8) / 2**24 for x in i])


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


MATRIX = [[0.5 * r - d for d in range(8)] for r in range(3)]

CASES = (
    binary("add", np.add),
    binary("sub", np.subtract),
    binary("mul", np.multiply),
    binary("div", np.divide),
    Case("mod", call("mod", "K", -0.75), lambda k, q, i: np.mod(k, np.float32(-0.75))),
    Case("pow", call("pow", "positive", 1.5), lambda k, q, i: np.power(np.abs(k) + 0.5, 1.5)),
    unary("neg", np.negative),
    binary("lt", np.less),
    binary("le", np.less_equal),
    binary("gt", np.greater),
    binary("ge", np.greater_equal),
    binary("eq", np.equal),
    binary("ne", np.not_equal),
    boolean("and", lambda a, b: a & b),
    boolean("or", lambda a, b: a | b),
    boolean("invert", lambda a, b: ~a),
    unary("abs", np.abs),
    unary("exp", np.exp),
    unary("log", np.log, "positive"),
    unary("sqrt", np.sqrt, "positive"),
    unary("rsqrt", lambda x: 1 / np.sqrt(x), "positive"),
    unary("square", np.square),
    unary("sign", np.sign),
    unary("floor", np.floor),
    unary("relu", lambda x: np.maximum(x, 0)),
    unary("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    unary("silu", lambda x: x / (1 + np.exp(-x))),
    unary("tanh", np.tanh),
    binary("maximum", np.maximum),
    binary("minimum", np.minimum),
    Case("clip", call("clip", "K", -0.5, 0.25), lambda k, q, i: np.clip(k, -0.5, 0.25)),
    Case(
        "where",
        lambda b, x: b.call("where", [b.call("gt", [x["K"], 0.1]), x["K"], x["q"]]),
        lambda k, q, i: np.where(k[:, None] > 0.1, k[:, None], q[None, :, None]),
    ),
    Case("hash", call("hash", "index", 7), lambda k, q, i: hashed(i, 7)),
    Case("sum", call("sum", "K", "token", "dim"), lambda k, q, i: k.sum((1, 2))),
    Case("sum", call("sum", "K", "page"), lambda k, q, i: k.sum(0), "pages"),
    Case("mean", call("mean", "K", "token"), lambda k, q, i: k.mean(1)),
    Case("mean", call("mean", "K", "page", "dim"), lambda k, q, i: k.mean((0, 2)), "pages"),
    Case("max", call("max", "K", "token"), lambda k, q, i: k.max(1)),
    Case("max", call("max", "K", "page"), lambda k, q, i: k.max(0), "pages"),
    Case("min", call("min", "K", "token"), lambda k, q, i: k.min(1)),
    Case("min", call("min", "K", "page"), lambda k, q, i: k.min(0), "pages"),
    Case("var", call("var", "K", "token"), lambda k, q, i: k.var(1)),
    Case("var", call("var", "K", "page", "token"), lambda k, q, i: k.var((0, 1)), "pages"),
    Case("norm", call("norm", "K", "dim"), lambda k, q, i: np.sqrt((k * k).sum(2))),
    Case("norm", call("norm", "K", "page"), lambda k, q, i: np.sqrt((k * k).sum(0)), "pages"),
    Case("logsumexp", call("logsumexp", "K", "token"), lambda k, q, i: logsumexp(k, 1)),
    Case("logsumexp", call("logsumexp", "K", "page"), lambda k, q, i: logsumexp(k, 0), "pages"),
    Case("softmax", call("softmax", "K", "token"), lambda k, q, i: softmax(k, 1)),
    Case("softmax", call("softmax", "K", "page"), lambda k, q, i: softmax(k, 0), "pages"),
    Case(
        "normalize",
        call("normalize", "positive", "dim"),
        lambda k, q, i: (np.abs(k) + 0.5) / (np.abs(k) + 0.5).sum(2, keepdims=True),
    ),
    Case(
        "normalize",
        call("normalize", "positive", "page"),
        lambda k, q, i: (np.abs(k) + 0.5) / (np.abs(k) + 0.5).sum(0),
        "pages",
    ),
    Case("dot", call("dot", "q", "K", "dim"), lambda k, q, i: np.einsum("hd,ptd->pht", q, k)),
    Case("dot", call("dot", "K", "index", "page"), lambda k, q, i: np.einsum("ptd,p->td", k, i), "pages"),
    Case("dot", call("dot", "K", "K", "dim"), lambda k, q, i: (k * k).sum(2), "itself"),
    Case("split", call("split", "K", "token", sub=4), lambda k, q, i: k.reshape(-1, 4, 4, 8)),
    Case(
        "split",
        call("split", "K", "dim", sub=2),
        lambda k, q, i: k.reshape(-1, 16, 2, 4).transpose(0, 2, 1, 3),
        "channels",
    ),
    Case("take", call("take", "K", "dim", slice(1, None, 3)), lambda k, q, i: k[..., 1::3]),
    Case("take", call("take", "K", "dim", slice(0, 4)), lambda k, q, i: k[..., :4], "front"),
    Case("take", call("take", "K", "token", [5, 0, 5]), lambda k, q, i: k[:, [5, 0, 5]], "list"),
    Case("rename", call("rename", "K", token="key", dim="channel"), lambda k, q, i: k.transpose(0, 2, 1)),
    Case("top", call("top", "K", "dim", 3), lambda k, q, i: top_mask(k, 3)),
    Case("top", call("top", "K", "dim", 100), lambda k, q, i: np.ones_like(k, bool), "all"),
    Case("shift", call("shift", "K", "page", 2, fill=-3.0), lambda k, q, i: shifted(k, 2, -3.0)),
    Case("shift", call("shift", "K", "page", -1), lambda k, q, i: shifted(k, -1, 0.0), "back"),
    Case("shift", call("shift", "K", "page", 100), lambda k, q, i: shifted(k, 100, 0.0), "beyond"),
    Case("smooth", call("smooth", "K", "page", [0.25, 0.5, 0.125]), lambda k, q, i: smoothed(k, [0.25, 0.5, 0.125])),
    Case(
        "smooth",
        call("smooth", "index", "page", [1.0, 2.0, 3.0, 4.0, 5.0]),
        lambda k, q, i: smoothed(i, [1, 2, 3, 4, 5]),
        "wide",
    ),
    Case("cumsum", call("cumsum", "K", "page"), lambda k, q, i: k.cumsum(0)),
    Case("to", call("to", "K", "sign"), lambda k, q, i: np.where(k < 0, -1.0, 1.0)),
    Case(
        "vector",
        lambda b, x: b.call("mul", [x["K"], b.call("vector", [list(range(8)), "dim"])]),
        lambda k, q, i: k * np.arange(8),
    ),
    Case(
        "matrix",
        lambda b, x: b.call("dot", [x["K"], b.call("matrix", [MATRIX, "rank", "dim"]), "dim"]),
        lambda k, q, i: np.einsum("ptd,rd->prt", k, np.array(MATRIX)),
    ),
    Case(
        "matrix",
        lambda b, x: b.call(
            "add", [b.call("matrix", [MATRIX, "zeta", "alpha"]), b.call("max", [x["K"], "token", "dim"])]
        ),
        lambda k, q, i: np.array(MATRIX).T[None] + k.max((1, 2))[:, None, None],
        "in-canonical-order",
    ),
    Case(
        "stack",
        lambda b, x: b.call("stack", [x["K"], b.call("max", [x["K"], "token"]), 2.0, "part"]),
        lambda k, q, i: np.stack([k, np.broadcast_to(k.max(1, keepdims=True), k.shape), np.full_like(k, 2.0)], 1),
    ),
    Case(
        "stack",
        lambda b, x: b.call("stack", [[b.call("gt", [x["K"], 0.0]), x["index"]], "part"]),
        lambda k, q, i: np.stack([k > 0, np.broadcast_to(i[:, None, None], k.shape)], 1).astype(np.float32),
        "booleans-in-a-list",
    ),
)


def data(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(PAGES, TOKENS, 8, generator=generator), torch.randn(2, 8, generator=generator)


def built(case: Case) -> Any:
    builder = Builder(SHAPE, TOKENS)
    inputs = {"K": builder.input("page.k"), "q": builder.input("q"), "index": builder.input("page.index")}
    inputs["positive"] = builder.call("add", [builder.call("abs", [inputs["K"]]), 0.5])
    return case.build(builder, inputs)


def computed(node: Any, frame: Frame, values: dict[str, torch.Tensor]) -> torch.Tensor:
    nodes = reachable((node,))
    env = {leaf: values[leaf.attr("name")] for leaf in nodes if leaf.op == "input"}
    evaluate(nodes, env, frame, CPU)
    return env[node]


def alone(node: Any, k: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    pages = len(k)
    values = {"page.k": k, "q": q, "page.index": torch.arange(pages, dtype=torch.float32)}
    return computed(node, Frame(0, candidates=torch.ones(pages, dtype=torch.bool)), values)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op}-{case.label}".strip("-"))
def test_meaning_is_that_of_numpy(case: Case) -> None:
    k, q = data()
    node = built(case)
    result = alone(node, k, q)
    expected = case.numpy(k.numpy(), q.numpy(), np.arange(PAGES, dtype=np.float32))
    lengths = [PAGES if axis.length is None else axis.length for axis in node.type.axes]
    assert list(result.shape) == lengths
    assert (result.dtype == torch.bool) == (node.type.kind is Kind.BOOL)
    np.testing.assert_allclose(result.numpy(), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op}-{case.label}".strip("-"))
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
def test_a_batch_means_the_same_row_by_row_whatever_memory_holds_beyond(case: Case, garbage: float) -> None:
    node = built(case)
    rows = [data(seed) for seed in range(len(LENGTHS))]
    k, q = torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])
    complete = torch.arange(PAGES) < torch.tensor(LENGTHS)[:, None]
    k[~complete] = garbage
    values = {"page.k": k, "q": q, "page.index": torch.arange(PAGES, dtype=torch.float32)[None]}
    result = computed(node, Frame(1, complete, complete), values)
    for row, length in enumerate(LENGTHS):
        if length == 0:
            continue
        mine = result[row if len(result) > 1 else 0]
        mine = mine[:length] if "page" in node.type.names else mine
        torch.testing.assert_close(mine, alone(node, k[row, :length], q[row]), rtol=2e-5, atol=1e-5)


def test_every_operation_has_a_case_here_or_gives_a_selection() -> None:
    selections = {op.name for op in OPS.values() if op.kind is OpKind.SELECTION} | {"remember"}
    assert {case.op for case in CASES} | selections == set(OPS)


def test_every_operation_is_documented_and_named_by_its_key() -> None:
    for name, op in OPS.items():
        assert op.name == name
        assert op.doc
        assert name in op.signature or op.kind is OpKind.OPERATOR


FOLDED = [op for op in OPS.values() if op.fold is not None]


@pytest.mark.parametrize("op", FOLDED, ids=lambda op: op.name)
@pytest.mark.parametrize("numbers", [(0.75, 0.25, 2.0), (2.0, 0.5, 0.75), (0.5, 0.5, 0.5)])
def test_a_folded_number_is_what_torch_computes(op: Any, numbers: tuple[float, ...]) -> None:
    takes_booleans = op.name in ("and", "or", "invert")
    operands = [n > 0.6 for n in numbers] if takes_booleans else list(numbers)
    operands = [operands[0] > 0.6, *operands[1:]] if op.name == "where" else operands
    operands = operands[: len(op.params)]
    unfolded = Builder(SHAPE, TOKENS).call(op.name, operands)
    node = Interner().make(op.name, unfolded.args, unfolded.attrs)
    assert (unfolded.op, node.op, node.type) == (op.name, "constant", unfolded.type)
    tensors = [torch.tensor(operand) for operand in operands]
    meaning = op.meaning(Frame(0), unfolded, *tensors)
    assert math.isclose(float(node.number), float(meaning), rel_tol=1e-6)


REFUSED = (
    (
        ("sum", "K", "dims"),
        {},
        "'sum' over axis 'dims', but the value has axes [page, token, dim]; did you mean 'dim'?",
    ),
    (("sum", "K"), {}, """'sum' without an axis; write x.sum("page", "token", "dim"), or name some of them"""),
    (("sum", "K", "dim", "dim"), {}, "names an axis twice"),
    (("sum", "K", -1), {}, "'sum' over -1; axes have names"),
    (
        ("max", "K"),
        {"dim": "token"},
        """'max' with 'dim'; axes are given by position, and go away: write x.max("token")""",
    ),
    (("max", "K", "dim"), {"keepdim": True}, """write x.max("dim")"""),
    (("mean", 2.0), {}, "'mean' of a value without axes"),
    (("top", "K", "page"), {}, "write x.top(axis, n) along another axis than page; pages are chosen by topk(score, n)"),
    (("take", "q", "head", [0]), {}, 'reduce heads, as in x.max("head")'),
    (("take", "K", "page", [0]), {}, "choose pages by what select returns, as in topk(score, n)"),
    (("dot", "q", "index", "dim"), {}, "'dot' over axis 'dim', but the value has axes [page]"),
    (("split", "K", "token"), {"sub": 5}, "of length 16 into 5"),
    (("split", "K", "page"), {"sub": 2}, "'page' and 'head' belong to the platform"),
    (("split", "K", "token"), {"page": 4}, "'page' and 'head' belong to the platform"),
    (("split", "K", "token"), {"dim": 4}, "two axes of one name"),
    (("rename", "q"), {"head": "h"}, "'page' and 'head' belong to the platform"),
    (("rename", "K"), {"token": "dim"}, "two axes of one name"),
    (("take", "K", "dim", [8]), {}, "only existing ones"),
    (("take", "K", "dim", slice(3, 3)), {}, "keep at least one"),
    (("take", "K", "dim", 3), {}, "must be a slice or a list of integers, not 3"),
    (("top", "K", "page", 2), {}, "topk(score, n)"),
    (("top", "K", "dim", 1.5), {}, "must be a known integer, not 1.5"),
    (("top", "K", "dim", "index"), {}, "not known while tracing"),
    (("shift", "K", "token", 1), {}, "only moves along 'page'"),
    (("smooth", "K", "page", [1.0, 2.0]), {}, "odd number"),
    (("to", "K", "bfloat"), {}, "did you mean 'bfloat16'?"),
    (("and", "K", "K"), {}, "make one by a comparison"),
    (("where", "K", "K", "K"), {}, "make one by a comparison"),
    (("add", "K"), {}, "'add' needs 'b'"),
    (("add", "K", [1, 2]), {}, "vector(numbers, axis)"),
    (("add", "K", 2.0**32), {}, "within ±2**31"),
    (("topk", "K", 3), {}, "reduce it to exactly [page]"),
    (("topk", "index", "index"), {}, "'n' of 'topk' has axes [page]"),
    (("topk", "index", 3), {"m": 3}, "'m' is not a parameter of 'topk'"),
    (("topk", "index", 3), {"n": 3}, "'n' is given twice"),
    (("topp", "index", 0.5), {}, "'topp' needs 'limit'"),
    (("union", "index", "index"), {}, "is no selection"),
    (("exp", 100.0), {}, "within ±2**31"),
    (("log", 0.0), {}, "has no value"),
    (("matrix", [[1.0, 2.0], [3.0]], "a", "b"), {}, "a list of lists of numbers"),
    (("mul", "K", "long"), {}, "axis 'dim' has length"),
)


@pytest.mark.parametrize(("args", "kwargs", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_refusal_says_what_was_seen_and_what_to_do(args: tuple[Any, ...], kwargs: Any, message: str) -> None:
    builder = Builder(SHAPE, TOKENS)
    inputs = {"K": builder.input("page.k"), "q": builder.input("q"), "index": builder.input("page.index")}
    inputs["long"] = builder.call("vector", [[1.0] * 9, "dim"])
    with pytest.raises(TypeRuleError) as error:
        call(*args, **kwargs)(builder, inputs)
    assert message in str(error.value)


def test_stored_values_and_selections_are_dead_ends() -> None:
    builder = Builder(SHAPE, TOKENS)
    stored = builder.call("to", [builder.input("k"), "int8"])
    with pytest.raises(TypeRuleError, match="last thing done to a field"):
        builder.call("add", [stored, 1.0])
    chosen = builder.call("every_page")
    with pytest.raises(TypeRuleError, match="of a selection"):
        builder.call("exp", [chosen])


def test_leaves_are_no_operations() -> None:
    assert not set(LEAVES) & set(OPS)
