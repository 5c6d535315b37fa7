"""Several layers and steps: what is remembered, renewed, shared, and what a plain loop by hand gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vortex_dsl import Shape, attend, decode, load_program, trace

HEADS, GROUP, DIM, PAGE = 2, 3, 8, 16

TEXT = '''
from vortex_dsl import Int, Program, State, dot, topk


class Remembering(Program):
    """Rank pages by what was seen before."""

    pages = Int(2, 1, 1024)
    window = Int(1, 1, 64)
    dense_layers = Int({dense}, 0, 8)
    share_layers = Int({share}, 1, 8)
    refresh_steps = Int({refresh}, 1, 16)
    {state}

    def summarize(self, k, v):
        return {{"c": k.mean("token").to("float32")}}

    def select(self, q, page):
        s = dot(q, page.c, "dim").max("head")
        return {result}
'''


def program(result="topk(s, self.pages)", state="", dense=0, share=1, refresh=1):
    return load_program(TEXT.format(result=result, state=state, dense=dense, share=share, refresh=refresh))


VELOCITY = {
    "state": "last = State()",
    "result": "topk(s - 0.5 * page.last, self.pages).remember(last=s)",
}


def inputs(steps=6, layers=1, batch=2, prompt=16 * 7 - 3, seed=0):
    torch.manual_seed(seed)
    qs = torch.randint(-2, 3, (steps, layers, batch, HEADS * GROUP, DIM)).float()
    ks, vs = torch.randint(-2, 3, (2, layers, batch, HEADS, prompt + steps, DIM)).float()
    return qs, ks, vs, prompt


def by_hand(qs, ks, prompt, weight):
    """Attended pages of a program that ranks by s + weight * (what it remembered), one layer, in NumPy."""
    steps, batch = qs.shape[0], qs.shape[2]
    num_pages = -(-(prompt + steps) // PAGE)
    attended = np.zeros((steps, batch, HEADS, num_pages), bool)
    for i in range(batch):
        for head in range(HEADS):
            remembered = np.zeros(num_pages)
            for step in range(steps):
                length = prompt + step + 1
                complete, count = length // PAGE, -(-length // PAGE)
                q = qs[step, 0, i, head * GROUP : (head + 1) * GROUP].numpy()
                c = ks[0, i, head, : complete * PAGE].numpy().reshape(complete, PAGE, DIM).mean(1)
                s = (c @ q.T).max(1)
                score = s + weight * remembered[:complete]
                candidates = range(1, min(complete, count - 1))
                best = sorted(candidates, key=lambda page: (-score[page], page))[:2]
                attended[step, i, head, [0, count - 1, *best]] = True
                remembered[:complete] = s
    return attended


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_a_state_carries_scores_from_step_to_step_and_new_pages_start_afresh(backend):
    qs, ks, vs, prompt = inputs(steps=24)
    outs, attended = decode(program(**VELOCITY), qs, ks, vs, prompt, backend=backend)
    assert outs.shape == qs.shape
    assert (attended[:, 0].numpy() == by_hand(qs, ks, prompt, -0.5)).all()
    assert not (attended[:, 0].numpy() == by_hand(qs, ks, prompt, 0.0)).all()


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_the_first_step_is_attend(backend):
    qs, ks, vs, prompt = inputs(steps=1)
    rule = program(**VELOCITY)
    outs, attended = decode(rule, qs, ks, vs, prompt, backend=backend)
    alone, pages = attend(rule, qs[0, 0], ks[0], vs[0], backend=backend)
    assert torch.equal(outs[0, 0], alone)
    assert torch.equal(attended[0, 0], pages)


def test_backends_agree_on_states_over_every_axis():
    state = 'a = State(axes=("page", "head"), init=1.0)\n    b = State(axes=("dim", "head"))\n    n = State(axes=())'
    result = (
        'topk(s + page.a.sum("head") + page.n * page.index + page.b.max("dim").sum("head"), self.pages)'
        '.remember(a=dot(q, page.k.max("token"), "dim"), b=q, n=0.5 - page.n)'
    )
    rule = program(result=result, state=state)
    qs, ks, vs, prompt = inputs(steps=20, prompt=3)
    reference, batched = (decode(rule, qs, ks, vs, prompt, backend=name) for name in ("reference", "torch"))
    assert torch.equal(reference[1], batched[1])
    torch.testing.assert_close(reference[0], batched[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_a_choice_is_renewed_when_the_length_passes_a_multiple_of_refresh_steps(backend):
    qs, ks, vs, prompt = inputs(steps=9, prompt=16 * 6 + 1)
    fresh = decode(program(), qs, ks, vs, prompt, backend=backend)[1][:, 0]
    kept = decode(program(refresh=4), qs, ks, vs, prompt, backend=backend)[1][:, 0]
    # lengths 98 ... 106: a first choice, then renewed at 100 and 104
    for step, chosen_at in enumerate([0, 0, 2, 2, 2, 2, 6, 6, 6]):
        assert torch.equal(kept[step], fresh[chosen_at])
    assert not torch.equal(kept[1], fresh[1])


def test_reserved_pages_are_recomputed_while_a_choice_is_kept():
    qs, ks, vs, prompt = inputs(steps=3, prompt=16 * 6 - 2)
    attended = decode(program(refresh=16), qs, ks, vs, prompt)[1][:, 0]
    assert attended[0, ..., 5].all()
    assert attended[2, ..., 6].all()  # the page begun in the meantime
    chosen = attended[0, ..., :5]
    assert torch.equal(attended[2, ..., :5], attended[1, ..., :5] | chosen) or attended[1, ..., 5].all()


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_layers_of_a_group_use_the_choice_of_its_first_and_dense_layers_none(backend):
    qs, ks, vs, prompt = inputs(layers=6)
    shared = decode(program(dense=1, share=2), qs, ks, vs, prompt, backend=backend)[1]
    alone = decode(program(dense=1), qs, ks, vs, prompt, backend=backend)[1]
    count = -(-(prompt + 1) // PAGE)
    assert shared[0, 0, ..., :count].all()
    for layer, leader in ((1, 1), (2, 1), (3, 3), (4, 3), (5, 5)):
        assert torch.equal(shared[:, layer], alone[:, leader])
    assert not torch.equal(shared[:, 2], alone[:, 2])


def test_a_state_is_written_only_in_steps_that_choose():
    qs, ks, vs, prompt = inputs(steps=8, prompt=16 * 6)
    counting = program(
        state="n = State(axes=())", result="topk(page.index == page.n + 1, 1).remember(n=page.n + 1)", refresh=4
    )
    attended = decode(counting, qs, ks, vs, prompt)[1][:, 0, 0, 0]
    turns = [int(page.nonzero()[1, 0]) for page in attended]
    # lengths 97 ... 104: choices at 97, 100 and 104
    assert turns == [1, 1, 1, 2, 2, 2, 2, 3]


def test_a_state_that_nothing_reads_or_that_equals_another_changes_no_digest():
    shape = Shape(GROUP, DIM)
    plain = trace(program(), shape).digest
    unread = program(state="n = State()", result="topk(s, self.pages).remember(n=page.n + s)")
    assert trace(unread, shape).digest == plain
    one = trace(program(**VELOCITY), shape)
    renamed = program(state="zz = State()", result="topk(s - 0.5 * page.zz, self.pages).remember(zz=s)")
    assert trace(renamed, shape).digest == one.digest
    twice = program(
        state="a = State()\n    b = State()",
        result="topk(s - 0.25 * page.a - 0.25 * page.b, self.pages).remember(a=s, b=s)",
    )
    assert len(trace(twice, shape).states) == 1
    other = program(state="last = State(init=1.0)", result=VELOCITY["result"])
    assert trace(other, shape).digest != one.digest
    swapped = [
        program(
            state='a = State(axes=("page",))\n    b = State(axes=("page",))',
            result=f"topk(s - page.{x} + 2 * page.{y}, self.pages).remember({x}=s, {y}=page.{x} + page.{y})",
        )
        for x, y in (("a", "b"), ("b", "a"))
    ]
    assert len({trace(each, shape).digest for each in swapped}) == 1
    assert len(trace(swapped[0], shape).states) == 2


REFUSED = {
    "topk(s, 1).remember(nn=s)": "did you mean 'n'",
    "topk(s, 1).remember(other=s)": "declare it in the class: other = State()",
    "topk(s, 1).remember(s)": "write selection.remember(state=value)",
    "topk(s, 1).remember()": "write selection.remember(state=value)",
    "topk(s, 1).remember(n=q)": "value with axes [head, dim] in a state with axes [page]",
    "topk(s, 1).remember(n=s).remember(n=s)": "'remember' twice",
    "s.remember(n=s)": "'remember' of a value that is no selection",
    "topk(s + page.n, 1)": "the state 'n' is read but never written",
    "topk(self.n, 1)": "write page.n",
}


@pytest.mark.parametrize("result", REFUSED)
def test_a_misused_state_is_refused_by_a_sentence(result):
    with pytest.raises(ValueError, match=r"^<program>:\d+:\d+: ") as caught:
        program(state="n = State()", result=result)
    assert REFUSED[result] in str(caught.value)


def test_shapes_that_do_not_fit_are_refused():
    qs, ks, vs, _ = inputs()
    with pytest.raises(ValueError, match=r"decode: qs \[6, 1, 2, 6, 8\].*prompt_tokens=5 do not fit; give qs"):
        decode(program(), qs, ks, vs, 5)
