"""The Triton backend against the reference and the batched backend; its kernels run in Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vortex_dsl import Shape, attend, load_program, trace, zoo
from vortex_dsl.analysis.layout import Layout
from vortex_dsl.backends.batched import Batched
from vortex_dsl.backends.compiled import Compiled
from vortex_dsl.backends.contract import Decode
from vortex_dsl.backends.interpreter import evaluate
from vortex_dsl.backends.reference import Place, _inputs, reserved_pages
from vortex_dsl.backends.triton_backend import prepare
from vortex_dsl.ops import OPS
from vortex_dsl.ops.frame import Frame

_spec = importlib.util.spec_from_file_location("docs_generate", Path(__file__).parents[3] / "docs" / "generate.py")
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HERE = Path(__file__).parents[1]
LENGTHS = {1: (17, 150), 4: (0, 100), 8: (160, 64)}


def tensors(lengths, *, num_kv_heads=1, group=1, head_dim=16, seed=0):
    """Random queries, keys and values; what lies beyond a sequence's length is NaN."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(len(lengths), num_kv_heads * group, head_dim, generator=generator)
    k, v = torch.randn(2, len(lengths), num_kv_heads, max(lengths), head_dim, generator=generator)
    for i, length in enumerate(lengths):
        k[i, :, length:] = torch.nan
        v[i, :, length:] = torch.nan
    return q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), torch.tensor(lengths, device=DEVICE)


def decode_of(q, k, v, lengths, *place):
    return Decode(q.unflatten(1, (k.shape[1], -1)), k, v, lengths, *place)


def zoo_program(name, pages=3):
    program = load_program(zoo.text(name))
    return program.with_values(pages=pages) if "pages" in program.tunables else program


def body(select, summarize="return {'center': k.mean('token'), 'spread': v.var('token')}"):
    """Write a program around a body of select."""
    lines = ["from vortex_dsl import *", "class Test(Program):", "    '''Test.'''"]
    for head, text in (("summarize(self, k, v)", summarize), ("select(self, q, page)", select)):
        lines += [f"    def {head}:", *(f"        {line}" for line in text.split("; "))]
    return "\n".join(lines) + "\n"


GROUPS = [(name, tuple(LENGTHS)[i % 3]) for i, name in enumerate(zoo.names())]
OFTEN = [(name, group) for name in ("quest", "centroid_gqa", "twilight") for group in LENGTHS]


@pytest.mark.parametrize(("name", "group"), sorted({*GROUPS, *OFTEN}))
def test_every_program_of_the_zoo_equals_reference_and_torch(name, group):
    program = zoo_program(name)
    given = tensors(LENGTHS[group], group=group)
    out, attended = attend(program, *given, backend="triton")
    for backend in ("reference", "torch"):
        other, pages = attend(program, *given, backend=backend)
        assert torch.equal(attended, pages)
        torch.testing.assert_close(out, other, atol=2e-6, rtol=2e-6)


FULL = [name for name in zoo.names() if "pages" in load_program(zoo.text(name)).tunables]


@pytest.mark.parametrize("name", FULL)
def test_a_full_budget_is_dense_attention_bit_for_bit(name):
    program = zoo_program(name, pages=64)
    given = tensors((100,), group=4)
    out, attended = attend(program, *given, backend="triton")
    assert attended.all()
    assert torch.equal(out, attend(zoo_program("dense"), *given, backend="triton")[0])


@pytest.mark.parametrize(("page_size", "sink", "window"), [(32, 0, 1), (16, 2, 3), (64, 1, 2)])
def test_other_pages_sinks_and_windows(page_size, sink, window):
    program = zoo_program("quest", pages=1).with_values(page_size=page_size, sink=sink, window=window)
    given = tensors((150, 300), group=2, head_dim=24)
    out, attended = attend(program, *given, backend="triton")
    other, pages = attend(program, *given)
    assert torch.equal(attended, pages)
    torch.testing.assert_close(out, other, atol=2e-6, rtol=2e-6)


