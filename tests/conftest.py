"""Settings that must stand before anything is imported, and what tests of kernels share."""

import os
from pathlib import Path

import pytest

# Triton reads this when it is first imported. Without an NVIDIA driver its kernels run in the interpreter.
if not Path("/proc/driver/nvidia/version").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def from_the_end(monkeypatch):
    """Let the interpreter run the programs of a launch in reverse, so that others are last to arrive."""
    from triton.runtime.interpreter import interpreter_builder

    set_index = interpreter_builder.set_grid_idx
    monkeypatch.setattr(
        interpreter_builder,
        "set_grid_idx",
        lambda *place: set_index(*(n - 1 - i for i, n in zip(place, interpreter_builder.grid_dim, strict=True))),
    )


@pytest.fixture
def launches(monkeypatch):
    """List the kernels that are launched, by name, in order."""
    import triton

    import kernels.decode

    kind, names = type(kernels.decode._attend), []
    run = kind.run

    def counted(self, *args, **kwargs):
        names.append(self.fn.__name__)
        return run(self, *args, **kwargs)

    assert issubclass(kind, triton.runtime.jit.KernelInterface)
    monkeypatch.setattr(kind, "run", counted)
    return names
