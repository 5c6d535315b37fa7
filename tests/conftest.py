"""Settings that must stand before anything is imported, and who may run beside whom."""

import os
from pathlib import Path

import pytest

# Triton reads this when it is first imported. Without an NVIDIA driver its kernels run in the interpreter.
if not Path("/proc/driver/nvidia/version").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in two processes; an engine has a core of its own


@pytest.hookimpl(tryfirst=True)  # before the plugin that reads groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process run all tests that start engines: two engines must never compute at once."""
    for item in items:
        if item.get_closest_marker("vllm"):
            item.add_marker(pytest.mark.xdist_group("engine"))
