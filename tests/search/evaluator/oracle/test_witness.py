"""The witness passes sound programs and notices each kind of disagreement, naming the case."""

from dataclasses import replace

import pytest
import torch

from search.evaluator.oracle.witness import MANY, TOLERANCE, Mismatch, check
from vortex_dsl import Shape, load_program, trace
from vortex_dsl.backends import torch_backend
from vortex_dsl.backends.batched import Batched
from vortex_dsl.backends.contract import Chosen

QUEST = '''from vortex_dsl import Choice, Int, Program, maximum, topk


class Quest(Program):
    """Rank pages by an upper bound of q·k taken from per-page key envelopes."""

    pages = Int(64, low=4, high=1024, log=True)
    page_size = Choice({page_size}, (16, 32, 64, 128))

    def summarize(self, k, v):
        return {{"hi": k.max("token"), "lo": k.min("token"){storage}}}

    def select(self, q, page):
        bound = maximum(q * page.hi, q * page.lo).sum("dim")
        return topk(bound.max("head"), self.pages)
'''

CHAOTIC = '''from vortex_dsl import Program, topk


class Chaotic(Program):
    """Rank pages by digits that no computation gets right."""

    def summarize(self, k, v):
        return {"mean": k.mean("token").to("float32")}

    def select(self, q, page):
        score = (q * page.mean).sum("dim").sum("head")
        return topk((score * 1000000.0) % 1.0, 4)
'''

RESERVED = '''from vortex_dsl import Int, Program, reserved_only


class Narrow(Program):
    """Attend to the reserved pages only, of which there are always few."""

    window = Int(2, 1, 8)

    def select(self, q, page):
        return reserved_only()
'''


def checked(text, group=2, head_dim=64, seed=0):
    program = load_program(text)
    measurements = check(program, trace(program, Shape(group=group, head_dim=head_dim)), seed)
    return {m.name: m.value for m in measurements}


def quest(page_size=16, storage=""):
    return QUEST.format(page_size=page_size, storage=storage)


@pytest.mark.parametrize(("group", "head_dim"), [(1, 64), (2, 64), (8, 32)])
def test_a_sound_program_passes_at_the_models_shape(group, head_dim):
    figures = checked(quest(), group, head_dim)
    assert figures["rows"] == 28
    assert figures["unstable"] == 0
    assert figures["max_error"] < TOLERANCE
    assert figures["bytes_per_page"] == 2 * 2 * head_dim


@pytest.mark.parametrize(
    "text",
    [quest(page_size=64), quest(storage=', "k": 1').replace('"k": 1', '"x": v.mean("token").to("int4")'), RESERVED],
)
def test_other_page_sizes_storage_and_narrow_windows_pass(text):
    assert checked(text)["max_error"] < TOLERANCE


def test_the_choice_is_tested_where_there_is_one(monkeypatch):
    chosen = []
    choose = Batched.choose
    monkeypatch.setattr(Batched, "choose", lambda self, step: chosen.append(choose(self, step)) or chosen[-1])
    checked(quest())
    chosen = [each.attended for each in chosen]
    few = [pages for pages in chosen if pages.shape[1] > MANY and pages.sum(1).max() < 10]
    assert few


def test_a_backend_that_chooses_otherwise_is_named_with_its_case(monkeypatch):
    choose = Batched.choose

    def forgetful(self, step):
        chosen = choose(self, step)
        pages = chosen.attended.clone()
        pages[:, 9] &= pages.shape[1] < 20
        return Chosen(pages, pages, chosen.states)

    monkeypatch.setattr(Batched, "choose", forgetful)
    with pytest.raises(Mismatch, match=r"more pages than the default budget, length \d+, KV head 0: the torch backend"):
        checked(quest())


def test_a_backend_whose_output_is_off_is_noticed(monkeypatch):
    attend_pages = torch_backend.attend_pages
    monkeypatch.setattr(torch_backend, "attend_pages", lambda *args: attend_pages(*args) * 1.001)
    with pytest.raises(Mismatch, match=r"output is .* from the reference's"):
        checked(quest())


