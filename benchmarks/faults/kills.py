"""`kill -9` at random moments, and a ledger that must be that of an undisturbed run with the same seed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.store.server import server
from search.evaluator.sandbox.strays import of_private_ray
from search.store.errors import StoreError
from search.store.ledger import SqlLedger

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.store.server import Server

ROOT = Path(__file__).resolve().parents[2]
STUCK_S = 90.0  # without anything new in the ledger
LONGEST_LIFE_S = 2.0  # of a target, from when the campaign measures again
DOWN_S = 1.0  # of a killed server
POLL_S = 0.05
GONE_S = 5.0  # for what a driver leaves to notice that it is alone
PROGRAMS = {"raylet": "raylet", "gcs": "gcs_server"}
# What is decided and measured, without times, owners and numbers of rows.
CANDIDATES = """
    SELECT step, status, program_digest, proposer, operator, source_digest FROM candidate ORDER BY step
"""
EVALUATIONS = """
    SELECT program_digest, stage, workload_digest, seed, repeat, status, correct, answers, message,
           (SELECT count(*) FROM candidate_evaluation WHERE evaluation_id = evaluation.id)
    FROM evaluation ORDER BY 1, 2, 3, 4, 5
"""
MEASUREMENTS = """
    SELECT program_digest, stage, workload_digest, seed, repeat, position, name, value, low, high, num_samples
    FROM measurement JOIN evaluation ON evaluation.id = evaluation_id ORDER BY 1, 2, 3, 4, 5, 6
"""
LEASED = "SELECT count(*) FROM evaluation WHERE owner IS NOT NULL"
FINISHED = "SELECT count(*) FROM evaluation WHERE status IS NOT NULL"
UNMEASURED = "SELECT count(*) FROM evaluation WHERE status IN ('infrastructure', 'interrupted')"
BEGUN = "SELECT count(*) FROM evaluation WHERE begun AND status IS NULL"


@dataclass
class Report:
    """What came of killing one thing so often."""

    what: str
    num_kills: int = 0
    num_campaigns: int = 0
    num_different: int = 0
    num_stuck: int = 0
    num_left: int = 0
    num_gave_up: int = 0  # drivers that ended before their campaign though nobody killed them
    exits: Counter[int] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether nothing differed, hung, gave up or was left."""
        return not (self.num_different or self.num_stuck or self.num_left or self.num_gave_up)

    def __str__(self) -> str:
        exits = ", ".join(f"{code} {number} times" for code, number in sorted(self.exits.items()))
        told = (
            f"{self.what}: {self.num_kills} kills in {self.num_campaigns} campaigns; ledgers that differ: "
            f"{self.num_different}; stuck: {self.num_stuck}; gave up: {self.num_gave_up}; processes left: "
            f"{self.num_left}; drivers ended with {exits}"
        )
        return "\n".join([told, *self.differences[:5]])


def content(url: str) -> dict[str, list[Any]]:
    """Give what a ledger says, and what nobody may be at any more."""
    with closing(SqlLedger(url, read_only=True)) as ledger, ledger.reading() as session:
        queries = {"candidates": CANDIDATES, "evaluations": EVALUATIONS, "measurements": MEASUREMENTS, "leased": LEASED}
        return {name: [tuple(row) for row in session.execute(text(query))] for name, query in queries.items()}


