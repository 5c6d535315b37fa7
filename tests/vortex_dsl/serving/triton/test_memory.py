"""What requests keep on the Triton path, by Triton's interpreter: drawn schedules of steps against `decode`."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytestmark = pytest.mark.vllm

PAGE, DIM, HEADS, GROUP, ROWS, BLOCKS = 16, 16, 2, 2, 4, 40
PROGRAM = '''
from vortex_dsl import Int, Program, State, dot, topk


class Remembering(Program):
    """Rank pages by how much their score rises, with queries that drift."""

    pages = Int(1, 1, 8)
    dense_layers = Int(0, 0, 8)
    share_layers = Int(1, 1, 8)
    refresh_steps = Int(1, 1, 16)
    last = State(init=0.25)
    drift = State(axes=("dim",))

    def summarize(self, k, v):
        return {"c": k.mean("token")}

    def select(self, q, page):
        s = dot(q + 0.5 * page.drift, page.c, "dim").max("head")
        return topk(s - 0.5 * page.last, self.pages).remember(last=s, drift=q.mean("head"))
'''
ROTATING = """
from vortex_dsl import Int, Program, dot, topk


class Rotating(Program):
    \"\"\"Rank pages by their mean key.\"\"\"

    pages = Int(2, 1, 8)
    dense_layers = Int(0, 0, 8)
    share_layers = Int(1, 1, 8)
    refresh_steps = Int(12, 1, 16)

    def summarize(self, k, v):
        return {"c": k.mean("token")}

    def select(self, q, page):
        return topk(dot(q, page.c, "dim").max("head"), self.pages)