def test_half_precision_is_computed_from_the_same_rounded_keys():
    q, k, v, lengths = tensors((150,), group=4)
    given = (q.bfloat16(), k.bfloat16(), v.bfloat16(), lengths)
    out, attended = attend(zoo_program("quest"), *given, backend="triton")
    other, pages = attend(zoo_program("quest"), *given)
    assert out.dtype == torch.bfloat16
    assert torch.equal(attended, pages)
    torch.testing.assert_close(out, other, atol=2e-2, rtol=2e-2)


SELECTIONS = {
    "above": "return above(s, 0.2, limit=page.count - 6)",
    "topp": "return topp(s * 3, 0.6, limit=4)",
    "topp_nan": "return topp(s * 3, log(0 - page.count), limit=4)",
    "shift_far": "return topk(s.shift('page', 2147483648) + t.shift('page', -2147483648, fill=1) + s, 2)",
    "union": "return union(topk(s, 2), topk(-s, layer.index + 1))",
    "refine": "return refine(union(topk(s, 3), topk(t, 2)), t, 2)",
    "every": "return union(every_page(), reserved_only())",
    "refine_every": "return refine(every_page(), s, kv_head.index * 2)",
    "expression": "return topk(s, maximum(2, 0.4 * page.count))",
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_selections(name):
    scores = "s = dot(q.mean('head'), page.center, 'dim'); t = dot(q.max('head'), page.spread, 'dim'); "
    program = load_program(body(scores + SELECTIONS[name]))
    given = tensors((150,), num_kv_heads=2, group=2, seed=3)
    attended = attend(program, *given, layer=1, num_layers=4, backend="triton")[1]
    assert torch.equal(attended, attend(program, *given, layer=1, num_layers=4)[1])


C = "page.center"  # [page, dim]
SCORES = {
    "add sub mul div": f"return ((2 + {C} * 3 - 1) / ({C} * {C} + 1)).sum('dim')",
    "mod": f"return (({C} * 20) % 3 + ({C} * 20) % -0.7).sum('dim')",
    "pow": f"return ((abs({C}) + 0.1) ** 0.7 + {C} ** 3 + {C} ** 2 + {C} ** 0).sum('dim')",
    "neg lt le gt ge eq ne": f"x = {C}; y = -x; return ((x < 0.1) * 1 + (x <= y) * 2 + (x > 0) * 4 + (x >= y) * 8"
    " + (x == y) * 16 + (x != 0) * 32).sum('dim')",
    "and or invert where": f"x = {C}; return where((x > 0) & (x < 0.1) | ~(x > -0.1), x, 1).sum('dim')",
    "abs exp log sqrt square": f"x = abs({C}); return (exp(x) + log(x + 0.5) + sqrt(x) + square(x)).sum('dim')",
    "sign floor relu": f"x = {C}; return (sign(x) + floor(x * 9) + relu(x)).sum('dim')",
    "sigmoid silu tanh": f"x = {C}; return (sigmoid(x * 3) + silu(x) + tanh(x * 2)).sum('dim')",
    "maximum minimum clip": f"x = {C}; return (maximum(x, 0.1) + minimum(x, 0) + clip(x, -0.1, 0.2)).sum('dim')",
    "hash": "return hash(page.index + 7, 3) + hash(-page.index, -5) + hash(layer.index, 1)",
    "sum mean max min": f"x = {C} * q; return x.sum('head', 'dim') + x.mean('dim').max('head') + x.min('dim', 'head')",
    "var norm logsumexp": f"x = {C} * q; return x.var('head', 'dim') + x.norm('dim').sum('head')"
    " + x.logsumexp('dim', 'head')",
    "softmax normalize": f"x = {C} * q; return (x.softmax('dim') * q).sum('dim', 'head')"
    " + (abs(x).normalize('head') * q).sum('head', 'dim')",
    "dot": f"return dot(q, {C}, 'dim').mean('head') + dot({C}, {C}, 'page').sum('dim') * 0.01 * page.index",
    "split": f"x = {C}.split('dim', part=4); return x.max('dim').min('part')",
    "take": f"x = {C}; return x.take('dim', [3, 0, 5]).max('dim') + x.take('dim', slice(1, 12, 3)).sum('dim')",
    "rename": f"x = {C}.rename(dim='other'); return (x * {C} * q).max('other').sum('dim').sum('head')",
    "top": f"x = {C}; return (x * x.top('dim', 5)).sum('dim') + x.top('dim', 3).take('dim', slice(0, 6)).sum('dim')",
    "shift": f"x = {C}.sum('dim'); return x.shift('page', 2, fill=0.5) - x.shift('page', -1) + x.shift('page', 99)",
    "smooth": f"x = {C}.sum('dim'); return x.smooth('page', [0.25, 0.5, 0.1]).shift('page', 1)",
    "cumsum": f"x = {C}.cumsum('page'); return x.max('dim') + (x - x.mean('page')).sum('dim').cumsum('page')",
    "vector": f"return ({C} * vector([0.1 * i for i in range(16)], 'dim')).sum('dim')",
    "matrix": f"u = matrix([[0.5, -1, 2] for i in range(16)], 'dim', 'rank'); return dot({C}, u, 'dim').max('rank')",
    "stack": f"x = {C}; y = stack(x, x * x, x.max('dim'), -1, 'part'); "
    "return (y * q).max('part').sum('dim', 'head')"
    " + stack([x.sum('dim'), page.index > 2], 'part').min('part')",
    "inputs": "return page.index * self.scale + page.reserved * layer.index + page.count * kv_head.index + layer.count",
    "raw pages": "x = page.k.split('token', sub=4).max('token'); "
    "return (page.k * page.v).mean('token', 'dim') + x.sum('sub', 'dim')",
    "pages mean var norm": f"x = {C}; return x.mean('page').max('dim') * page.index + x.var('page', 'dim') * page.index"
    " + x.norm('page').sum('dim') * page.index",
    "pages softmax": f"x = dot(q, {C}, 'dim'); return (x.softmax('page') * q.max('dim')).sum('head')"
    " + page.index * x.logsumexp('page', 'head')",
    "pages min max normalize": f"x = abs({C}).sum('dim'); return x.normalize('page') + page.index * x.max('page')"
    " + page.index * x.min('page')",
}
BUILT_BY = {
    "to": "stored",
    **dict.fromkeys(("topk", "remember", *SELECTIONS, "every_page", "reserved_only"), "selections"),
}


TRIED = {word for name in SCORES for word in name.split()} | set(BUILT_BY)


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.name not in TRIED], ids=lambda op: op.name)
def test_an_operation_that_is_not_tried_elsewhere_is_tried_by_its_example(op):
    program, given = load_program(generate.around(op)), tensors((150,), num_kv_heads=2, group=2, seed=5)
    assert torch.equal(attend(program, *given, backend="triton")[1], attend(program, *given)[1])


