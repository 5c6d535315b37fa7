"""The long checks of faults, in small: what they count is what there is to count, and nothing is lost."""

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_measurements import CAMPAIGN, ENVIRONMENT, MINUTE, propose, result, task

from benchmarks.faults import kills as killing
from benchmarks.faults.crowd import ENDS, crowd
from benchmarks.faults.kills import Report, content, kills
from benchmarks.faults.threads import ThreadPool
from search.records import Status
from search.store.ledger import SqlLedger


def test_nothing_is_lost_doubled_or_blamed_in_a_crowd():
    report = crowd(12, num_workers=2, on_ray=False)
    assert report.num_evaluations == 12
    assert report.is_right, report


def test_a_crowd_tells_who_ended_otherwise_than_it_must(monkeypatch):
    """Whoever dies more slowly than the limit is taken to hang: it neither passed nor was it named rightly."""
    monkeypatch.setitem(ENDS, "crash", Status.TIMED_OUT)
    report = crowd(10, num_workers=2, on_ray=False)
    assert (report.num_guilty_passed, report.num_misnamed, report.num_innocents_failed) == (0, 1, 0)
    assert not report.is_right
    assert "1 of crash ended crashed: " in str(report)


def test_a_killed_driver_leaves_the_ledger_of_an_undisturbed_run():
    report = kills("driver", 1, num_candidates=1, on_ray=False)
    assert (report.num_kills, report.num_campaigns) == (1, 1)
    assert report.is_right, report
    assert report.exits == {-9: 1, 0: 1}


WAITING = """
import signal, subprocess, sys
from benchmarks.faults.__main__ import main
from benchmarks.faults.kills import DrivenCampaign

def start(campaign):
    campaign.driver = subprocess.Popen(["sleep", "60"])
    print(campaign.driver.pid, flush=True)

DrivenCampaign.start = start
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
sys.exit(main(["kills", "--what", "driver", "--threads", "-n", "1"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_leaves_no_driver(number):
    """As by Ctrl-C, which nobody but the interrupted process need hear."""
    root = Path(__file__).resolve().parents[3]
    words = [sys.executable, "-c", WAITING]
    with subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        driver = Path("/proc", process.stdout.readline().strip())
        assert driver.exists()
        process.send_signal(number)
        assert process.wait(60) != 0
    assert not driver.exists()


def test_a_ledger_that_differs_is_seen(tmp_path):
    url = f"sqlite:///{tmp_path}/results.db"
    with closing(SqlLedger(url)) as ledger:
        campaign = ledger.create_campaign(CAMPAIGN)
        candidate = ledger.add_candidate(propose(campaign, 0))
        ledger.claim(task(), "me", MINUTE, candidate.id)
        contents = [content(url)]
        ledger.finish(result(task(), accuracy=0.5), "me", ENVIRONMENT)
        contents.append(content(url))
        ledger.add_candidate(propose(campaign, 1))
        contents.append(content(url))
    assert contents[0] != contents[1] != contents[2]
    assert content(url) == contents[2]


@pytest.mark.parametrize("counted", ["num_different", "num_stuck", "num_left", "num_gave_up"])
def test_each_fault_counts(counted):
    assert Report("driver").is_right
    assert not Report("driver", **{counted: 1}).is_right


class Scripted:
    """A campaign each of whose runs works for a while, and leaves so many evaluations unmeasured."""

    def __init__(self, *unmeasured):
        self.driver, self._unmeasured, self.num_runs = SimpleNamespace(pid=1), unmeasured, 0

    def start(self):
        self.num_runs, self._codes = self.num_runs + 1, iter([None, 0])

    def ended(self):
        return next(self._codes)

    def count(self, query):
        return self._unmeasured[self.num_runs - 1] if query == killing.UNMEASURED else 1

    def left(self):
        return 0


@pytest.mark.parametrize(
    ("unmeasured", "most", "num_runs"), [((0,), 1, 1), ((1, 0), 1, 2), ((1, 1), 1, 2), ((1,), 0, 1)]
)
def test_what_was_killed_too_often_is_left_to_a_resumed_campaign(monkeypatch, unmeasured, most, num_runs):
    monkeypatch.setattr(killing, "LONGEST_LIFE_S", 0.0)
    campaign, report = Scripted(*unmeasured), Report("worker")
    killing._disturb(campaign, report, lambda _: True, random.Random(0), most)
    assert (campaign.num_runs, report.num_kills, report.exits) == (num_runs, most, {0: num_runs})


def test_a_fault_of_ours_in_a_worker_ends_who_collects_instead_of_letting_it_wait(monkeypatch):
    def fails(_):
        raise KeyError("files")

    made = SimpleNamespace(run=fails, close=lambda: None)
    monkeypatch.setattr("benchmarks.faults.threads.Worker", lambda _: made)
    for name in ("model_folder", "model_digest", "environment"):
        monkeypatch.setattr(f"benchmarks.faults.threads.{name}", lambda _: "")
    pool = ThreadPool(SimpleNamespace(engine=SimpleNamespace(model="", dtype="")), 1)
    pool.submit(SimpleNamespace(key="k"))
    with pytest.raises(KeyError, match="files"):
        pool.completed(20.0)
    pool.close()