def test_an_output_that_is_no_number_is_noticed(monkeypatch):
    attend_pages = torch_backend.attend_pages
    monkeypatch.setattr(torch_backend, "attend_pages", lambda *args: attend_pages(*args) * float("nan"))
    with pytest.raises(Mismatch, match="output is nan"):
        checked(quest())


def test_bits_that_depend_on_the_program_are_noticed(monkeypatch):
    attend_pages, calls = torch_backend.attend_pages, []

    def drifting(*args):
        calls.append(1)
        return attend_pages(*args) * (1 + 1e-6 * (len(calls) == 2))

    monkeypatch.setattr(torch_backend, "attend_pages", drifting)
    with pytest.raises(Mismatch, match="all pages are attended, but the output is not every_page's"):
        checked(quest())


@pytest.mark.parametrize("leak", ["values", "fields"])
def test_what_lies_beyond_the_end_must_not_be_seen(monkeypatch, leak):
    attend_pages, choose = torch_backend.attend_pages, Batched.choose

    def sees_values(q, k, v, attended, lengths, scale):
        return attend_pages(q, k, v, attended, lengths, scale) + v.sum((1, 2))[:, None] * 1e-30

    def sees_fields(self, step):
        chosen = choose(self, step)
        pages = chosen.attended.clone()
        pages[:, 3] |= (step.source.k[..., 0] == 1e30).flatten(1).any(1)
        return Chosen(pages, pages, chosen.states)

    if leak == "values":
        monkeypatch.setattr(torch_backend, "attend_pages", sees_values)
    else:
        monkeypatch.setattr(Batched, "choose", sees_fields)
    with pytest.raises(Mismatch, match="beyond the sequence's end changes the result"):
        checked(quest().replace("Int(64", "Int(4"))


def test_a_window_that_covers_everything_must_leave_nothing_out(monkeypatch):
    choose = Batched.choose

    def forgetful(self, step):
        chosen = choose(self, step)
        pages = chosen.attended.clone()
        pages[:, 4] &= self.graph.window < 64
        return Chosen(pages, pages, chosen.states)

    monkeypatch.setattr(Batched, "choose", forgetful)
    with pytest.raises(Mismatch, match=r"full budget, .* the widest window leaves pages unattended"):
        checked(quest())


def test_a_choice_that_rounding_decides_is_counted_and_not_blamed(monkeypatch):
    choose = torch_backend.Torch.choose

    def rounds_otherwise(self, step, states):
        return choose(self, replace(step, k=step.k * (1 + 2e-7)), states)

    assert checked(CHAOTIC)["max_error"] < TOLERANCE
    monkeypatch.setattr(torch_backend.Torch, "choose", rounds_otherwise)
    assert checked(CHAOTIC)["unstable"] > 0
    torch.testing.assert_close(checked(quest())["unstable"], 0.0)


REMEMBERING = """from vortex_dsl import Int, Program, State, dot, topk


class Remembering(Program):
    \"\"\"Rank pages by how much their score rises.\"\"\"

    pages = Int(3, 1, 1024)
    share_layers = Int({share}, 1, 8)
    refresh_steps = Int({refresh}, 1, 16)
    last = State()

    def summarize(self, k, v):
        return {{"c": k.mean("token")}}

    def select(self, q, page):
        s = dot(q, page.c, "dim").max("head")
        return topk(s - 0.5 * page.last, self.pages).remember(last=s)
"""


@pytest.mark.parametrize(("share", "refresh"), [(1, 1), (2, 4), (8, 16)])
def test_programs_that_remember_are_compared_over_steps(share, refresh):
    plain = checked(quest())["rows"]
    assert checked(REMEMBERING.format(share=share, refresh=refresh))["rows"] > plain


def test_a_backend_that_forgets_is_noticed(monkeypatch):
    choose = torch_backend.Torch.choose
    monkeypatch.setattr(torch_backend.Torch, "choose", lambda self, step, states: choose(self, step, None))
    with pytest.raises(Mismatch, match=r"decode step \d, layer \d, sequence \d, KV head \d: the torch backend"):
        checked(REMEMBERING.format(share=1, refresh=1))
