"""Where dense references lie: worker and engine name the same file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def reference_path(name: str, scratch: Path) -> Path:
    """Say where a dense reference lies."""
    return scratch / "fidelity" / f"{name}.safetensors"
