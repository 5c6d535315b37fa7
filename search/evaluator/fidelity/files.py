"""Where dense references lie, which worker and engine name alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


REFERENCES = "fidelity"


def reference_path(name: str, scratch: Path) -> Path:
    """Say where a dense reference lies."""
    return scratch / REFERENCES / f"{name}.safetensors"
