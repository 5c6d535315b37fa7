"""From a model's name to its folder, and from the folder to the digest that stands in every evaluation's key."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from search.evaluator import probe
from search.evaluator.models import smollm2
from search.evaluator.models.errors import ModelError
from vortex_dsl.errors import did_you_mean

OWN = (probe.PROBE, smollm2.NAME)
SMALL_BYTES = 1 << 20
MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja")


def is_own(name: str) -> bool:
    """Tell whether it names a model that comes with us or with a package of ours."""
    return name in OWN


def model_folder(name: str) -> Path:
    """Give the folder of a model: of probe or smollm2, the folder itself, or the snapshot of a hub name.

    What smollm2 needs is converted when it is first asked for. Raises ModelError.
    """
    if not name.strip():
        raise ModelError(f"{name!r} names no model: give a folder, a hub name, {' or '.join(OWN)}")
    if name == probe.PROBE:
        name = str(probe.MODEL_FOLDER)
    if name == smollm2.NAME:
        return smollm2.converted()
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return folder.resolve()
    if folder.is_dir():
        raise ModelError(f"the folder {folder} holds no model: it has no config.json")
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(
            f"there is no model folder {name}: give an existing folder or a hub name such as Qwen/Qwen3-1.7B"
        )
    return _snapshot(name)


def model_digest(folder: Path) -> str:
    """Hash a model's configuration, tokenizer and weights; 16 hex digits. Raises ModelError where there is none.

    Whole files are hashed once per size and time of change.
    """
    whole = hashlib.sha256()
    for path in _files(folder):
        stat = path.stat()
        whole.update(f"{path.name}:{_file_digest(path, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return whole.hexdigest()[:16]


def model_outline(folder: Path) -> str:
    """Hash what tells two models apart in milliseconds: all files' names and sizes, and the content of small ones.

    16 hex digits. Raises ModelError where there is no model.
    """
    whole = hashlib.sha256()
    for path in _files(folder):
        size = path.stat().st_size
        whole.update(f"{path.name}:{size}:".encode() + (path.read_bytes() if size <= SMALL_BYTES else b"") + b"\n")
    return whole.hexdigest()[:16]


def _files(folder: Path) -> list[Path]:
    files = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)})
    if not any(path.name == "config.json" for path in files):
        raise ModelError(f"the folder {folder} holds no model: it has no config.json")
    return files


@functools.cache
def _file_digest(path: Path, _size: int, _changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(MODEL_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0].removeprefix("Got: ")
        near = did_you_mean(name, OWN)
        raise ModelError(f"the model {name} is neither a folder nor to be had from the hub: {reason}{near}") from error
