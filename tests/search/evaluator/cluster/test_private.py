"""A private Ray of which one part after the other is killed while it works. The driver is a process of its own."""

import subprocess
import sys

import pytest

from tests.search.evaluator.cluster.conftest import ROOT

DRIVER = """
import os, signal, sys, time
from dataclasses import replace
from pathlib import Path
from benchmarks.faults.kills import parts
from search.evaluator.arms import TimeLimits
from search.evaluator.cluster import Placement
from search.evaluator.pool import RayPool
from search.evaluator.sandbox.strays import of_private_ray
from tests.search.evaluator.test_pool import task, worker_settings

settings = replace(worker_settings(Path(sys.argv[1])), limits=TimeLimits(start_s=20, probe_s=20))
pool = RayPool(settings, Placement(2, patience_s=60.0))
for what in ("gcs", "worker", "raylet", "node"):
    for seed in range(3):
        pool.submit(task("slow", seed=seed))
    done, end = [], time.monotonic() + 90.0
    while len(pool.running()) < 2:
        done += pool.completed(0.1)
    targets = parts(what, os.getpid())
    for pid in targets if what == "node" else targets[:1]:
        os.kill(pid, signal.SIGKILL)
    while len(done) < 3 and time.monotonic() < end:
        done += pool.completed(1.0)
    print("told", what, bool(targets), *sorted(f"{each.key.seed}:{each.status}" for each in done), flush=True)
pool.close()
print("told left", len(of_private_ray(os.getpid())))
"""


@pytest.mark.slow
def test_whatever_of_a_private_ray_is_killed_nothing_is_lost_and_nobody_blamed(tmp_path):
    """The worker dies after the head, which nobody has missed so far, and is replaced once Ray is started anew."""
    command = [sys.executable, "-c", DRIVER, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = [line.removeprefix("told ") for line in done.stdout.splitlines() if line.startswith("told ")]
    assert told == [f"{what} True 0:ok 1:ok 2:ok" for what in ("gcs", "worker", "raylet", "node")] + ["left 0"]
