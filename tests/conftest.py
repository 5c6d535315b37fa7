"""Settings that must stand before anything is imported."""

import os
from pathlib import Path

# Triton reads this when it is first imported. Without an NVIDIA driver its kernels run in the interpreter.
if not Path("/proc/driver/nvidia/version").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
