"""What serves sound programs passes: all of the zoo on a CPU, kinds of model and page sizes, Triton's interpreter."""

import pytest
import torch

from vortex_dsl import Shape, load_program, trace, zoo

pytestmark = pytest.mark.vllm


@pytest.fixture
def judged(config_of):
    """Judge a program of the zoo as the stage does, over fewer pages."""

    def judged(name, pages=(0, 3, 9, 9), config=None, **values):
        from search.evaluator.oracle import served
        from search.evaluator.oracle.witness import NUM_KV_HEADS
        from vortex_dsl.serving.rehearsal import model_of

        config = config or config_of()
        model = model_of(config, NUM_KV_HEADS)
        program = load_program(zoo.text(name)).with_values(**values)
        graph = trace(program, Shape(model.group, model.head_dim))
        return served.check(program, graph, config, torch.Generator().manual_seed(1), [pages])

    return judged


@pytest.mark.parametrize("name", zoo.names())
def test_the_zoo_passes(judged, name):
    every = judged(name)
    assert sum(each.num_rows for each in every) >= 56
    assert sum(each.num_unstable for each in every) == 0
    assert all("C++" in each.served_by for each in every)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["quest", "two_stage", "index_reuse"])
def test_the_engines_dtype_is_judged_beside_float32(judged, config_of, name, dtype):
    every = judged(name, config=config_of(dtype))
    assert {each.dtype for each in every} == {"float32", dtype}


@pytest.mark.parametrize("page_size", [32, 64, 128])
def test_other_page_sizes_pass(judged, page_size):
    every = judged("quest", (0, 6, 7, 7), page_size=page_size)
    assert sum(each.num_unstable for each in every) == 0


@pytest.mark.parametrize("name", ["quest", "centroid", "value_gated", "index_reuse", "oracle_mass"])
@pytest.mark.parametrize(("value_dim", "rotated", "kernels"), [(512, 64, "vLLM's C++ (latents)"), (64, 16, "torch")])
def test_latents_pass(judged, latent_config, name, value_dim, rotated, kernels):
    from vortex_dsl.serving.rehearsal import Model, model_of

    config = latent_config("float32", value_dim, rotated)
    assert model_of(config, 2) == Model(4, value_dim + rotated, value_dim, 1, torch.float32)
    every = judged(name, (0, 6, 6), config)
    assert {each.served_by.rpartition(", ")[2] for each in every} == {kernels}


@pytest.mark.parametrize("name", ["quest", "index_reuse"])
def test_what_an_engine_would_not_take_is_not_judged(judged, config_of, name):
    """The settings that an engine reads decide, and nothing else does."""
    every = judged(name, config=config_of(kernels="torch"))
    assert {each.served_by for each in every} == {"torch"}


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("name", "values"), [("quest", {}), ("twilight", {}), ("step_reuse", {"window": 1})])
def test_triton_passes(judged, config_of, name, values):
    every = judged(name, (0, 5), config_of(kernels="triton"), **values)
    assert {each.served_by for each in every} == {"Triton's interpreter"}


@pytest.mark.usefixtures("alone")
def test_triton_over_latents_passes(judged, latent_config):
    every = judged("quest", (0, 6), latent_config("float32", 64, 16, "triton"))
    assert {each.served_by for each in every} == {"Triton's interpreter"}