def both_scores(text, given, *, layer=2, num_layers=5):
    """Give the scores of complete pages by the compiled stages and by the meanings: [rows, max_pages] each."""
    q, k, v, lengths = given
    graph = trace(load_program(text), Shape(group=q.shape[1] // k.shape[1], head_dim=q.shape[2]))
    program = Compiled(graph)
    step = prepare(program, decode_of(q, k, v, lengths, 0.25, layer, num_layers))
    got = program.compute(step)[program.plan.choice.score.number]
    pages, rows = [], []
    for row in range(step.pages.num_rows):
        sequence, kv_head = divmod(row, k.shape[1])
        length = int(lengths[sequence])
        pages.append(got[row, : length // graph.page_size].cpu())
        rows.append(
            scores_by_meaning(graph, step, (sequence, kv_head, length), Place(layer, num_layers, kv_head, 0.25))
        )
    return torch.cat(pages), torch.cat(rows)


def scores_by_meaning(graph, step, which, place):
    """Give the scores of one row's complete pages by the meanings of the operations, from the stored fields."""
    sequence, kv_head, length = which
    complete = length // graph.page_size
    blocks = step.cache.block_table[sequence, :complete].long()
    k, v = (x[blocks, kv_head].cpu() for x in (step.cache.k, step.cache.v))
    layout = Layout(graph)
    fields = layout.load(step.region[:, kv_head].cpu(), blocks.cpu())
    reserved = reserved_pages(graph, length)
    heads = step.q.unflatten(1, (step.pages.num_kv_heads, -1))[sequence, kv_head].cpu()
    env = _inputs(graph, heads, [k, v], place, reserved)
    env |= {field.leaf: fields[field.name] for field in graph.fields}
    evaluate(graph.select_nodes, env, Frame(lead=0, candidates=~reserved[:complete]), torch.device("cpu"))
    return env[graph.selection.args[0]].float().expand(complete)


@pytest.mark.parametrize("name", SCORES)
def test_scores_of_every_operation(name):
    select = SCORES[name].replace("return ", "score = ") + "; return above(score, 0, limit=9)"
    got, expected = both_scores(body(select), tensors((40, 150), num_kv_heads=1, group=3, seed=1))
    torch.testing.assert_close(got, expected, atol=3e-5, rtol=3e-5)
    assert len(expected.unique()) > 2


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float32", "fp8_e4m3", "int8", "int4", "sign"])
def test_a_number_can_be_a_field(kind):
    text = body("return topk(page.index * page.n - page.b, 2)", f"n = -2.5; return {{'n': n.to('{kind}'), 'b': 1 > 0}}")
    given = tensors((150,))
    attended = attend(load_program(text), *given, backend="triton")[1]
    assert torch.equal(attended, attend(load_program(text), *given)[1])


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float32", "fp8_e4m3", "int8", "int4", "sign"])
@pytest.mark.parametrize("head_dim", [16, 11])
def test_fields_are_stored_as_the_layout_says(kind, head_dim):
    text = body(
        "return topk(page.tokens.sum('dim').max('token') + page.mean.sum('dim') + page.size, 3)",
        f"return {{'tokens': k.to('{kind}'), 'mean': (v.mean('token') * 40).to('{kind}'),"
        f" 'size': k.sum('token').sum('dim').to('{kind}')}}",
    )
    q, k, v, lengths = tensors((48,), num_kv_heads=2, head_dim=head_dim)
    k[0, 0, 16:32] = 0
    program = Compiled(trace(load_program(text), Shape(group=1, head_dim=head_dim)))
    region = prepare(program, decode_of(q, k, v, lengths, 1.0, 0, 1)).region
    batched = Batched(program.graph)
    pages = [x.unflatten(2, (3, 16)).transpose(1, 2).flatten(0, 2) for x in (k, v)]
    expected = batched.summarize(*pages)
    every = torch.arange(6, device=DEVICE)
    got = batched.layout.load(region.flatten(0, 1), every)
    for name, value in batched.layout.load(expected, every).items():
        # sums in another order may fall on the other side of a rounding boundary: one step of the code
        torch.testing.assert_close(got[name], value, atol=1e-6, rtol={"fp8_e4m3": 0.13}.get(kind, 0.008))
    scores, meant = both_scores(text, (q, k, v, lengths))
    torch.testing.assert_close(scores, meant, atol=1e-4, rtol=1e-4)


def run_python(code, **environment):
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run(
        [sys.executable, *code],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=280,
        cwd=HERE.parents[1],
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="on CUDA no interpreter is needed")
def test_without_interpreter_or_cuda_it_says_so_in_a_sentence():
    code = (
        "import torch; from vortex_dsl import attend, load_program, zoo; "
        "p = load_program(zoo.text('quest')); "
        "attend(p, torch.zeros(1, 1, 8), torch.zeros(1, 1, 9, 8), torch.zeros(1, 1, 9, 8), backend='triton')"
    )
    done = run_python(["-c", code])
    assert done.returncode == 1
    assert "TRITON_INTERPRET=1" in done.stderr.strip().splitlines()[-1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="on CUDA the other tests compile")
def test_kernels_compile_for_a_gpu_that_is_not_there():
    programs = [str(zoo.path(name)) for name in ("quest_sub", "centroid_gqa", "twilight", "length_budget")]
    done = run_python([str(HERE / "compile_for_cuda.py"), "bfloat16", *programs], PYTHONPATH=str(HERE.parents[1]))
    assert done.returncode == 0, done.stderr[-2000:]
    compiled = {line.split("_")[0] + "_" + line.split("_")[1].split(":")[0] for line in done.stdout.splitlines()}
    assert {"map_0", "row_1", "summarize_0", "_select", "_nucleus", "_attend", "_merge", "_list", "_write"} <= compiled
