"""The Triton path of the plugin, by Triton's interpreter: pages, steps, what is counted, and that nothing waits."""

import ast
import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vortex_dsl.serving.config import ServingError, from_mapping

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).resolve().parents[4]
SCRIPT = Path(__file__).parents[1] / "serve_script.py"


@pytest.fixture(autouse=True)
def _where_kernels_run():
    """Make tensors where Triton runs, unless a test says otherwise; always the same ones."""
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        yield


def written(dtype=torch.float32, page_size=16, dim=32, heads=2, cache_dtype=None):
    """Write 40 tokens of one sequence and 16 of another into a cache full of NaN or garbage; -1 lies between."""
    from vortex_dsl.serving.triton.pages import TritonPages

    cache = torch.full((8, heads, page_size, 2 * dim + 8), torch.nan, dtype=dtype)
    if cache_dtype is torch.uint8:
        cache = torch.full((8, heads, page_size, 2 * dim + 16), 0x7F, dtype=torch.uint8)  # NaN in float8
    pages = TritonPages(cache, dim)
    qkv = torch.randn(60, heads, 2 * dim).to(dtype)
    table = torch.tensor([[6, 2, 5], [3, 0, 0]], dtype=torch.int32)
    first = [int(table[0, t // page_size]) * page_size + t % page_size for t in range(40)]
    slots = torch.tensor([*first, -1, -1, *(3 * page_size + t for t in range(16))])
    key, value = qkv[..., :dim], qkv[..., dim:]
    pages.write(key, value, slots)
    return pages, table, key, value


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_written_keys_are_read_back_and_fields_left_alone(dtype):
    pages, _, key, value = written(dtype)
    assert torch.equal(pages.raw_keys(torch.tensor([6 * 2, 2 * 2])).flatten(0, 1), key[:32, 0])
    assert torch.equal(pages.raw_values(torch.tensor([6 * 2 + 1, 2 * 2 + 1])).flatten(0, 1), value[:32, 1])
    assert torch.equal(pages.raw_keys(torch.tensor([3 * 2])).flatten(0, 1), key[42:58, 0])
    assert pages.fields.view(dtype).isnan().all()
    assert pages.complete.nonzero().flatten().tolist() == [2, 3, 6]


def test_a_float8_cache_holds_the_nearest_numbers():
    pages, _, key, _ = written(cache_dtype=torch.uint8)
    expected = key[:16, 0].to(torch.float8_e4m3fn).float()
    assert torch.equal(pages.raw_keys(torch.tensor([12]))[0], expected)


@pytest.mark.parametrize("name", ["quest", "quest_int4", "value_gated"])
def test_fields_are_written_with_the_last_token_and_no_others(name):
    """Only blocks whose last slot is among the step's slots are computed; they equal the batched backend's."""
    from vortex_dsl import Shape, load_program, trace, zoo
    from vortex_dsl.backends.batched import Batched
    from vortex_dsl.backends.compiled import Compiled
    from vortex_dsl.serving.triton.pages import TritonPages

    graph = trace(load_program(zoo.text(name)), Shape(group=2, head_dim=32))
    compiled, batched = Compiled(graph), Batched(graph)
    pages, _, _, _ = written()
    num_bytes = batched.layout.bytes_per_page
    room = TritonPages(torch.zeros(8, 2, 16, 64 + -(-num_bytes // 64)), 32)
    room.keys.copy_(pages.keys.nan_to_num())
    room.values.copy_(pages.values.nan_to_num())
    compiled.summarize_written(room.cache(), torch.tensor([6 * 16 + 15, 5 * 16 + 7, -1, 3 * 16 + 15]), room.region)
    some = torch.tensor([12, 13, 6, 7])
    expected = batched.layout.load(batched.summarize(room.raw_keys(some), room.raw_values(some)), torch.arange(4))
    for field, got in batched.layout.load(room.fields, some).items():
        torch.testing.assert_close(got, expected[field], atol=1e-6, rtol=0.008)
    others = [i for i in range(16) if i not in some.tolist()]
    assert not room.fields[others].any()


def in_pieces(name, lengths, fused):
    """Write two sequences, one step after the other, to (4, 30), then (17, 31) tokens and so on; give their pages."""
    from vortex_dsl import Shape, load_program, trace, zoo
    from vortex_dsl.backends.compiled import Compiled
    from vortex_dsl.serving.triton.pages import TritonPages

    compiled = Compiled(trace(load_program(zoo.text(name)), Shape(group=2, head_dim=32)))
    extra = -(-compiled.plan.layout.bytes_per_page // 64)
    pages = TritonPages(torch.full((9, 2, 16, 64 + extra), torch.nan), 32)
    how = compiled.summarizing(pages.cache(), pages.region)
    table, done = torch.tensor([[5, 6, 2], [3, 8, 0]]), (0, 0)
    key, value = torch.randn(2, 2, 48, 2, 32, generator=torch.Generator(table.device).manual_seed(1))
    for until in lengths:
        place = [torch.arange(*ends) for ends in zip(done, until, strict=True)]
        slots = torch.cat([table[row, at // 16] * 16 + at % 16 for row, at in enumerate(place)] + [torch.tensor([-1])])
        new = [torch.cat([x[row, at] for row, at in enumerate(place)] + [x[0, :2]]) for x in (key, value)]
        pages.write(*new, slots, how if fused else None)
        if not fused:
            compiled.summarize_written(pages.cache(), slots, pages.region)
        done = until
    return pages


STEPS = ((4, 30), (17, 31), (18, 32), (32, 33), (48, 33))  # ends of pages alone and within pieces, blocks side by side


@pytest.mark.parametrize("backwards", [False, True])
def test_fields_come_with_the_write_in_one_launch_whatever_its_order(request, launches, backwards):
    apart = in_pieces("quest", STEPS, fused=False)
    if backwards and not torch.cuda.is_available():
        request.getfixturevalue("from_the_end")
    launches.clear()
    together = in_pieces("quest", STEPS, fused=True)
    assert launches == ["_write"] * len(STEPS)
    assert torch.equal(together.complete, apart.complete)
    assert torch.equal(together.region, apart.region)
    assert torch.equal(together.keys.nan_to_num(), apart.keys.nan_to_num())
    assert torch.equal(together.values.nan_to_num(), apart.values.nan_to_num())
    some = together.complete.nonzero().flatten()
    assert some.tolist() == [2, 3, 5, 6, 8]
    assert not together.keys.unflatten(0, (9, 2))[some].isnan().any()


def common(query_lens, lengths, prefilling, page_size=16):
    """A batch as vLLM describes it, of which only what is read is here."""
    starts = torch.tensor([0, *query_lens], device="cpu").cumsum(0).to(torch.int32)
    return SimpleNamespace(
        num_reqs=len(lengths), query_start_loc=starts, query_start_loc_cpu=starts, max_seq_len=max(lengths),
        seq_lens=torch.tensor(lengths, dtype=torch.int32), is_prefilling=torch.tensor(prefilling, device="cpu"),
        block_table_tensor=torch.zeros(len(lengths), -(-max(lengths) // page_size) + 3, dtype=torch.int32),
    )  # fmt: skip


def reader(max_num_seqs=8, sizes=()):
    from vortex_dsl.serving.triton.steps import StepReader

    compilation = SimpleNamespace(cudagraph_capture_sizes=list(sizes), static_forward_context={})
    config = SimpleNamespace(
        scheduler_config=SimpleNamespace(max_num_seqs=max_num_seqs), compilation_config=compilation
    )
    return StepReader(16, config, [], torch.device("cpu"))


def test_a_batch_is_split_without_the_device():
    batch = reader().read(common([1, 1, 20, 1], [33, 18, 25, 9], [False, True, True, True]))
    assert batch.num_decodes == 2
    assert batch.max_pages == 6  # as many as the table has, which is fewer than a whole step of bounds
    assert batch.dense.tolist() == [0, 1]
    prefills = batch.prefills
    assert (prefills.first, prefills.num_tokens, prefills.max_query) == (2, 21, 20)
    assert prefills.rows.query_start_loc.tolist() == [0, 20, 21]
    assert prefills.rows.lengths.tolist() == [25, 9]


def test_no_mark_of_a_larger_step_is_left_behind():
    steps = reader(8)
    assert steps.read(common([1] * 6, [9] * 6, [False] * 5 + [True])).dense.tolist() == [0, 0, 0, 0, 0, 1]
    steps.read(common([1] * 3, [9] * 3, [False] * 3))
    assert steps.read(common([1] * 6, [9] * 6, [False] * 6)).dense.tolist() == [0] * 6


def test_marks_of_prompts_lie_where_a_captured_graph_reads_them():
    """A one-token piece of a prompt may come with decodes in a replayed graph: the mark is in the same memory."""
    steps = reader(2, sizes=(1, 4))
    first = steps.read(common([1, 1, 0, 0], [5, 17, 0, 0], [False, True]))
    assert first.num_decodes == 4
    assert first.dense.tolist() == [0, 1, 0, 0]
    second = steps.read(common([1], [6], [False]))
    assert second.dense.data_ptr() == first.dense.data_ptr()
    assert second.dense.tolist() == [0]


def layer_of(program, *, heads=2, group=2, dim=32, **values):
    """A layer as vLLM would make it, over a filled cache, beside the pages that the torch kernels read."""
    from vortex_dsl import load_program, zoo
    from vortex_dsl.backends.compiled import Compiled
    from vortex_dsl.serving.layers.rule import Rule
    from vortex_dsl.serving.pages.pages import Softmax
    from vortex_dsl.serving.triton.mha import TritonImpl
    from vortex_dsl.serving.triton.tallies import DeviceMeter

    impl = TritonImpl.__new__(TritonImpl)
    impl.num_heads, impl.num_kv_heads, impl.head_size = heads * group, heads, dim
    impl.softmax, impl.num_layers, impl._first_head, impl._max_rows = Softmax(dim**-0.5), 4, 0, 16
    impl.rule = Rule(load_program(zoo.text(program)).with_values(**values), group, dim)
    impl._compiled, impl._recorder = Compiled(impl.rule.graph), None
    impl.tallies = DeviceMeter(heads, windowed=False)
    return impl


def decoded(impl, lengths, *, dense=None, layers=(1,)):
    """Decode one step of a cache with NaN wherever nothing was written: the output, and the torch kernels' own."""
    from vortex_dsl.serving.layers.batches import DeviceBatch
    from vortex_dsl.serving.pages.pages import Rows
    from vortex_dsl.serving.triton.pages import TritonPages

    heads, dim, size = impl.num_kv_heads, impl.head_size, 16
    most = -(-max(lengths) // size) + 1
    extra = -(-impl.rule.field_bytes // (4 * size))
    pages = TritonPages(torch.full((len(lengths) * most, heads, size, 2 * dim + extra), torch.nan), dim)
    table = torch.randperm(len(lengths) * most).reshape(len(lengths), most).int()
    for row, length in enumerate(lengths):
        place = torch.arange(length)
        slots = table[row, place // size].long() * size + place % size
        key, value = torch.randn(2, length, heads, dim)
        pages.write(key, value, slots, impl._compiled.summarizing(pages.cache(), pages.region))
    marks = torch.tensor(dense or [0] * len(lengths), dtype=torch.int8)
    rows = Rows(table, torch.tensor(lengths, dtype=torch.int32), torch.arange(len(lengths) + 1, dtype=torch.int32))
    batch = DeviceBatch(len(lengths), rows, marks, most, None)
    query = torch.randn(len(lengths), impl.num_heads, dim)
    outputs = []
    for layer in layers:
        outputs.append(torch.full_like(query, 7.0))
        impl.decode_step(f"model.layers.{layer}.attn", query, pages, batch, outputs[-1])
    return outputs, query, pages, rows


def dense_of(impl, query, pages, rows):
    out = torch.zeros_like(query)
    for row, length in enumerate(rows.lengths.tolist()):
        one = type(rows)(rows.table[row : row + 1], rows.lengths[row : row + 1], torch.tensor([0, 1]))
        if length:
            pages.attend_sequences(query[row : row + 1], one, impl.softmax, out[row : row + 1])
    return out


def test_padded_rows_and_ends_of_prompts_beside_decodes():
    """Rows of length 0 give zeros and count for nothing; a marked row attends to everything; others are sparse."""
    impl = layer_of("quest", pages=1)
    (out,), query, pages, rows = decoded(impl, [150, 0, 150, 33], dense=[0, 0, 1, 0])
    dense = dense_of(impl, query, pages, rows)
    assert (out[1] == 0).all()
    torch.testing.assert_close(out[2:], dense[2:], atol=2e-6, rtol=2e-6)
    assert not torch.allclose(out[0], dense[0], atol=1e-3)
    counted = impl.tallies.counters
    assert (counted.sparse_tokens, counted.covered_tokens, counted.prefill_tokens) == (2, 1, 1)
    assert (counted.pages_attended, counted.pages_dense) == (2 * (4 + 3), 2 * (10 + 3))


@pytest.mark.parametrize("name", ["quest", "two_stage", "dense"])
def test_a_covering_budget_is_the_dense_layer_bit_for_bit(name):
    values = {} if name == "dense" else {"pages": 64}
    impl = layer_of(name, dense_layers=1, **values)
    (sparse, dense), *_ = decoded(impl, [100, 7], layers=(1, 0))
    assert torch.equal(sparse, dense)
    counted = impl.tallies.counters
    assert (counted.sparse_tokens, counted.covered_tokens, counted.dense_tokens) == (2, 2, 2)


def test_layers_share_the_first_ones_choice_and_its_counts():
    impl = layer_of("quest", pages=1, share_layers=2, dense_layers=0)
    (first, second), *_ = decoded(impl, [150, 90], layers=(0, 1))
    assert torch.equal(first, second)
    assert impl.tallies.counters.sparse_tokens == 2
    impl.tallies.report()
    impl.tallies.counters = type(impl.tallies.counters)()
    assert impl.tallies.counters.sparse_tokens == 0


def test_lists_live_as_long_as_layers_share_them(monkeypatch):
    impl, held = layer_of("quest", pages=1, share_layers=2, dense_layers=0), []
    choose = impl._choose

    def chosen(name, query, pages, batch):
        held.append(list(batch.choices))
        return choose(name, query, pages, batch)

    monkeypatch.setattr(impl, "_choose", chosen)
    outputs, *_ = decoded(impl, [150, 90], layers=(0, 1, 2, 3))
    assert held == [[], []]
    assert len(outputs) == 4


@pytest.mark.parametrize("name", ["quest", "twilight"])
def test_a_captured_step_follows_what_its_buffers_say(name, captured):
    """One step, read off once, is replayed with other lengths, slots, marks and queries: it gives what a new one would.

    On CUDA it is captured; elsewhere the same closure runs again. Tokens grow from 62 to 66, so a page is completed.
    """
    from vortex_dsl.serving.layers.batches import DeviceBatch
    from vortex_dsl.serving.pages.pages import Rows
    from vortex_dsl.serving.triton.pages import TritonPages

    impl, most = layer_of(name, pages=1, window=1), 6
    extra = -(-impl.rule.field_bytes // 64)
    pages = TritonPages(torch.full((2 * most, 2, 16, 64 + extra), torch.nan), 32)
    table = torch.randperm(2 * most).reshape(2, most).int()
    lengths, marks = (torch.zeros(2, dtype=kind) for kind in (torch.int32, torch.int8))
    slots = torch.full((2,), -1)
    query, key, value = (torch.zeros(2, heads, 32) for heads in (4, 2, 2))
    rows = Rows(table, lengths, torch.arange(3, dtype=torch.int32))
    batch, out = DeviceBatch(2, rows, marks, most, None), torch.zeros(2, 4, 32)

    def step():
        pages.write(key, value, slots, impl._compiled.summarizing(pages.cache(), pages.region))
        impl.decode_step("model.layers.1.attn", query, pages, batch, out)

    first = torch.arange(62)
    before = table[0, first // 16].long() * 16 + first % 16
    pages.write(*torch.randn(2, 62, 2, 32), before, impl._compiled.summarizing(pages.cache(), pages.region))
    replay = captured(step)
    for length in (63, 64, 65, 66):
        for buffer in (query, key, value):
            buffer.copy_(torch.randn(buffer.shape))
        lengths.copy_(torch.tensor([length, max(length - 64, 0)]))
        place = torch.tensor([length - 1, max(length - 65, 0)])
        now = table[torch.arange(2), place // 16].long() * 16 + place % 16
        slots.copy_(now.where(torch.tensor([True, length > 64]), -1))
        marks.copy_(torch.tensor([length % 2, 0]))
        replay()
        again = torch.empty_like(out)
        impl.decode_step("model.layers.1.attn", query, pages, DeviceBatch(2, rows, marks, most, None), again)
        assert torch.equal(out, again)
        dense = dense_of(impl, query, pages, rows)
        torch.testing.assert_close(out[1], dense[1], atol=2e-6, rtol=2e-6)  # covered, or nothing
        assert torch.allclose(out[0], dense[0], atol=1e-4) == (length % 2 == 1)  # marked


@pytest.mark.parametrize("name", ["centroid", "quest"])
def test_a_sparse_layers_decode_step_takes_four_launches(monkeypatch, launches, name):
    from vortex_dsl.serving.layers.batches import DeviceBatch

    impl = layer_of(name, pages=1)
    _, query, pages, rows = decoded(impl, [150, 90])
    batch = DeviceBatch(2, rows, torch.zeros(2, dtype=torch.int8), rows.table.shape[1], None)
    impl.kv_cache_dtype = "auto"
    monkeypatch.setattr(impl, "over", lambda _: pages)
    launches.clear()
    impl.do_kv_cache_update(None, *torch.randn(2, 2, 2, 32), None, torch.tensor([15, 35]))
    impl.decode_step("model.layers.1.attn", query, pages, batch, torch.empty_like(query))
    assert launches == ["_write", "map_0", "_select", "_attend"]


def test_kernels_of_no_such_name_are_refused():
    with pytest.raises(ServingError, match="'kernels' in 'vortex' is 'cuda'"):
        from_mapping({"program": "quest.py", "kernels": "cuda"})
    assert from_mapping({"program": "x", "kernels": "triton"}).kernels_on("cpu") == "triton"
    assert from_mapping({"program": "x"}).kernels_on("cuda") == "triton"
    with pytest.raises(ServingError, match="kernels='cpp'"):
        from_mapping({"program": "x", "kernels": "cpp"}).kernels_on("cuda")


def engine(program, device_type):
    from vortex_dsl import zoo

    return SimpleNamespace(
        additional_config={"vortex": {"program": zoo.text(program)}},
        device_config=SimpleNamespace(device_type=device_type),
    )


def test_what_remembers_is_served_as_all_else_is():
    from vortex_dsl.serving.config import kernels_of

    for program in ("quest", "ema", "step_reuse"):
        assert kernels_of(engine(program, "cuda")) == "triton"
        assert kernels_of(engine(program, "cpu")) == "cpp"


# What runs between a step's start and its end on CUDA, at most once at start aside. Each of these may be captured.
STEP_PATH = {
    "vortex_dsl/serving/triton/layer.py": ("decode_step", "_choose", "_shared", "over", "_read_scales"),
    "vortex_dsl/serving/triton/mha.py": ("do_kv_cache_update", "forward", "over"),
    "vortex_dsl/serving/triton/pages.py": (
        "cache", "TritonPages.write", "LatentKernelPages.write", "weighing", "FlashPrefill.__call__"),
    "vortex_dsl/serving/triton/memory.py": ("listed", "_scored"),
    "vortex_dsl/serving/triton/requests.py": ("DeviceRequests.follow",),
    "vortex_dsl/serving/triton/mla.py": (
        "do_kv_cache_update", "summarize", "forward_mqa", "over"),
    "vortex_dsl/serving/triton/steps.py": ("read", "_mark", "_follow", "pieces"),
    "vortex_dsl/serving/triton/tallies.py": ("room", "follow", "report", "add"),
    "vortex_dsl/backends/compiled.py": (
        "summarize_written", "summarizing", "Compiled.choose", "listed", "picked", "chosen", "_room",
        "compute", "_refined", "_given", "_place", "_launch", "_states", "_arguments", "_target", "_view"),
    "vortex_dsl/ops/selection.py": ("_choose_best", "_choose_nucleus", "_choose_above", "_alike"),
    "kernels/decode.py": ("sparse_decode", "num_programs", "_operand", "_block"),
    "kernels/merging.py": ("make_scratch", "merge"),
    "kernels/selection.py": ("choose", "list_best", "empty_lists", "_launch_select", "scalar", "empty_page_lists"),
    "kernels/dependent.py": ("dependent", "capability"),
    "kernels/listing.py": ("list_pages", "list_chosen"),
    "kernels/latent.py": ("latent_decode", "_launch_attend", "latent_tiling"),
    "kernels/nucleus.py": ("nucleus",),
    "kernels/remembering.py": ("recall", "keep", "settle", "_num_tiles", "Kept.elements"),
    "kernels/slots.py": ("follow",),
    "kernels/writing.py": ("write_tokens",),
    "kernels/tuning.py": ("tiling_of", "shape_key"),
}  # fmt: skip
WAITING = {"item", "tolist", "cpu", "nonzero", "masked_select", "unique", "synchronize", "argwhere", "is_nonzero"}
ON_THE_HOST = {"numpy", "from_numpy"}  # of vLLM's host arrays, in steps.py alone
PLAIN = {"int": ("pieces", "_alike"), "bool": ()}  # int of a NumPy number, and of a Python boolean


def functions(path, names):
    tree = ast.parse((ROOT / path).read_text())
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{f.name}": f for f in node.body if isinstance(f, ast.FunctionDef)}
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, node)
    missing = set(names) - set(found)
    assert not missing, f"{path} has no {missing}"
    return {name: found[name] for name in names}


def waits(path, name, function):
    """Give what in a function would wait for the device, or cannot be captured."""
    found = []
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WAITING:
            found.append(node.func.attr)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ON_THE_HOST:
            found += [] if path.endswith("steps.py") else [node.func.attr]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PLAIN:
            found += [] if name in PLAIN[node.func.id] else [node.func.id]
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Compare):
            found.append("a boolean mask")
    return found


@pytest.mark.parametrize("path", STEP_PATH)
def test_nothing_on_the_step_path_waits_for_the_device(path):
    found = {name: waits(path, name, node) for name, node in functions(path, STEP_PATH[path]).items()}
    assert not {name: what for name, what in found.items() if what}


@pytest.mark.parametrize("line", ["x.item()", "int(n)", "y[y > 0]", "bool(t)", "t.cpu()", "t.nonzero()"])
def test_what_would_wait_is_seen(line):
    assert waits("kernels/decode.py", "f", ast.parse(f"def f():\n    {line}").body[0])


def test_host_numbers_of_a_batch_are_plain(monkeypatch):
    """What the host reads of a batch are Python's own numbers, or JSON would refuse the counters."""
    from vortex_dsl.serving.triton.steps import pieces

    batch = common([1, 4], [9, 8], [False, True])
    split, prefills = pieces(batch, np.array([0, 1, 5]))
    json.dumps([split, prefills.first, prefills.num_tokens, prefills.max_query])


def serve(warm, folder, kernels, prompts, **engine):
    from vortex_dsl import zoo

    config = {"program": zoo.text("quest"), "values": {"pages": 1, "dense_layers": 0, "window": 1}, "kernels": kernels}
    engine |= {"attention_backend": "CUSTOM", "additional_config": {"vortex": config}}
    request = {"block_size": 16, "engine": engine, "batches": [prompts], "max_tokens": 8,
               "max_num_batched_tokens": 49}  # fmt: skip
    (folder / "request.json").write_text(json.dumps(request))
    done = warm.run(SCRIPT, folder / "request.json", folder / "reply.json", VLLM_PLUGINS="vortex")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "reply.json").read_text())


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the interpreter is for machines without CUDA")
def test_an_engine_on_triton_gives_the_tokens_of_the_cpp_path(tmp_path, warm):
    """Two sequences, chunked prefill that ends in single tokens, decode over one page of several, same counters."""
    rng = random.Random(3)
    prompts = [[rng.randrange(4, 570) for _ in range(n)] for n in (50, 47)]
    got, expected = (serve(warm, tmp_path, kernels, prompts, max_num_seqs=2) for kernels in ("triton", "cpp"))
    assert got["impl"] == "TritonImpl"
    assert expected["impl"] == "VortexImpl"
    assert got["tokens"] == expected["tokens"]
    for each in (*got["counters"], *expected["counters"]):
        each.pop("covered_tokens")  # of single sequences here, of whole batches there
    assert got["counters"] == expected["counters"]
    assert all(0 < c["pages_attended"] < c["pages_dense"] for c in got["counters"])
