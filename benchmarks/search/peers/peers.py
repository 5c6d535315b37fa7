"""Other people's searches on the same problem, each in a Python environment of its own and driven by our mutations."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.search.peers.endpoint import ADDRESS
from benchmarks.search.peers.server import Desk, served
from benchmarks.search.runs import NUM_BEST, NUM_POINTS, Judged, Run, judge
from search.agents.breed import baked
from search.parents import SEED
from search.records import Candidate, Proposal, Record, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.search.problems import Problem

INSTALL_S, SECONDS_EACH, START_S = 1200.0, 20.0, 300.0  # time limits: of set-up, of an evaluation and of a start
DRIVERS = Path(__file__).parent
NUM_INITIAL = 5  # published rules that a peer may start from, the best by what a search sees
TOLD = 400  # characters at the end of what a peer said


class PeerError(RuntimeError):
    """A peer cannot be installed, failed, or evaluated nothing."""


@dataclass(frozen=True)
class Peer:
    """Another search by its package, pinned."""

    name: str
    package: str


PEERS = {
    each.name: each
    for each in (
        Peer("openevolve", "openevolve==0.4.1"),
        Peer("shinka", "shinka-evolve==0.0.7"),
        Peer("gepa", "gepa==0.1.4"),
    )
}


def python_of(peer: Peer, folder: Path) -> Path:
    """Give the Python that has a peer, after installing it if need be. Raises PeerError."""
    place = folder / peer.package
    python = place / "bin" / "python"
    if python.exists():
        return python
    making = place.with_name(f"{place.name}.part")
    making.parent.mkdir(parents=True, exist_ok=True)
    for command in ([sys.executable, "-m", "venv", "--clear", making], [making / "bin/pip", "install", peer.package]):
        _finished([str(each) for each in command], dict(os.environ), INSTALL_S, f"{peer.package} was not installed")
    making.rename(place)
    return python


def run_peer(
    problem: Problem, peer: Peer, python: Path, published: Sequence[Judged], ratio: float, seed: int, num: int
) -> Run:
    """Let a peer search once: `num` programs beside those that it starts from. Raises PeerError."""
    initial = [_as_text(rule, problem) for rule in published[:NUM_INITIAL]]
    desk = Desk(problem, ratio, seed, num + len(initial))
    for text in initial:
        desk.evaluate(text)
    with tempfile.TemporaryDirectory() as folder, served(desk) as address:
        files = []
        for i, text in enumerate(initial):
            files.append(Path(folder) / f"initial_{i}.py")
            files[-1].write_text(text)
        out = Path(folder) / "out"
        out.mkdir()
        command = [python, DRIVERS / f"drive_{peer.name}.py", seed, num, out, *files]
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": folder, ADDRESS: address}
        _finished([str(each) for each in command], environment, START_S + num * SECONDS_EACH, f"{peer.name} failed")
    return _run_of(problem, peer.name, desk, len(initial), ratio, seed)


def _as_text(rule: Judged, problem: Problem) -> str:
    """Write a rule with its values as defaults, for those who know texts only."""
    candidate = Candidate(0, 0, Proposal(rule.text, rule.origin, SEED, values=rule.values), Status.OK)
    return baked(Record(candidate), problem.terms.shape.head_dim).text()


def _run_of(problem: Problem, name: str, desk: Desk, num_initial: int, ratio: float, seed: int) -> Run:
    evaluated = list(desk.evaluated.items())
    found = [mass for _, mass in evaluated[num_initial:]]
    if not found:
        raise PeerError(f"{name} evaluated nothing at {ratio:g} with seed {seed}")
    best = sorted(evaluated, key=lambda each: -each[1])[:NUM_BEST]
    judged = [judge(problem, text, (), ratio, name) for text, mass in best if mass]
    curve = tuple(max(found[: len(found) * (i + 1) // NUM_POINTS], default=0.0) for i in range(NUM_POINTS))
    measured = sum(mass > 0 for mass in found)
    return Run(name, ratio, seed, len(found), len(found) - measured, tuple(filter(None, judged)), curve)


def _finished(command: list[str], environment: dict[str, str], limit_s: float, otherwise: str) -> None:
    """Run a command to its end, and kill it with all its children after so long. Raises PeerError."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise PeerError(f"{otherwise}: it took longer than {limit_s:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # children that it left behind too
    if process.returncode:
        raise PeerError(f"{otherwise} with exit code {process.returncode}: {' '.join(said[-TOLD:].split())}")
