"""What to serve: the program, its tunables and the room reserved for fields."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vortex_dsl.errors import did_you_mean, quoted
from vortex_dsl.values import check_size

if TYPE_CHECKING:
    from vortex_dsl.frontend.program import Program


KEY = "vortex"
EXAMPLE = "an object such as {'program': 'quest.py'}"
MAX_FIELD_BYTES = 2**24  # per page and KV head; the largest page's keys take a sixty-fourth of it
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


def from_mapping(given: object) -> ServingConfig:
    """Build the configuration from plain JSON. Raises ServingError with a sentence about what is wrong in it."""
    if not isinstance(given, dict):
        raise ServingError(f"{KEY!r} in additional_config is {quoted(given)}; give {EXAMPLE}")
    known = [f.name for f in fields(ServingConfig)]
    for name in given:
        if name not in known:
            near = did_you_mean(str(name), known) or f"; known settings: {', '.join(sorted(known))}"
            raise ServingError(f"unknown setting {quoted(name)} in {KEY!r}{near}")
    if "program" not in given:
        raise ServingError(f"{KEY!r} needs 'program', the path or the text of a program; give {EXAMPLE}")
    if not isinstance(given["program"], str):
        raise _odd("program", given["program"], "the path or the text of a program")
    kernels = given.get("kernels", "auto")
    if not isinstance(kernels, str) or kernels not in KERNELS:
        raise _odd("kernels", kernels, f"one of {', '.join(KERNELS)}")
    values, field_bytes = _values(given.get("values", {})), given.get("field_bytes", 0)
    try:
        check_size("field_bytes", field_bytes, MAX_FIELD_BYTES, least=0)
    except ValueError as error:
        raise ServingError(f"in {KEY!r}, {error}") from None
    return ServingConfig(given["program"], values, field_bytes, kernels)


def _values(given: object) -> tuple[tuple[str, Any], ...]:
    wanted = "tunables by name, such as {'pages': 32}"
    if not isinstance(given, dict):
        raise _odd("values", given, f"{wanted}, or leave it out")
    for name, value in given.items():
        if not isinstance(name, str):
            raise _odd("values", name, wanted, part="a name in ")
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise _odd(name, value, "a number, or one of the words that the tunable may be", part="the value of ")
    return tuple(sorted(given.items()))


def _odd(name: str, seen: object, wanted: str, part: str = "") -> ServingError:
    """Make the error of a setting that is not what it should be."""
    return ServingError(f"{part}{quoted(name)} in {KEY!r} is {quoted(seen)}; give {wanted}")


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
