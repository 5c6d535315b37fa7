"""A fault planted anywhere in what serves on a CPU turns into `wrong_result`."""

import inspect
from dataclasses import replace

import pytest
import torch

pytestmark = pytest.mark.vllm

NUM_SEQUENCES = 4  # of a batch

DISTANCE = '''
from vortex_dsl import Int, Program, topk


class Distance(Program):
    """Rank pages by how far their mean key stands before the query, and by how little it varies."""

    pages = Int(3, 1, 1024)

    def summarize(self, k, v):
        return {"c": k.mean("token").to("float32"), "spread": k.var("token").sum("dim").to("float32")}

    def select(self, q, page):
        before = (relu(page.c - q)).sum("dim").max("head")
        return topk(before - page.spread, self.pages)
'''.replace("topk\n", "relu, topk\n", 1)


VALUES = '''
from vortex_dsl import Int, Program, topk


class Values(Program):
    """Rank pages by how much a query has in common with all channels of their values, the rotated ones too."""

    pages = Int(3, 1, 1024)

    def summarize(self, k, v):
        return {"c": v.mean("token").to("float32")}

    def select(self, q, page):
        return topk((q * page.c).sum("dim").max("head"), self.pages)
'''


# More numbers of every page than a tape keeps: torch chooses.
TOO_WIDE = '''
from vortex_dsl import Int, Program, dot, topk


class TooWide(Program):
    """Rank pages by running sums of running sums of all their keys."""

    pages = Int(3, 1, 1024)

    def select(self, q, page):
        x = page.k
        for i in range(6):
            x = (x * 0.5).cumsum("page")
        return topk(dot(q, x, "dim").max("head", "token"), self.pages)
'''


def _is_inner(each):
    """Whether it is a loop that other loops alone may call: Python finds no way into it."""
    return hasattr(each, "py_func") and each.py_func.__name__.startswith("_")


def _as_it_is(loop):
    return loop


def changed(function, changes=(), **names):
    """Give a loop with some of its text changed, and with other functions under these names; Python itself runs it."""
    source = inspect.getsource(function.py_func)
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    module = function.py_func.__globals__
    called = {name: module.get(name) for name in function.py_func.__code__.co_names if name not in names}
    inner = {name: changed(each) for name, each in called.items() if _is_inner(each)}
    surroundings = module | inner | names | dict.fromkeys(("compiled", "compiled_sums", "compiled_within"), _as_it_is)
    exec(source, surroundings)
    return surroundings[function.py_func.__name__]


def short_window(patch):
    from vortex_dsl.backends.tape import machine

    loop = changed(machine.run, [("j >= count - reserved[1]", "j > count - reserved[1]")])
    patch.setattr(machine, "run", loop)


def best_but_one(patch):
    from kernels.host import tape
    from vortex_dsl.backends.tape import machine

    marks = changed(tape.mark_best, [("np.floor(num)", "np.floor(num) - 1")])
    compute = changed(tape._compute, mark_best=marks)
    row = changed(tape._run_row, _perform=changed(tape._perform, _compute=compute))
    patch.setattr(machine, "run", changed(tape.run, _run_row=row))


def _with_lists(patch, old, new):
    """Plant a fault in the loop that lists pages, inside the tape's."""
    from kernels.host import tape
    from vortex_dsl.backends.tape import machine

    lists = changed(tape.list_pages, [(old, new)])
    patch.setattr(machine, "run", changed(tape.run, list_pages=lists))


def lists_backwards(patch):
    _with_lists(patch, "table[row, listed:] = 0", "table[row, :listed] = table[row, :listed][::-1].copy()")


def lists_whole_pages(patch):
    _with_lists(patch, " - (-lengths[row]) % page_size", "")


def lists_but_the_last(patch):
    _with_lists(patch, "if attended[row, i]:", "if attended[row, i] and i < (lengths[row] - 1) // page_size:")


def swapped_operands(patch):
    """Emit `b - a` where a program says `a - b`."""
    from vortex_dsl.backends.tape import machine
    from vortex_dsl.graph.rewrite import rewritten

    def visit(interner, node, args):
        return interner.make("sub", args[::-1], node.attrs) if node.op == "sub" else None

    tape_of = machine.tape_of

    def emitted(graph):
        selection_alone = rewritten(graph, lambda i, n, a: visit(i, n, a) if n in set(graph.select_nodes) else None)
        assert selection_alone is not graph
        return tape_of(selection_alone)

    patch.setattr(machine, "tape_of", emitted)


