"""`vortex` with workers on Ray whose engines are fakes: `faked_run.py WORDS...`. Run as a script, to be killed."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import search.evaluator.compiling
from search.campaigns import machines
from search.cli import main

HERE = Path(__file__).resolve().parent
HOST = (sys.executable, str(HERE / "slow_host.py"), str(HERE.parent / "evaluator" / "fake_host.py"))
settings_of = machines.worker_settings


def worker_settings(*given):
    return replace(settings_of(*given), host_command=HOST)


machines.worker_settings = worker_settings
search.evaluator.compiling.compile_ahead = lambda _: None

if __name__ == "__main__":
    if "FAKED_CACHE" not in os.environ:
        sys.exit(
            "FAKED_CACHE has to name a folder: what fakes record is no recording, and must not lie among real ones"
        )
    os.environ["XDG_CACHE_HOME"] = os.environ["FAKED_CACHE"]
    sys.exit(main(sys.argv[1:]))