"""


@pytest.fixture(autouse=True)
def _where_kernels_run():
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        yield


class Server:
    """Some layers of one model and what vLLM's runner does for them, except that nothing is computed but choices."""

    def __init__(self, text, num_layers, captured=None, **values):
        from vortex_dsl import load_program
        from vortex_dsl.serving.triton.steps import StepReader

        self.program = load_program(text).with_values(pages=1, sink=0, window=1, **values)
        context, self.names = {}, [f"model.layers.{i}.attn" for i in range(num_layers)]
        self.config = SimpleNamespace(
            scheduler_config=SimpleNamespace(max_num_seqs=3),
            model_config=SimpleNamespace(max_model_len=128, enforce_eager=False),
            compilation_config=SimpleNamespace(cudagraph_capture_sizes=[ROWS], static_forward_context=context),
        )
        for name in self.names:
            impl, pages = self._layer(num_layers)
            context[name] = SimpleNamespace(impl=impl, kv_cache=pages.k, pages=pages)
        device = torch.zeros(0).device
        self.reader = StepReader(PAGE, self.config, self.names, device)
        self.table = torch.zeros(ROWS, 128 // PAGE, dtype=torch.int32)
        self.lengths = torch.zeros(ROWS, dtype=torch.int32)
        self.query = torch.zeros(ROWS, HEADS * GROUP, DIM)
        self.captured, self.replay, self.lists = captured, None, []
        for name in self.names:
            spoilt(context[name].impl, name, device)

    def _layer(self, num_layers):
        from vortex_dsl.backends.compiled import Compiled
        from vortex_dsl.serving.layers.rule import Rule
        from vortex_dsl.serving.pages.pages import Softmax
        from vortex_dsl.serving.triton.mha import TritonImpl
        from vortex_dsl.serving.triton.pages import TritonPages
        from vortex_dsl.serving.triton.tallies import DeviceMeter

        impl = TritonImpl.__new__(TritonImpl)
        impl.num_heads, impl.num_kv_heads, impl.head_size, impl.vllm_config = HEADS * GROUP, HEADS, DIM, self.config
        impl.softmax, impl.num_layers, impl._first_head = Softmax(DIM**-0.5), num_layers, 0
        impl._max_rows, impl._recorder = ROWS * HEADS, None
        impl.rule = Rule(self.program, GROUP, DIM)
        impl._compiled, impl.tallies = Compiled(impl.rule.graph), DeviceMeter(HEADS, windowed=False)
        impl.meter = impl.tallies
        extra = -(-impl.rule.field_bytes // (4 * PAGE))
        return impl, TritonPages(torch.full((BLOCKS, HEADS, PAGE, 2 * DIM + extra), torch.nan), DIM)

    def write(self, request, first, end):
        """Store some tokens of a request, and the fields of the pages that they complete."""
        for name in self.names:
            layer = self.config.compilation_config.static_forward_context[name]
            for token in range(first, end):
                block = request.blocks[token // PAGE]
                layer.pages.k[block, :, token % PAGE] = request.k[:, token]
                layer.pages.v[block, :, token % PAGE] = request.v[:, token]
            done = torch.tensor(request.blocks[first // PAGE : end // PAGE], dtype=torch.int64)
            layer.impl._compiled.summarize(layer.pages.cache(), done, layer.pages.region)

    def step(self, rows):
        """Run a step. rows: (request or None, tokens, whether of a prompt). -> by layer, row and head the blocks.

        One that only decodes is replayed, by what was read of a step with no sequence in it.
        """
        read = self.read(rows)
        if read.prefills is None:
            if self.replay is None:
                self.whole = self.read([(None, 0, False)] * ROWS)
                self.replay = self.captured(lambda: setattr(self, "lists", self.choose(self.whole)))
                self.read(rows)
            self.replay()
            return [attended(lists, ROWS) for lists in self.lists]
        lists = self.choose(read) if read.decodes is not None else []
        return [attended(each, read.num_decodes) for each in lists]

    def read(self, rows):
        """Read a step as vLLM's runner tells of it."""
        self.lengths.zero_()
        self.table.zero_()
        for i, (request, num, _) in enumerate(rows):
            if request is not None:
                self.lengths[i] = request.length + num
                self.table[i, : len(request.blocks)] = torch.tensor(request.blocks)
        counts = torch.tensor([0, *(num for _, num, _ in rows)], device="cpu")
        batch = SimpleNamespace(
            num_reqs=len(rows), seq_lens=self.lengths[: len(rows)], block_table_tensor=self.table[: len(rows)],
            query_start_loc=counts.cumsum(0), query_start_loc_cpu=counts.cumsum(0), max_seq_len=128,
            is_prefilling=torch.tensor([prompt for *_, prompt in rows], device="cpu"),
        )  # fmt: skip
        return self.reader.read(batch)

    def choose(self, read):
        """List what every layer attends to in a step."""
        listed = []
        for index, name in enumerate(self.names):
            layer = self.config.compilation_config.static_forward_context[name]
            leader = layer.impl.rule.leader(index)
            if leader == index:
                read.choices[leader] = layer.impl._choose(name, self.query[: read.num_decodes], layer.pages, read)
            listed.append(layer.impl._shared(name, read, leader).lists)
        return listed


def spoilt(impl, name, device):
    """Fill what a layer keeps with anything, as if all slots had been used."""
    if impl.remember(name, device):
        for kept in impl._remembered._states:
            kept.values.normal_()
        if impl._remembered._chosen is not None:
            impl._remembered._chosen.random_(0, 2)


def attended(lists, num):
    """Give the set of blocks of every row and head."""
    used = [-(-tokens // PAGE) for tokens in lists.tokens.tolist()]
    sets = [set(row[:n]) for row, n in zip(lists.blocks.tolist(), used, strict=True)]
    return [sets[i * HEADS : (i + 1) * HEADS] for i in range(num)]


class Request:
    """A request: its tokens for good, and the blocks that hold them now."""

    def __init__(self, k, v, prompt):
        self.k, self.v, self.prompt = k, v, prompt
        self.blocks, self.length, self.target, self.run = [], 0, prompt, []


class Schedule:
    """Draws steps as a scheduler would make them: chunks, pauses, preemption, shared prefixes, blocks used again."""

    def __init__(self, server, seed):
        self.server, self.rng = server, random.Random(seed)
        self.free, self.owners, self.running = list(range(1, BLOCKS)), {}, []
        self.runs, self.seen = (
            [],
            {"pauses": 0, "preemptions": 0, "hits": 0, "dense": 0, "padding": 0, "mixed": 0, "ends": 0},
        )

    def arrive(self):
        """Begin a request, some with the full blocks of a prefix of another one's."""
        prompt = self.rng.randrange(36, 60)
        total = prompt + self.rng.randrange(8, 40)
        request = Request(torch.randn(HEADS, total, DIM), torch.randn(HEADS, total, DIM), prompt)
        donors = [r for r in self.running if r.length >= 2 * PAGE]
        if donors and self.rng.random() < 0.5:
            donor, shared = self.rng.choice(donors), 2
            request.k[:, : shared * PAGE] = donor.k[:, : shared * PAGE]
            request.v[:, : shared * PAGE] = donor.v[:, : shared * PAGE]
            request.blocks, request.length = donor.blocks[:shared], shared * PAGE
            for block in request.blocks:
                self.owners[block] += 1
            self.seen["hits"] += 1
        self.running.append(request)

    def release(self, request):
        for block in request.blocks:
            self.owners[block] -= 1
            if not self.owners[block]:
                self.free.insert(self.rng.randrange(3), block)  # used again soon
        request.blocks, request.length = [], 0
        self.close(request)

    def close(self, request):
        if request.run:
            self.runs.append((request, request.run))
        request.run = []

    def grow(self, request, num):
        while len(request.blocks) * PAGE < request.length + num:
            block = self.free.pop(0)
            self.owners[block] = 1
            request.blocks.append(block)

    def step(self):
        """Draw one step and run it."""
        if len(self.running) < 3 and self.rng.random() < 0.7:
            self.arrive()
        decodes, ends, pieces = [], [], []
        for request in list(self.running):
            left = request.target - request.length
            if left <= 0:
                chance = self.rng.random()
                if chance < 0.06:
                    request.target = request.length  # prefilled again, all that it had
                    self.release(request)
                    self.seen["preemptions"] += 1
                elif chance < 0.16:
                    self.seen["pauses"] += 1
                else:
                    decodes.append((request, 1, False))
                continue
            num = min(left, self.rng.choice([17, 40]))
            num -= left - num == 0 and num > 1 and self.rng.random() < 0.5  # leaves one token for a chunk of its own
            (ends if num == 1 else pieces).append((request, num, True))
        rows = decodes + ends + pieces
        self.seen["dense"] += bool(ends and decodes)
        self.seen["mixed"] += bool(pieces and decodes)
        if not pieces:
            self.seen["padding"] += 1
            rows += [(None, 0, False)] * (ROWS - len(rows))
        self.run(rows, len(decodes))

    def run(self, rows, num_decodes):
        for request, num, _ in rows:
            if request is not None:
                self.grow(request, num)
                self.server.write(request, request.length, request.length + num)
        self.server.query.copy_(torch.randn(self.server.query.shape))
        sets = self.server.step(rows)
        for i, (request, num, _) in enumerate(rows):
            if request is None:
                continue
            request.length += num
            if i >= num_decodes:
                self.close(request)
                continue
            pages = [[{request.blocks.index(b) for b in head} for head in layer[i]] for layer in sets]
            request.run.append((request.length, self.server.query[i].clone(), pages))
            if request.length == request.k.shape[1]:
                self.seen["ends"] += 1
                self.release(request)
                self.running.remove(request)


def wrong_sets(server, request, run, num_layers):
    """Count the steps and heads of a run whose pages are not those that `decode` gives."""
    from vortex_dsl import decode

    first, last = run[0][0], run[-1][0]
    assert [length for length, *_ in run] == list(range(first, last + 1))
    qs = torch.stack([q for _, q, _ in run])[:, None, None].expand(-1, num_layers, -1, -1, -1)
    k, v = (x[None, None, :, :last].expand(num_layers, -1, -1, -1, -1) for x in (request.k, request.v))
    expected = decode(server.program, qs, k, v, first - 1, backend="torch")[1][:, :, 0]
    found = [(i, layer, head) for i in range(len(run)) for layer in range(num_layers) for head in range(HEADS)]
    return sum(
        set(expected[i, layer, head].nonzero().flatten().tolist()) != run[i][2][layer][head] for i, layer, head in found
    )


class Tracker:
    """`kernels.slots` over a few slots."""

    def __init__(self, num_slots=4, refresh_steps=1, rows=8):
        from kernels.slots import Book, Places

        full = [torch.full((num,), start, dtype=torch.int32) for num, start in
                ((32, -1), (num_slots, -1), (num_slots, -1), (num_slots, 0), (num_slots, 0))]  # fmt: skip
        self.book, self.clock, self.refresh_steps = Book(*full), 0, refresh_steps
        self.into = Places(*(torch.full((rows,), 99, dtype=torch.int32) for _ in range(3)))

    def follow(self, *sequences, num_prompts=0):
        """Each sequence: its length and its blocks; the last are of prompts. -> slots, held, scored"""
        from kernels.slots import Sequences, follow

        table, lengths = torch.zeros(len(sequences), 8, dtype=torch.int32), [length for length, _ in sequences]
        for row, (_, blocks) in zip(table, sequences, strict=True):
            row[: len(blocks)] = torch.tensor(blocks)
        self.clock += 1
        batch = Sequences(table, torch.tensor(lengths, dtype=torch.int32), torch.zeros(8, dtype=torch.int8),
                          len(sequences) - num_prompts)  # fmt: skip
        follow(batch, self.book, self.into, self.clock, 4, self.refresh_steps)
        return [x[: len(sequences)].tolist() for x in (self.into.slots, self.into.held, self.into.scored)]


def test_a_request_keeps_its_slot_over_page_boundaries_and_changes_of_place():
    tracker = Tracker()
    assert tracker.follow((7, [3, 5]), (2, [8])) == [[0, 1], [0, 0], [7, 2]]
    assert tracker.follow((3, [8]), (8, [3, 5])) == [[1, 0], [2, 7], [3, 8]]
    assert tracker.follow((9, [3, 5, 11])) == [[0], [8], [9]]
    assert tracker.follow((10, [3, 5, 11]), (4, [8])) == [[0, 1], [9, 3], [10, 4]]


def test_a_choice_stands_until_a_multiple_is_passed():
    tracker = Tracker(refresh_steps=4)
    assert tracker.follow((6, [1, 2])) == [[0], [0], [6]]
    assert tracker.follow((7, [1, 2])) == [[0], [6], [0]]
    assert tracker.follow((8, [1, 2])) == [[0], [6], [8]]
    assert tracker.follow((9, [1, 2, 3])) == [[0], [8], [0]]


def test_what_is_no_decode_has_no_slot_and_padding_touches_nothing():
    """Padding rows name block 0 and have no token; a prompt wipes the mark of the block that it ends in."""
    tracker = Tracker()
    tracker.follow((7, [3, 5]), (2, [8]))
    slots, _, scored = tracker.follow((0, []), (8, [3, 5]), (0, []), (3, [8]), num_prompts=1)
    assert slots == [4, 0, 4, 4]
    assert scored == [0, 8, 0, 0]
    assert tracker.book.slot_of_block[0] == -1
    slots, held, _ = tracker.follow((4, [8]), (9, [3, 5, 6]))
    assert held == [0, 8]
    assert slots == [2, 0]


def test_whatever_follows_a_prompt_starts_afresh_even_in_the_same_block_at_the_same_length():
    tracker = Tracker()
    tracker.follow((7, [3, 5]))
    assert tracker.follow((7, [3, 5]), num_prompts=1)[0] == [4]
    assert tracker.follow((8, [3, 5]))[1] == [0]


def test_only_candidates_are_kept_and_a_page_beyond_the_choice_is_not_chosen():
    """All pages are flagged at 17 tokens in 5 pages, of which the first and the last two are reserved."""
    from kernels.remembering import settle
    from kernels.selection import Pages
    from kernels.slots import Places

    kept, chosen = (torch.ones(*shape, dtype=torch.int8) for shape in ((2, 1, 6), (1, 6)))
    slot, pages = torch.tensor([1], dtype=torch.int32), Pages(torch.tensor([21]), 1, 6, 4, 1, 2)
    settle(chosen, kept, Places(slot, 0 * slot, 17 + 0 * slot), pages)
    assert kept.tolist() == [[[1] * 6], [[0, 1, 1, 0, 1, 1]]]
    settle(chosen, kept, Places(slot, 17 + 0 * slot, 0 * slot), pages)
    assert chosen.tolist() == [[0, 1, 1, 0, 0, 0]]


def test_another_length_or_block_is_another_request_in_the_slot_longest_unused():
    tracker = Tracker(num_slots=2)
    tracker.follow((7, [3, 5]))
    assert tracker.follow((9, [3, 5, 6]))[:2] == [[1], [0]]
    assert tracker.follow((8, [3, 7]))[:2] == [[0], [0]]
    assert tracker.follow((10, [3, 5, 6]), (4, [9]))[:2] == [[1, 0], [9, 0]]


def test_more_sequences_than_slots_have_none_and_disturb_no_one():
    """Only what a server runs to warm up has so many."""
    tracker = Tracker(num_slots=2)
    tracker.follow((5, [1, 2]))
    assert tracker.follow((3, [7]), (6, [1, 2]), (3, [8]), (3, [9]))[0] == [1, 0, 2, 2]
    assert tracker.follow((4, [9]), (7, [1, 2]))[:2] == [[1, 0], [0, 6]]


CASES = [
    pytest.param(PROGRAM, 1, {}, 26, id="states"),
    pytest.param(PROGRAM, 2, {"refresh_steps": 3, "share_layers": 2}, 36, id="states-refresh-share"),
    pytest.param(ROTATING, 1, {}, 50, id="refresh"),
]


@pytest.mark.parametrize(("text", "num_layers", "values", "steps"), CASES)
def test_drawn_schedules_choose_what_decode_says(text, num_layers, values, steps, captured):
    """Arrivals, pauses, preemption, prefix hits, padding, ends of prompts beside decodes, blocks used again."""
    server = Server(text, num_layers, captured, **values)
    schedule = Schedule(server, seed=15)
    for _ in range(steps):
        schedule.step()
    for request in schedule.running:
        schedule.close(request)
    assert all(schedule.seen.values()), schedule.seen
    assert len(schedule.runs) > 5
    assert sum(len(run) for _, run in schedule.runs) > 40
    assert sum(wrong_sets(server, request, run, num_layers) for request, run in schedule.runs) == 0


def test_what_layers_keep_is_as_large_as_said():
    """Each layer that chooses has flags, a state by page and one by channel, for every slot and KV head."""
    server = Server(PROGRAM, 2, refresh_steps=3, share_layers=2)
    context = server.config.compilation_config.static_forward_context
    device = torch.zeros(0).device
    taken = [context[name].impl.remember(name, device) for name in server.names]
    num_slots, max_pages = 3 + 8, 128 // PAGE
    assert taken == [num_slots * HEADS * (max_pages + 4 * max_pages + 4 * DIM), 0]
    assert [context[name].impl.remember(name, device) for name in server.names] == taken  # only once


@pytest.mark.skipif(torch.cuda.is_available(), reason="on CUDA the other tests compile")
def test_kernels_compile_for_a_gpu_that_is_not_there():
    folder = Path(__file__).resolve().parents[2]
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = run([folder / "compile_remembering.py"], kept | {"PYTHONPATH": f"{folder.parents[1]}"})
    assert {line.split(":")[0] for line in done} == {"_recognise", "_admit", "_recall", "_keep", "_settle"}


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the interpreter is for machines without CUDA")
def test_an_engine_on_triton_attends_to_what_decode_says(tmp_path, warm):
    """Three sequences take turns in two places; chunks of prompts end in single tokens. Every step is replayed."""
    rng = random.Random(3)
    prompts = [[rng.randrange(4, 570) for _ in range(n)] for n in (50, 40, 41)]
    config = {"program": PROGRAM, "values": {"refresh_steps": 3, "share_layers": 2}, "kernels": "triton"}
    engine = {"attention_backend": "CUSTOM", "additional_config": {"vortex": config}, "max_num_seqs": 2}
    request = {"block_size": PAGE, "engine": engine, "batches": [prompts], "max_tokens": 10, "replay": True,
               "max_num_batched_tokens": 49}  # fmt: skip
    (tmp_path / "request.json").write_text(json.dumps(request))
    script = Path(__file__).parents[1] / "serve_script.py"
    done = warm.run(script, tmp_path / "request.json", tmp_path / "reply.json", VLLM_PLUGINS="vortex")
    assert done.returncode == 0, done.stderr[-3000:]
    got = json.loads((tmp_path / "reply.json").read_text())
    assert got["impl"] == "TritonImpl"
    assert got["replayed"] == {"runs": 3, "steps": 3 * 3 * 9, "wrong": 0}
    assert all(0 < c["pages_attended"] < c["pages_dense"] for c in got["counters"])


def run(command, environment):
    """Run a script in a process of its own and give its lines."""
    command = [sys.executable, *map(str, command)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()
