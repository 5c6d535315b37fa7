"""The kernel benchmark on a machine that cannot run it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it would run")
def test_without_cuda_it_says_so_in_one_sentence():
    command = [sys.executable, str(ROOT / "benchmarks" / "kernels.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 1
    assert done.stderr.strip() == "benchmarks.kernels needs a CUDA device, and torch sees none here."
