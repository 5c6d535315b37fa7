"""Several runs of pytest beside each other share the tests among them: whoever is free takes the next file.

`python -m pytest -p tests.sharing --taken FOLDER …`, with the same arguments in every run and an empty folder, in which
each file that is taken leaves its name. A file is never split: what its tests share is made once. A run that is told
`--yielding PATH`, once or more often, takes nothing but files whose path begins so and that only compute, in the order
of the paths. So it may be one that waits whenever others would: nothing in these minds how long it takes.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

NUM_SLOWEST = 25
WAITING = ("vllm", "postgres")  # marks of tests that start somebody else and wait for them
ON_CUDA = Path("/proc/driver/nvidia/version").exists()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--taken", type=Path, required=True, help="where runs that share the tests note what they took")
    parser.addoption("--yielding", action="append", default=[], help="take only what computes, below this path")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Share(config.getoption("taken")), "share")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files alone that a run which yields would not take: what they import takes seconds."""
    below, name = config.getoption("yielding"), os.path.relpath(collection_path, config.rootpath)
    is_free = not below or collection_path.is_dir() or any(name.startswith(path) for path in below)
    return None if is_free else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes long first, or one run would be left with it when the others have ended."""
    weights: Counter[str] = Counter()
    for item in items:
        weights[group(item)] += _weight(item)
    items.sort(key=lambda item: -weights[group(item)])
    if below := config.getoption("yielding"):
        minded = {group(item) for item in items if weights[group(item)] or any(map(item.get_closest_marker, WAITING))}
        free = [item for item in items if group(item) not in minded]
        items[:] = dict.fromkeys(item for path in below for item in free if item.nodeid.startswith(path))


def group(item: pytest.Item) -> str:
    """Name what is taken as a whole: a file; on CUDA all tests with engines, which would share one card's memory."""
    return "engines" if ON_CUDA and item.get_closest_marker("vllm") else item.nodeid.split("::")[0]


def _weight(item: pytest.Item) -> float:
    """Guess how long a test takes, in seconds."""
    patience = item.get_closest_marker("timeout")
    slow = 10.0 if item.get_closest_marker("slow") else 0.0
    return patience.args[0] / 10 if patience else slow


class Share:
    """Runs the tests of the groups that this run was first to take."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mine: dict[str, bool] = {}
        self._took: Counter[str] = Counter()  # by file, in seconds
        self._computed: Counter[str] = Counter()  # by file, in seconds of cores
        self._until = 0.0

    def pytest_collection_finish(self) -> None:
        self._until = computed()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        name = group(item)
        if name not in self._mine:
            self._mine[name] = self._take(name)
            if self._mine[name]:  # pytest made ready for the next test that was collected; another run may have it
                item.session._setupstate.teardown_exact(item)
        return None if self._mine[name] else True

    def _take(self, name: str) -> bool:
        try:
            (self._folder / name.replace("/", "-")).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name, now = report.nodeid.split("::")[0], computed()
        self._took[name] += report.duration
        self._computed[name] += now - self._until
        self._until = now

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell which files took longest: all tests together are to stay below 25 minutes."""
        for name, seconds in self._took.most_common(NUM_SLOWEST):
            terminalreporter.write_line(f"{seconds:6.1f} s, {self._computed[name]:6.1f} of a core, {name}")


def computed() -> float:
    """Give the seconds that this process has computed, and those that it started and that have ended."""
    return sum(os.times()[:4])
