"""A fault planted in what serves by Triton is seen, here by its interpreter: over few pages, for that is slow."""

import re
from dataclasses import replace

import pytest
import torch

from vortex_dsl import Shape, load_program, trace, zoo

pytestmark = [pytest.mark.vllm, pytest.mark.usefixtures("alone")]

PAGES = (0, 7)
FEW = {"pages": 4, "window": 1}


def judged(config, name):
    from search.evaluator.oracle import served
    from vortex_dsl.serving.rehearsal import model_of

    model = model_of(config, 2)
    program = load_program(zoo.text(name)).with_values(**FEW)
    graph = trace(program, Shape(model.group, model.head_dim))
    return served.check(program, graph, config, torch.Generator().manual_seed(1), [PAGES])


def emitted(pattern, to):
    """Plant a fault in the text of the kernels that a program becomes."""

    def plant(patch):
        from vortex_dsl.backends import compiled

        load = compiled.load_kernels

        def load_other(text):
            other, num = re.subn(pattern, to, text)
            assert num, pattern
            return load(other)

        patch.setattr(compiled, "load_kernels", load_other)

    return plant


def short_window(patch):
    from vortex_dsl.serving.triton import layer as backend_triton

    bounds = backend_triton.Bounds
    patch.setattr(backend_triton, "Bounds", lambda *given: bounds(*given[:-1], given[-1] + 1))


def fields_elsewhere(patch):
    """Read fields where those of the block before lie."""
    from vortex_dsl.serving.triton import layer as backend_triton

    step = backend_triton.Step
    patch.setattr(
        backend_triton,
        "Step",
        lambda query, cache, region, *rest, **more: step(query, cache, region.roll(1, 0), *rest, **more),
    )


def another_scale(patch):
    from vortex_dsl.serving.triton import layer as backend_triton

    weighing = backend_triton.weighing
    patch.setattr(backend_triton, "weighing", lambda softmax: weighing(replace(softmax, scale=softmax.scale * 1.001)))


FAULTS = {
    "operands are swapped": (emitted(r"(sub_\d+ = )(\w+) - (\w+)", r"\1\3 - \2"), "attends to pages"),
    "one field is written over another": (emitted(r"store\(out_1 \+", "store(out_0 +"), "attends to pages"),
    "pages end a token early": (emitted(r"% 16 != 15", "% 16 != 14"), "attends to pages"),
    "fields lie elsewhere": (fields_elsewhere, "attends to pages"),
    "the window is another": (short_window, "attends to pages"),
    "attention has another scale": (another_scale, "output is"),
}


def test_without_a_fault_all_is_well(config_of):
    every = judged(config_of(kernels="triton"), "quest")
    assert sum(each.num_rows for each in every) > 0


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(monkeypatch, config_of, fault):
    from search.evaluator.oracle.witness import Mismatch

    plant, words = FAULTS[fault]
    plant(monkeypatch)
    with pytest.raises(Mismatch, match=rf"served by Triton's interpreter in float32, .*{words}"):
        judged(config_of(kernels="triton"), "quest")
