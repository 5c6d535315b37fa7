"""Which plugin is active when several are installed; what a configuration may say."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest

from vortex_dsl import ProgramError, load_program, zoo
from vortex_dsl.serving import config, plugin


def test_the_only_one_installed_is_active():
    assert plugin.chosen(["vortex"], "") == "vortex"


def test_none_is_active_when_several_are_installed_and_none_is_named():
    assert plugin.chosen(["vortex-a", "vortex-b"], "") is None


def test_the_named_one_is_active():
    assert plugin.chosen(["vortex-a", "vortex-b"], "vortex-b") == "vortex-b"


def test_naming_two_is_an_error_that_names_both():
    with pytest.raises(plugin.PluginConflictError, match="vortex-a and vortex-b"):
        plugin.chosen(["vortex-a", "vortex-b"], "vortex-a,vortex-b")


def test_naming_one_that_is_not_installed_is_an_error():
    with pytest.raises(plugin.PluginConflictError, match=r"vortex-c, which is not installed; installed: vortex-a"):
        plugin.chosen(["vortex-a"], "vortex-c")


@pytest.mark.parametrize(("name", "role"), [("vortex-0", "idle"), ("vortex-9", "guard")])
def test_ambiguity_is_guarded_by_the_first_by_name(monkeypatch, name, role):
    """Exactly one of two unnamed plugins guards the door: asking for CUSTOM is an error, dense models run."""
    monkeypatch.delenv(plugin.CHOICE, raising=False)
    monkeypatch.setattr(plugin, "installed", lambda: {name: "somebody.else", "vortex-5": plugin.PACKAGE})
    assert plugin.role() == role


@pytest.mark.vllm
def test_the_guard_is_what_custom_means(monkeypatch):
    """On a GPU, where no platform of ours is asked: vLLM said that CUSTOM must be registered."""
    from vllm.v1.attention.backends import registry

    monkeypatch.delenv(plugin.CHOICE, raising=False)
    monkeypatch.setattr(registry, "_ATTN_OVERRIDES", {})
    monkeypatch.setattr(plugin, "installed", lambda: {"vortex-9": "somebody.else", "vortex-5": plugin.PACKAGE})
    plugin.register()
    with pytest.raises(plugin.PluginConflictError, match=r"\(vortex-5, vortex-9\); set VORTEX_PLUGIN"):
        registry.AttentionBackendEnum.CUSTOM.get_class()


def test_this_installation_is_found():
    assert plugin.installed()["vortex"] == "vortex_dsl.serving"


ODD_SETTINGS = [
    ("quest.py", "'vortex' in additional_config is 'quest.py'; give an object such as {'program': 'quest.py'}"),
    (None, "'vortex' in additional_config is 'None'; give an object"),
    (["quest.py"], "'vortex' in additional_config is 'list'; give an object"),
    ({}, "'vortex' needs 'program', the path or the text of a program; give an object"),
    ({"program": "x.py", "budget": 4}, "unknown setting 'budget' in 'vortex'; known settings: field_bytes, kernels"),
    ({"program": "x.py", "fieldbytes": 4}, "unknown setting 'fieldbytes' in 'vortex'; did you mean 'field_bytes'?"),
    ({"program": "x.py", 3: 4}, "unknown setting '3' in 'vortex'; known settings"),
    ({"program": None}, "'program' in 'vortex' is 'None'; give the path or the text of a program"),
    ({"program": ["x.py"]}, "'program' in 'vortex' is 'list'; give the path"),
    ({"program": "x.py", "values": None}, "'values' in 'vortex' is 'None'; give tunables by name, such as"),
    ({"program": "x.py", "values": [1]}, "'values' in 'vortex' is 'list'; give tunables by name"),
    ({"program": "x.py", "values": {3: 1}}, "a name in 'values' in 'vortex' is '3'; give tunables by name"),
    ({"program": "x.py", "values": {"pages": None}}, "the value of 'pages' in 'vortex' is 'None'; give a number, or"),
    ({"program": "x.py", "values": {"pages": [1]}}, "the value of 'pages' in 'vortex' is 'list'; give a number, or"),
    ({"program": "x.py", "values": {"pages": True}}, "the value of 'pages' in 'vortex' is 'True'; give a number, or"),
    ({"program": "x.py", "field_bytes": "x"}, "in 'vortex', field_bytes is 'x'; give a whole number from 0 to"),
    ({"program": "x.py", "field_bytes": -5}, "in 'vortex', field_bytes is -5; give a whole number from 0 to"),
    ({"program": "x.py", "field_bytes": 2.0}, "in 'vortex', field_bytes is '2.0'; give a whole number from 0 to"),
    ({"program": "x.py", "field_bytes": None}, "in 'vortex', field_bytes is 'None'; give a whole number"),
    ({"program": "x.py", "field_bytes": 10**30}, "in 'vortex', field_bytes is 'a number of very many digits'; give"),
    ({"program": "x.py", "kernels": "cuda"}, "'kernels' in 'vortex' is 'cuda'; give one of auto, cpp, triton, torch"),
    ({"program": "x.py", "kernels": None}, "'kernels' in 'vortex' is 'None'; give one of auto, cpp, triton, torch"),
]


@pytest.mark.parametrize(("given", "sentence"), ODD_SETTINGS, ids=str)
def test_what_is_wrong_in_the_settings_is_told_in_a_sentence(given, sentence):
    with pytest.raises(config.ServingError) as caught:
        config.serving_config(SimpleNamespace(additional_config={"vortex": given}))
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_settings_that_are_right_are_taken_as_they_are():
    given = {"program": "x.py", "values": {"pages": 8, "kind": "a"}, "field_bytes": 64, "kernels": "torch"}
    expected = config.ServingConfig("x.py", (("kind", "a"), ("pages", 8)), 64, "torch")
    assert config.from_mapping(given) == expected
    assert config.from_mapping({"program": "x.py"}) == config.ServingConfig("x.py")


QUEST = zoo.text("quest")
CARD = {
    "name": "Quest", "text": QUEST, "values": {"pages": 26, "page_size": 32}, "model": "smollm2",
    "shape": {"group": 3, "head_dim": 64},
}  # fmt: skip


@pytest.fixture
def exported(monkeypatch):
    """Make this package one that was exported, and give what it serves for some `additional_config`."""
    monkeypatch.setattr(config, "exported_card", lambda: CARD)
    monkeypatch.delenv(config.PROGRAM_VARIABLE, raising=False)
    config._warn.cache_clear()
    return lambda **vortex: config.serving_config(
        SimpleNamespace(additional_config={"vortex": vortex} if vortex else {})
    )


def test_an_exported_program_is_served_as_judged_unless_other_values_are_asked_for(exported):
    assert exported().load() == load_program(QUEST).with_values(**CARD["values"])
    served = exported(values={"pages": 64}, kernels="torch")
    assert served.load().values["pages"] == 64
    assert served.load().values["page_size"] == 32
    assert served.kernels == "torch"


def test_another_program_may_be_served_by_an_exported_runtime(exported):
    assert exported(program=zoo.text("centroid")).load() == load_program(zoo.text("centroid"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"page": 64}, "Quest has no tunable 'page'; did you mean 'pages'?"),
        ({"pages": 0}, "tunable 'pages': 0 is out of range; give a whole number from"),
        ({"page_size": 48}, "tunable 'page_size': '48' is not an option; give one of 16, 32, 64, 128"),
        ({"pages": "many"}, "tunable 'pages': 'many' is not a whole number; give one from"),
    ],
)
def test_a_value_that_the_exported_program_does_not_take_is_told_in_a_sentence(exported, values, sentence):
    with pytest.raises(ProgramError) as caught:
        exported(values=values).load()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_of_an_exported_program_that_are_no_object_are_told_with_its_own_example(exported):
    with pytest.raises(config.ServingError, match=r"give an object such as \{'values': \{'pages': 64\}\}"):
        config.from_mapping("pages=64", CARD)
    with pytest.raises(config.ServingError, match="unknown setting 'pages' in 'vortex'"):
        exported(pages=64)
    with pytest.raises(config.ServingError, match="'values' in 'vortex' is 'list'"):
        exported(values=[64])


def test_what_was_never_judged_is_warned_of_once(exported, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("vllm"), "propagate", True)
    config.warn_of_what_was_not_judged(exported().load(), 3, 64)
    config.warn_of_what_was_not_judged(load_program(zoo.text("centroid")), 4, 128)
    assert caplog.messages == []
    said = config._warn.cache_info().misses
    for _layer in range(3):
        config.warn_of_what_was_not_judged(exported(values={"pages": 64}).load(), 4, 128)
    assert config._warn.cache_info().misses == said + 2
    shape, values = dict.fromkeys(caplog.messages)  # where vLLM has set up its log, a message may be caught twice
    assert "judged on smollm2, with 3 query heads per KV head of 64 channels; this model has 4 of 128" in shape
    assert "served with pages=64 (judged with 26)" in values


@pytest.mark.vllm
def test_an_engine_starts_in_a_process_that_has_numba():
    """vLLM 0.32 looks through all modules for kernels to replace, and fails at one of Numba's."""
    lines = (
        "import numba",
        "from vortex_dsl.serving.cpu_platform import VortexCpuPlatform",
        "VortexCpuPlatform.register_triton_kernel_overrides()",
        "from vllm.triton_utils import HAS_TRITON",
        "from vllm.triton_utils.dispatcher import _registry",
        "assert HAS_TRITON or _registry",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
