"""A rehearsal is the engine's own serving: its classes, its caches, its settings, and no trace of it afterwards."""

import pytest
import torch

from vortex_dsl import load_program, zoo

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def config():
    from vllm.engine.arg_utils import EngineArgs

    from search.evaluator.probe import MODEL_FOLDER

    served = {"vortex": {"program": zoo.text("quest")}}
    given = EngineArgs(
        str(MODEL_FOLDER), dtype="bfloat16", max_model_len=512, enforce_eager=True, additional_config=served
    )
    return given.create_engine_config()


def rehearsal_of(config, name="quest", tokens=70, page_size=32):
    from vortex_dsl.serving.rehearsal import Rehearsal, Tokens, model_of

    model = model_of(config, 2)
    program = load_program(zoo.text(name)).with_values(page_size=page_size)
    k, v = torch.randn(2, 1, 2, 2, tokens, model.head_dim, dtype=model.dtype)
    return Rehearsal(config, model, program, [2], Tokens(k, v))


def test_the_model_is_read_from_the_engines_configuration(config):
    from vortex_dsl.serving.rehearsal import Model, model_of

    assert model_of(config, 3) == Model(2, 64, 0, 3, torch.bfloat16)


def test_the_engines_own_settings_stay(config):
    from vortex_dsl.serving.backend import VortexBackend

    rooms, blocks = dict(VortexBackend.rooms), config.cache_config.block_size
    rehearsal = rehearsal_of(config)
    assert rehearsal.page_size == 32
    assert config.cache_config.block_size == blocks
    assert VortexBackend.rooms == rooms
    assert not config.compilation_config.static_forward_context
    assert config.model_config.max_model_len == 512


def test_a_cache_has_the_room_that_the_backend_asks_for_and_holds_nothing(config):
    """Two fields of 64 channels in bfloat16 take 256 bytes a page: 4 more numbers at each of 32 tokens."""
    (layer,) = rehearsal_of(config).layers
    assert layer.kv_cache.shape[1:] == (2, 32, 2 * 64 + 4)
    assert layer.kv_cache.isnan().all()


def test_blocks_are_scattered_and_some_belong_to_nobody(config):
    from vortex_dsl.serving.rehearsal import NUM_STRANGERS

    rehearsal = rehearsal_of(config)
    owned = rehearsal.table[:, :3].flatten().tolist()
    assert len(set(owned)) == 6
    assert rehearsal.layers[0].kv_cache.shape[0] == 6 + NUM_STRANGERS
    assert owned != sorted(owned)
    assert not set(owned) & set(rehearsal.table[:, 3:].flatten().tolist())


def test_prompts_and_decodes_share_a_step_and_each_says_what_its_kernel_was_told(config):
    from vortex_dsl.serving.rehearsal import Tokens, Turn

    rehearsal = rehearsal_of(config, "streaming", tokens=300)
    rehearsal.soil(Tokens(*torch.randn(2, 1, 2, 2, 320, 64, dtype=torch.bfloat16)))
    rehearsal.pour([Turn(0, 260, decodes=False), Turn(1, 100, decodes=False)])
    queries = torch.randn(1, 2, 4, 64, dtype=torch.bfloat16)
    (took,) = rehearsal.step([Turn(0, 261, decodes=True), Turn(1, 103, decodes=False)], queries)
    assert took.out.shape == (2, 4, 64)
    assert not took.out.isnan().any()
    assert set(took.listed) == {(0, 0), (0, 1)}
    listed = took.listed[0, 1]
    ends = rehearsal.table[0, [0, 7, 8]].long() * 2 + 1  # one sink, two pages of window
    assert torch.equal(listed.pages, ends)
    assert listed.tokens == 2 * 32 + 5


def test_a_rehearsal_names_what_serves(config):
    assert rehearsal_of(config).served_by.startswith("tape, vLLM's C++ (")
    assert rehearsal_of(config, "oracle_mass").served_by.endswith(")")


def test_fields_that_are_the_same_stand_where_another_program_is_served(config, monkeypatch):
    """A budget changes nothing of what is stored; other fields are computed anew, and the same ones after those."""
    from vortex_dsl.serving.layers.rule import Rule
    from vortex_dsl.serving.rehearsal import Tokens, Turn

    def programs(pages):
        return [load_program(zoo.text(name)).with_values(page_size=32, pages=pages) for name in ("quest", "centroid")]

    def listed(rehearsal):
        (took,) = rehearsal.step([Turn(0, 261, decodes=True)], queries)
        return took.listed[0, 0].pages.tolist(), took.listed[0, 1].pages.tolist()

    torch.manual_seed(0)
    queries = torch.randn(1, 2, 4, 64, dtype=torch.bfloat16)
    rehearsals = []
    for _ in range(2):
        torch.manual_seed(1)
        rehearsals.append(rehearsal := rehearsal_of(config, tokens=300))
        rehearsal.soil(Tokens(*torch.randn(2, 1, 2, 2, 320, 64, dtype=torch.bfloat16)))
        rehearsal.pour([Turn(0, 260, decodes=False)])
    summarized, own = [], Rule.summarize
    monkeypatch.setattr(Rule, "summarize", lambda *given: summarized.append(0) or own(*given))
    few, other = programs(2)
    rehearsals[0].use(few)
    assert summarized == []
    for each in (other, few):
        rehearsals[1].use(each)
    assert summarized == [0, 0]
    assert listed(rehearsals[0]) == listed(rehearsals[1])
