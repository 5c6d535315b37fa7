"""Which plugin is active when several are installed; what a configuration may say."""

import subprocess
import sys

import pytest

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
    assert plugin._role() == role


def test_this_installation_is_found():
    assert plugin.installed()["vortex"] == "vortex_dsl.serving"


def test_unknown_settings_are_errors():
    with pytest.raises(config.ServingError, match="unknown setting 'budget' in 'vortex'"):
        config.from_mapping({"program": "x.py", "budget": 4})


def test_a_program_is_needed():
    with pytest.raises(config.ServingError, match="needs 'program'"):
        config.from_mapping({})


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