class DrivenCampaign:
    """One campaign in a database of its own, whose driver is started as often as need be."""

    def __init__(self, url: str, folder: Path, num_candidates: int, *, on_ray: bool) -> None:
        self.url, self._folder = url, folder
        self._words = [url, str(folder / "scratch"), str(num_candidates), "ray" if on_ray else "threads"]
        self.driver: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start a driver, or go on with one."""
        command = [sys.executable, "-m", "benchmarks.faults.driver", *self._words]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with (self._folder / "said").open("ab") as said:
            self.driver = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)

    def count(self, query: str) -> int:
        """Count rows; none where there is no database yet, or none that answers."""
        try:
            with closing(SqlLedger(self.url, read_only=True, patience_s=0.0)) as ledger, ledger.reading() as session:
                return int(session.execute(text(query)).scalar_one())
        except (StoreError, SQLAlchemyError):  # not there yet, killed or locked: that will have passed the next time
            return 0

    def ended(self) -> int | None:
        """Give the exit code of a driver that has ended."""
        return self.driver.poll() if self.driver else None

    def left(self) -> int:
        """Count the processes of Ray and of engines that are there though their driver has ended."""
        assert self.driver is not None
        until = time.monotonic() + GONE_S
        while (found := self._left(self.driver.pid)) and time.monotonic() < until:
            time.sleep(POLL_S)
        return len(found)

    def _left(self, driver: int) -> set[int]:
        ours = f"HOME={self._folder}/".encode()  # an engine's home is in the scratch folder
        engines = {int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit() and ours in _told(each)}
        return engines | set(of_private_ray(driver))

    def end(self) -> None:
        """Kill a driver that still runs, and wait for what it leaves."""
        if self.driver is not None and self.driver.poll() is None:
            self.driver.kill()
            self.driver.wait()
            self.left()

    def said(self) -> str:
        """Give the end of what drivers said."""
        return (self._folder / "said").read_text(errors="replace")[-2000:]


def undisturbed(campaign: DrivenCampaign) -> dict[str, list[Any]]:
    """Run a campaign to its end, and give its ledger."""
    campaign.start()
    assert campaign.driver is not None
    if (code := campaign.driver.wait()) != 0:
        raise RuntimeError(f"the undisturbed run ended with {code}: {campaign.said()}")
    return content(campaign.url)


def kills(what: str, num: int, num_candidates: int, seed: int = 0, *, on_ray: bool = True) -> Report:
    """Kill one kind of process so often, in as many campaigns as that takes."""
    luck, report = random.Random(f"{seed} {what}"), Report(what)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        own = stack.enter_context(server("fsync=off", "max_connections=40")) if what == "postgresql" else None

        def made(number: int) -> DrivenCampaign:
            home = folder / str(number)
            home.mkdir()
            campaign = DrivenCampaign(_url(folder, number, own), home, num_candidates, on_ray=on_ray)
            stack.callback(campaign.end)  # whoever is interrupted leaves no driver
            return campaign

        expected = undisturbed(made(0))
        while report.num_kills < num:
            campaign = made(report.num_campaigns + 1)
            _disturb(campaign, report, _killer(what, own, luck), luck, num)
            report.num_campaigns += 1
            found = content(campaign.url)
            different = [name for name in expected if found[name] != expected[name]]
            report.num_different += bool(different)
            report.differences += [_difference(name, expected[name], found[name]) for name in different]
    return report


def _disturb(
    campaign: DrivenCampaign, report: Report, kill: Callable[[int], bool], luck: random.Random, most: int
) -> None:
    """Run a campaign to its end, killing now and then. A resumed one measures what workers were killed at too often."""
    num_before = report.num_kills
    campaign.start()
    while True:
        assert campaign.driver is not None
        pid = campaign.driver.pid
        code = _wait_for_work(campaign)
        if code is None:
            time.sleep(luck.uniform(0.0, LONGEST_LIFE_S))
            if report.num_kills < most and kill(pid):
                report.num_kills += 1
            code = _wait_for_more(campaign, report)
        if code is None:
            continue
        report.exits[code] += 1
        report.num_gave_up += code not in (0, -signal.SIGKILL)
        report.num_left += campaign.left()
        if code == 0 and not (report.num_kills > num_before and campaign.count(UNMEASURED)):
            return
        num_before = report.num_kills
        campaign.start()


def _wait_for_work(campaign: DrivenCampaign) -> int | None:
    """Wait until something is in a worker's hands; give the exit code where the driver ends first."""
    until = time.monotonic() + STUCK_S
    while (code := campaign.ended()) is None and not campaign.count(BEGUN) and time.monotonic() < until:
        time.sleep(POLL_S)
    return code


def _wait_for_more(campaign: DrivenCampaign, report: Report) -> int | None:
    """Wait until something more is finished, or the driver has ended; one that does neither is stuck, and killed."""
    before, until = campaign.count(FINISHED), time.monotonic() + STUCK_S
    while (code := campaign.ended()) is None and campaign.count(FINISHED) <= before:
        if time.monotonic() > until:
            assert campaign.driver is not None
            report.num_stuck += 1
            campaign.driver.kill()
            return campaign.driver.wait()
        time.sleep(POLL_S)
    return code


def _killer(what: str, own: Server | None, luck: random.Random) -> Callable[[int], bool]:
    """Give what kills a target of the driver with this process id, and says whether it found any."""

    def kill(driver: int) -> bool:
        if own is not None:
            own.kill()
            time.sleep(DOWN_S)
            own.start()
            return True
        found = [driver] if what == "driver" else parts(what, driver)
        targets = found if what == "node" else _one_of(found, luck)
        if found and what in PROGRAMS:  # workers that live do without it; one that dies cannot be replaced without
            targets += _one_of(parts("worker", driver), luck)
        for pid in targets:
            with suppress(ProcessLookupError):  # gone with another
                os.kill(pid, signal.SIGKILL)
        return bool(found)

    return kill


def _one_of(pids: list[int], luck: random.Random) -> list[int]:
    return luck.sample(pids, min(1, len(pids)))


def parts(what: str, driver: int) -> list[int]:
    """Give the process ids of a driver's private Ray: its workers, its raylet, its head ("gcs") or all ("node")."""
    return [pid for pid in of_private_ray(driver) if _is_a(what, pid)]


def _is_a(what: str, pid: int) -> bool:
    try:
        program, *_ = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    if what == "worker":
        return program.startswith(b"ray::Worker")
    return what == "node" or Path(program.decode(errors="replace")).name == PROGRAMS[what]


def _told(process: Path) -> bytes:
    """Give a process's environment, nothing where it has ended."""
    with suppress(OSError):
        return (process / "environ").read_bytes()
    return b""


def _url(folder: Path, number: int, own: Server | None) -> str:
    if own is None:
        return f"sqlite:///{folder}/{number}.db"
    import psycopg

    with psycopg.connect(own.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA campaign_{number}")
    return f"{own.url}&options=-csearch_path%3Dcampaign_{number}"


def _difference(name: str, expected: list[Any], found: list[Any]) -> str:
    missing, new = [row for row in expected if row not in found], [row for row in found if row not in expected]
    return f"  {name}: {len(missing)} rows missing, as {missing[:1]}; {len(new)} others, as {new[:1]}"
