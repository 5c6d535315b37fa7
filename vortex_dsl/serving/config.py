"""What to serve: the program, its tunables and the room reserved for fields."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vortex_dsl.frontend.program import Program


KEY = "vortex"
KERNELS = ("auto", "cpp", "triton", "torch")  # auto: cpp on a CPU, triton elsewhere
PROGRAM_VARIABLE = "VORTEX_PROGRAM"
PACKAGED = Path(__file__).resolve().parent.parent / "exported.json"


class ServingError(ValueError):
    """The plugin was asked for something that it cannot serve; the message says what to do."""


@dataclass(frozen=True)
class ServingConfig:
    """What `additional_config={"vortex": {...}}` may say. Unknown keys are errors.

    `program` is a path or a program's text, `values` its tunables, `field_bytes` the bytes per page and KV head
    reserved for fields when another program will be swapped in (its own need when zero). `kernels` is one of KERNELS:
    what decode runs on.
    """

    program: str
    values: tuple[tuple[str, Any], ...] = ()
    field_bytes: int = 0
    kernels: str = "auto"

    def kernels_on(self, device_type: str) -> str:
        """Give what decode runs on there: `cpp`, `triton` or `torch`. Raises ServingError."""
        if self.kernels == "cpp" and device_type != "cpu":
            raise ServingError(f"kernels='cpp' are vLLM's for CPUs, and this device is a {device_type}; leave it out")
        return {"auto": "cpp" if device_type == "cpu" else "triton"}.get(self.kernels, self.kernels)

    def load(self) -> Program:
        """Load the program with its values. Raises ProgramError."""
        from vortex_dsl.frontend.load import load_program

        return load_program(self.program).with_values(**dict(self.values))


def from_mapping(given: dict[str, Any]) -> ServingConfig:
    """Build the configuration from plain JSON. Raises ServingError for unknown or missing keys."""
    known = {f.name for f in fields(ServingConfig)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ServingError(f"unknown setting {unknown[0]!r} in {KEY!r}; known settings: {', '.join(sorted(known))}")
    if not isinstance(given.get("program"), str):
        raise ServingError(f"{KEY!r} needs 'program': the path or the text of a program")
    values = tuple(sorted(dict(given.get("values", {})).items()))
    kernels = given.get("kernels", "auto")
    if kernels not in KERNELS:
        raise ServingError(f"unknown kernels {kernels!r} in {KEY!r}; there are {', '.join(KERNELS)}")
    return ServingConfig(given["program"], values, int(given.get("field_bytes", 0)), kernels)


def serving_config(vllm_config: Any) -> ServingConfig:
    """Find what to serve: `additional_config`, else $VORTEX_PROGRAM, else the exported program of this package."""
    additional = getattr(vllm_config, "additional_config", None)
    if isinstance(additional, dict) and KEY in additional:
        return from_mapping(additional[KEY])
    if os.environ.get(PROGRAM_VARIABLE):
        return ServingConfig(os.environ[PROGRAM_VARIABLE])
    if PACKAGED.is_file():
        exported = json.loads(PACKAGED.read_text())
        return from_mapping({"program": exported["text"], "values": exported["values"]})
    raise ServingError(
        "attention_backend='CUSTOM' needs a program: pass additional_config="
        f"{{'{KEY}': {{'program': 'quest.py'}}}} or set {PROGRAM_VARIABLE}"
    )


def kernels_of(vllm_config: Any) -> str:
    """Give `cpp`, `triton` or `torch`. Raises ServingError where those asked for are not for the engine's device."""
    return serving_config(vllm_config).kernels_on(vllm_config.device_config.device_type)
