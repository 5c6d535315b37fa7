"""The conformance test that a wheel carries, without an engine: what it finds right, and what it finds wrong."""

import pytest
import torch

from search.plugin import check
from vortex_dsl import Shape, load_program, trace, zoo

SHAPE = Shape(group=2, head_dim=16)


def program(name="quest", **values):
    return load_program(zoo.text(name)).with_values(**values)


def test_a_program_that_means_what_was_exported_is_right():
    quest = program(pages=4)
    assert check._program(quest, SHAPE, trace(quest, SHAPE).digest).is_right
    found = check._program(quest, SHAPE, trace(program(pages=5), SHAPE).digest)
    assert not found.is_right
    assert "was exported" in found.seen


@pytest.mark.parametrize("name", ["quest_int4", "index_reuse"])
def test_torch_and_the_reference_agree(name):
    found = check._meaning(program(name), SHAPE)
    assert found.is_right, found.seen
    assert int(found.seen.split()[-2]) > 0


def test_a_backend_that_chooses_otherwise_is_found_out(monkeypatch):
    decode = check.decode

    def wrong(*args, backend):
        out, attended = decode(*args, backend=backend)
        return (out, attended.flip(-1)) if backend == "torch" else (out, attended)

    monkeypatch.setattr(check, "decode", wrong)
    assert not check._meaning(program(pages=2), SHAPE).is_right


def test_a_choice_that_falls_either_way_by_rounding_is_no_fault():
    """All keys alike: which pages have the most mass is decided by the last bit."""
    oracle = program("oracle_mass", pages=2)
    inputs = check._draw(trace(oracle, SHAPE), 2, 13)
    alike = inputs._replace(ks=inputs.ks[:, :, :, :1].expand_as(inputs.ks).clone())
    assert not alike.steady(oracle, alike.expected(oracle)[1]).all()
    assert inputs.steady(oracle, inputs.expected(oracle)[1]).all()


def test_the_program_is_tried_as_judged_and_with_the_least_budget():
    variants = [variant.values["pages"] for variant, _ in check._variants(program(pages=26), SHAPE)]
    assert variants == [26, program().tunables["pages"].low]


def test_a_plugin_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.delenv(check.CHOICE, raising=False)
    monkeypatch.setattr(check, "installed", lambda: {"vortex-9": "vortex_9.serving"})
    assert check._plugin().seen == f"vLLM finds no plugin of {check.PACKAGE}; install the wheel"


def test_where_several_are_installed_it_says_how_this_one_is_chosen(monkeypatch):
    monkeypatch.setenv(check.CHOICE, "")  # which the check sets by itself: so that it is gone afterwards
    monkeypatch.delenv(check.CHOICE)
    monkeypatch.setattr(check, "installed", lambda: {"vortex-1": check.PACKAGE, "vortex-9": "vortex_9.serving"})
    found = check._plugin()
    assert found.is_right
    assert "2 are installed, so VORTEX_PLUGIN=vortex-1 is needed" in found.seen
    monkeypatch.setenv(check.CHOICE, "vortex-9")
    assert not check._plugin().is_right


def test_where_no_program_was_exported_there_is_nothing_to_check():
    (found,) = check.check(check.Asked()).findings
    assert not found.is_right


def test_no_decoded_token_that_is_sparse_is_a_fault():
    assert not check._read(check.Checked(tokens=[[1]], pages_attended=0, pages_dense=0), 0).is_right
    found = check._read(check.Checked(tokens=[[1, 2]], pages_attended=1, pages_dense=4), 2)
    assert found.is_right
    assert "25.0%" in found.seen


def test_inputs_are_drawn_over_the_end_of_a_page():
    graph = trace(program(dense_layers=2, share_layers=2), SHAPE)
    inputs = check._draw(graph, 2, 13, torch.bfloat16)
    assert inputs.qs.shape == (check.NUM_STEPS, 6, 1, 4, 16)
    assert inputs.prompt_tokens < 13 * graph.page_size < inputs.prompt_tokens + check.NUM_STEPS