def field_a_vector_off(patch):
    from vortex_dsl.serving.pages import fields_cpu

    stored_at = fields_cpu.stored_at
    patch.setattr(
        fields_cpu, "stored_at", lambda field, start, size: stored_at(field, start + size // field.num_vectors, size)
    )


def fields_exchanged(patch):
    """Write one field where another of the same size is read."""
    from vortex_dsl.serving.pages.fields_cpu import CpuFields

    store = CpuFields.store

    def exchanged(self, numbers, packed):
        store(self, numbers, packed.flip(1).unflatten(1, (2, -1)).flip(2).flatten(1))

    patch.setattr(CpuFields, "store", exchanged)


def page_order_permuted(patch):
    """Look for every channel where the one beside it lies."""
    from vortex_dsl.serving.pages import cpu as pages_cpu

    stored_order = pages_cpu.stored_order

    def elsewhere(isa, page_size, head_dim, dtype):
        order = stored_order(isa, page_size, head_dim, dtype)
        return tuple(at.view(page_size, head_dim).roll(1, 1).flatten() for at in order)

    patch.setattr(pages_cpu, "stored_order", elsewhere)


def few_pages_complete_nothing(patch):
    """Leave the fields stale of pages that decodes complete: no more than one of each sequence and KV head."""
    from vortex_dsl.serving.layers.layer import ProgramLayer

    complete = ProgramLayer.complete

    def forgetful(self, pages, numbers):
        if numbers.numel() > NUM_SEQUENCES * pages.num_kv_heads:
            complete(self, pages, numbers)

    patch.setattr(ProgramLayer, "complete", forgetful)


def swap_leaves_fields(patch):
    from vortex_dsl.serving.layers.layer import ProgramLayer

    use = ProgramLayer.use

    def lazy(self, program):
        complete, self._complete = self._complete, torch.zeros_like(self._complete)
        use(self, program)
        self._complete = complete

    patch.setattr(ProgramLayer, "use", lazy)


def last_token_not_written(patch):
    from vortex_dsl.serving.pages.cpu import CpuPages

    write = CpuPages.write

    def short(self, key, value, slots):
        some = slots[slots >= 0]
        write(self, key[: len(some) - 1], value[: len(some) - 1], some[:-1])

    patch.setattr(CpuPages, "write", short)


def attention(**changes):
    """Let the pages' attention be another one."""

    def plant(patch):
        from vortex_dsl.serving.pages.cpu import CpuPages

        attend = CpuPages.attend_pages

        def other(self, query, rows, softmax, output):
            attend(self, query, rows, replace(softmax, scale=softmax.scale * changes.get("scale", 1.0)), output)
            output *= changes.get("factor", 1.0)

        patch.setattr(CpuPages, "attend_pages", other)

    return plant


def prompts_see_less(patch):
    from vortex_dsl.serving.pages.cpu import CpuPages

    attend = CpuPages.attend_sequences

    def blind(self, query, rows, softmax, output):
        attend(self, query, rows, replace(softmax, window=100), output)

    patch.setattr(CpuPages, "attend_sequences", blind)


def heads_confused(patch):
    """Give all rows the number of the first KV head."""
    from vortex_dsl.serving.layers.decodes import Decodes

    patch.setattr(Decodes, "kv_head", property(lambda self: torch.zeros_like(self.lengths)))


def layers_confused(patch):
    from vortex_dsl.serving.layers import layer

    patch.setattr(layer, "layer_index", lambda name: 1 + (int(name.split(".")[2])))


def pages_of_the_next_head(patch):
    from vortex_dsl.serving.layers import decodes

    pages_of = decodes.pages_of
    patch.setattr(decodes, "pages_of", lambda blocks, heads: pages_of(blocks, heads).flip(-1))


def requests_confused(patch):
    from vortex_dsl.serving.layers.memory import Requests

    follow = Requests.follow

    def confused(self, table, lengths):
        followed = follow(self, table, lengths)
        return replace(followed, slots=followed.slots.sort().values)

    patch.setattr(Requests, "follow", confused)


def chooses_every_time(patch):
    from vortex_dsl.serving.layers.memory import Memory

    renewed = Memory.renewed
    patch.setattr(Memory, "renewed", lambda self, followed, period: renewed(self, followed, period) | True)


def choices_not_shared(patch):
    from vortex_dsl.serving.layers.rule import Rule

    patch.setattr(Rule, "leader", lambda self, layer: layer if layer >= self.graph.dense_layers else None)


def torch_chooses_worst(patch):
    """Choose the worst pages where torch chooses among those of a cache."""
    from vortex_dsl.serving.pages.cpu import CpuPages

    best = CpuPages.best
    patch.setattr(CpuPages, "best", staticmethod(lambda score, allowed, num: best(-score, allowed, num)))


OTHER_PAGES = "attends to pages"
OUTPUT = "output is"
TOLD = "the kernel is told"
FAULTS = {
    "a loop's window is one short": (short_window, "quest", OTHER_PAGES),
    "a loop's best are one too few": (best_but_one, "quest", OTHER_PAGES),
    "lists are not in order": (lists_backwards, "quest", "not each one once, in order"),
    "lists forget that the last page is partial": (lists_whole_pages, "quest", "tokens; with the last page"),
    "lists leave out the last page": (lists_but_the_last, "quest", TOLD),
    "operands are swapped": (swapped_operands, DISTANCE, OTHER_PAGES),
    "a field is read elsewhere": (field_a_vector_off, "quest", OTHER_PAGES),
    "fields are exchanged": (fields_exchanged, "quest", OTHER_PAGES),
    "a page's numbers lie elsewhere": (page_order_permuted, "quest", OTHER_PAGES),
    "fields are stale after decodes": (few_pages_complete_nothing, "quest", OTHER_PAGES),
    "fields are stale after a swap": (swap_leaves_fields, "quest", OTHER_PAGES),
    "the last token is not written": (last_token_not_written, "quest", "the output"),
    "attention has another scale": (attention(scale=1.001), "quest", OUTPUT),
    "attention is a little off": (attention(factor=1.0001), "quest", OUTPUT),
    "prompts see less": (prompts_see_less, "quest", "output at the end of a piece of the prompt"),
    "heads are confused": (heads_confused, "random_pages", OTHER_PAGES),
    "layers are confused": (layers_confused, "decaying_budget", OTHER_PAGES),
    "pages of another head are read": (pages_of_the_next_head, "quest", "not the sequence's"),
    "requests are confused": (requests_confused, "velocity", "decode step"),
    "choices are never kept": (chooses_every_time, "step_reuse", "decode step"),
    "choices are not shared": (choices_not_shared, "index_reuse", "decode step"),
    "torch chooses the worst": (torch_chooses_worst, TOO_WIDE, OTHER_PAGES),
}


@pytest.mark.parametrize("program", sorted({program for _, program, _ in FAULTS.values()}))
def test_without_a_fault_all_is_well(status_of, program):
    status, message = status_of(program)
    assert (status, message.partition(" by ")[0]) == ("ok", "served")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_what_serves_is_a_wrong_result(monkeypatch, status_of, fault):
    plant, program, words = FAULTS[fault]
    plant(monkeypatch)
    status, message = status_of(program)
    assert status == "wrong_result"
    assert "served by " in message
    assert words in message


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_fault_of_one_dtype_alone_is_seen(monkeypatch, config_of, status_of, dtype):
    """Attention that is wrong in the engine's dtype and right in float32."""
    from vortex_dsl.serving.pages.cpu import CpuPages

    attend = CpuPages.attend_pages

    def off(self, query, rows, softmax, output):
        attend(self, query, rows, softmax, output)
        if output.dtype != torch.float32:
            output.add_(0.1)

    monkeypatch.setattr(CpuPages, "attend_pages", off)
    status, message = status_of("quest", config_of(dtype))
    assert status == "wrong_result"
    assert f"in {dtype}" in message
    assert status_of("quest")[0] == "ok"


def values_keep_what_is_rotated(patch):
    from vortex_dsl.serving.pages.latent import LatentPages

    patch.setattr(LatentPages, "raw_values", LatentPages.raw_keys)


def latents_fields_elsewhere(patch):
    from vortex_dsl.serving.pages import latent as pages_latent

    stored_at = pages_latent.stored_at
    patch.setattr(pages_latent, "stored_at", lambda field, start, size: stored_at(field, start + 32, size))


def blocks_in_another_order(patch):
    """Read the parts of a page of latents in reverse, as if the page were the kernel's own block."""
    from vortex_dsl.serving.pages.latent import CpuLatentPages

    table = CpuLatentPages._table
    patch.setattr(CpuLatentPages, "_table", lambda self, pages: table(self, pages.flip(1)))


LATENT_FAULTS = {
    "values keep what is rotated": (values_keep_what_is_rotated, VALUES, OTHER_PAGES),
    "fields lie elsewhere": (latents_fields_elsewhere, "quest", OTHER_PAGES),
    "blocks are read in another order": (blocks_in_another_order, "quest", OUTPUT),
}


@pytest.mark.parametrize("fault", LATENT_FAULTS)
def test_a_fault_in_what_serves_latents_is_a_wrong_result(monkeypatch, latent_config, status_of, fault):
    plant, program, words = LATENT_FAULTS[fault]
    config = latent_config("float32", 512, 64)
    assert status_of(program, config)[0] == "ok"
    plant(monkeypatch)
    status, message = status_of(program, config)
    assert (status, words in message) == ("wrong_result", True)
