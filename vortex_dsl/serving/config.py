"""What to serve: the program, its tunables and the room reserved for fields."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vortex_dsl.errors import did_you_mean, quoted
from vortex_dsl.values import check_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.frontend.program import Program


KEY = "vortex"
EXAMPLE = "an object such as {'program': 'quest.py'}"
EXPORTED_EXAMPLE = "an object such as {'values': {'pages': 64}}"
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


def from_mapping(given: object, card: Mapping[str, Any] | None = None) -> ServingConfig:
    """Build the configuration from plain JSON. Raises ServingError with a sentence about what is wrong in it.

    card: of the exported program that is served where `given` names none; what is given changes its tunables.
    """
    if not isinstance(given, dict):
        example = EXAMPLE if card is None else EXPORTED_EXAMPLE
        raise ServingError(f"{KEY!r} in additional_config is {quoted(given)}; give {example}")
    known = [f.name for f in fields(ServingConfig)]
    for name in given:
        if name not in known:
            near = did_you_mean(str(name), known) or f"; known settings: {', '.join(sorted(known))}"
            raise ServingError(f"unknown setting {quoted(name)} in {KEY!r}{near}")
    values: Any = given.get("values", {})
    if "program" not in given and card is not None:
        values = {**card["values"], **dict(_values(values))}
        given = {**given, "program": card["text"]}
    if "program" not in given:
        raise ServingError(f"{KEY!r} needs 'program', the path or the text of a program; give {EXAMPLE}")
    if not isinstance(given["program"], str):
        raise _odd("program", given["program"], "the path or the text of a program")
    kernels = given.get("kernels", "auto")
    if not isinstance(kernels, str) or kernels not in KERNELS:
        raise _odd("kernels", kernels, f"one of {', '.join(KERNELS)}")
    field_bytes = given.get("field_bytes", 0)
    try:
        check_size("field_bytes", field_bytes, MAX_FIELD_BYTES, least=0)
    except ValueError as error:
        raise ServingError(f"in {KEY!r}, {error}") from None
    return ServingConfig(given["program"], _values(values), field_bytes, kernels)


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
    """Find what to serve: `additional_config`, else $VORTEX_PROGRAM, else the exported program of this package.

    An exported program is served as it was judged, but for what `additional_config` says of it.
    """
    additional, card = getattr(vllm_config, "additional_config", None), exported_card()
    if isinstance(additional, dict) and KEY in additional:
        return from_mapping(additional[KEY], card)
    if os.environ.get(PROGRAM_VARIABLE):
        return ServingConfig(os.environ[PROGRAM_VARIABLE])
    if card is not None:
        return from_mapping({}, card)
    raise ServingError(
        "attention_backend='CUSTOM' needs a program: pass additional_config="
        f"{{'{KEY}': {{'program': 'quest.py'}}}} or set {PROGRAM_VARIABLE}"
    )


@cache
def exported_card() -> dict[str, Any] | None:
    """Give what this package says of its exported program (`search.plugin.card`), None where it carries none."""
    return json.loads(PACKAGED.read_text("utf-8")) if PACKAGED.is_file() else None


def warn_of_what_was_not_judged(program: Program, group: int, head_dim: int) -> None:
    """Say, once each, in what the figures of an exported program are not those of what is served here.

    group, head_dim: of the layer that serves it.
    """
    card = exported_card()
    if card is None or program.text != card["text"]:
        return
    judged, shape = program.with_values(**card["values"]), card["shape"]
    if (group, head_dim) != (shape["group"], shape["head_dim"]):
        _warn(
            f"Vortex: {card['name']} was judged on {card['model']}, with {shape['group']} query heads per KV head of "
            f"{shape['head_dim']} channels; this model has {group} of {head_dim}, for which it was never judged: "
            "measure before you rely on it"
        )
    changed = [name for name, value in program.values.items() if value != judged.values[name]]
    if changed:
        told = ", ".join(f"{name}={program.values[name]} (judged with {judged.values[name]})" for name in changed)
        _warn(f"Vortex: {card['name']} is served with {told}; the figures on its page are of what was judged")


@cache
def _warn(sentence: str) -> None:
    logging.getLogger("vllm").warning(sentence)


def kernels_of(vllm_config: Any) -> str:
    """Give `cpp`, `triton` or `torch`. Raises ServingError where those asked for are not for the engine's device."""
    return serving_config(vllm_config).kernels_on(vllm_config.device_config.device_type)
