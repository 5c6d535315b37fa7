"""`vortex` with workers on Ray whose engines are fakes: `faked_run.py WORDS...`. Run as a script, to be killed."""

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
    sys.exit(main(sys.argv[1:]))
