"""Where dense references lie, which worker and engine name alike, and what programs were heard to say in races."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


REFERENCES, RACED = "fidelity", "raced"


def reference_path(name: str, scratch: Path, folder: str = REFERENCES) -> Path:
    """Say where a dense reference lies, or of another folder what was kept beside one."""
    return scratch / folder / f"{name}.safetensors"
