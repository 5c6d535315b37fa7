"""`vortex run`, `resume` and `eval` on a fake pool, and how they end."""

import io
import json
import os
import re
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from search.cli import main
from search.commands.exits import ExitCode
from search.config import CampaignConfig
from search.records import (
    Stage,
    Status,
)
from search.store.ledger import SqlLedger
from vortex_dsl import zoo

QUEST = Path(zoo.__file__).with_name("quest.py")


def test_run_ends_with_the_leaderboard(call, pool, db, fake_pool):
    pool(fake_pool())
    code, out, err = call("run", "-n", "3", "--seed", "1", "--db", db, "--json")
    rows = json.loads(out)
    assert code == ExitCode.DONE
    assert {"OracleMass", "Quest"} <= {row["name"] for row in rows}
    assert len({row["id"] for row in rows if not row["origin"].startswith("zoo/")}) == 3
    assert all(row["accuracy"] == 0.75 for row in rows if row["status"] == "ok")
    assert any(row["confirmed"] for row in rows)
    assert "no model was named, so this is the probe" in err
    assert f"[{len({row['id'] for row in rows})}/" in err  # progress, one line for each, where stderr is no terminal


def test_run_takes_a_file_and_options_stand_above_it(call, pool, db, tmp_path, fake_pool):
    (tmp_path / "mine.py").write_text(
        QUEST.read_text().replace("class Quest", "class Mine").replace("Int(64", "Int(63")
    )
    file = tmp_path / "campaign.toml"
    file.write_text(
        'seed = 9\ncandidates = 3\nlag = 2\nmodel = "probe"\nproposers = ["random"]\nseed_programs = ["mine.py"]\n'
    )
    pool(fake_pool())
    code, out, err = call("run", str(file), "-n", "1", "--ratio", "4", "--db", db, "--json")
    ledger = SqlLedger(db)
    config = CampaignConfig.from_json(ledger.campaign().settings)
    ledger.close()
    assert code == ExitCode.DONE
    assert (config.seed, config.num_candidates, config.lag, config.ratios) == (9, 1, 2, (4.0,))
    assert "no model was named" not in err
    assert [row["name"] for row in json.loads(out) if row["origin"] == "given/seed"] == ["Mine"]


def test_run_draws_a_table_and_says_what_next(call, pool, db, fake_pool):
    pool(fake_pool())
    code, out, err = call("run", "-n", "0", "--db", db)
    assert code == ExitCode.DONE
    assert "Quest" in out
    assert "vortex export" in err


def test_run_without_a_feasible_candidate(call, pool, db, fake_pool):
    pool(fake_pool(Status.CRASHED))
    code, _, err = call("run", "-n", "1", "--db", db)
    assert code == ExitCode.NO_FEASIBLE
    assert "it fell over" in err


def test_ctrl_c_drains_says_so_and_resume_goes_on(capfd, pool, db, fake_pool):
    presses = iter([False] * 10 + [True])
    pool(fake_pool(on_submit=lambda: next(presses, False) and os.kill(os.getpid(), signal.SIGINT)))
    handler = signal.getsignal(signal.SIGINT)
    code = main(["run", "-n", "2", "--db", db, "--json"])
    out, err = capfd.readouterr()
    assert code == ExitCode.INTERRUPTED
    assert "finishing what runs; press again to stop now" in err
    assert "vortex resume 1" in err
    assert signal.getsignal(signal.SIGINT) is handler
    before = {row["digest"] for row in json.loads(out)}
    again = pool(fake_pool())
    assert main(["resume", "--db", db, "--json"]) == ExitCode.DONE
    rows = json.loads(capfd.readouterr()[0])
    assert before < {row["digest"] for row in rows}
    assert again.tasks == []


def test_ctrl_c_twice_stops_at_once(capfd, pool, db, fake_pool):
    class Stuck(fake_pool):
        """Runs for ever once it has a probe to run; somebody presses twice."""

        def completed(self, timeout_s):
            if any(task.key.stage is Stage.PROBE for task in self.tasks):
                os.kill(os.getpid(), signal.SIGINT)
                return []
            return super().completed(timeout_s)

    pool(Stuck())
    assert main(["run", "-n", "2", "--db", db]) == ExitCode.INTERRUPTED
    out, err = capfd.readouterr()
    assert err.index("press again to stop now") < err.index("stopping now") < err.index("vortex resume 1")
    assert re.search(r"campaign 1: \d+ programs, nobody on a front yet", out)
    assert "nobody is on the front, as no rule has passed a stage yet that ranks it" in " ".join(out.split())


@pytest.fixture
def told(fake_pool):
    """Give a pool whose process is sent a signal."""

    class Told(fake_pool):
        """Runs for ever once it has a probe to run, and is told to end."""

        def __init__(self, number):
            super().__init__()
            self._number = number

        def running(self):
            return [task.key for task in self.tasks if task.key.stage is Stage.PROBE]

        def completed(self, timeout_s):
            if self.running():
                os.kill(os.getpid(), self._number)
                return []
            return super().completed(timeout_s)

    return Told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_campaign_at_once_and_nobody_is_blamed(capfd, pool, db, number, told):
    pool(told(number))
    handler = signal.getsignal(number)
    assert main(["run", "-n", "2", "--db", db]) == 128 + number
    assert signal.getsignal(number) is handler
    out, err = capfd.readouterr()
    assert f"ending now ({number.name}); `vortex resume` goes on from here" in err
    assert out == ""
    with closing(sqlite3.connect(db.removeprefix("sqlite:///"))) as connection:
        probes = connection.execute("SELECT owner, begun, num_deaths FROM evaluation WHERE stage = 'probe'").fetchall()
    assert set(probes) == {(None, 0, 0)}


def test_what_nohup_ignores_stays_ignored(call, pool, db, monkeypatch, fake_pool):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        pool(fake_pool(on_submit=lambda: os.kill(os.getpid(), signal.SIGHUP)))
        assert call("run", "-n", "1", "--db", db)[0] == ExitCode.DONE
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_live_view_shows_counts_failures_and_the_best(monkeypatch, pool, db, fake_pool):
    screen = io.StringIO()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    terminal = Console(file=screen, force_terminal=True, width=200)
    monkeypatch.setattr("search.commands.watching.progress.console", lambda **_: terminal)
    pool(fake_pool())
    assert main(["run", "-n", "1", "--db", db]) == ExitCode.DONE
    drawn = screen.getvalue()
    for expected in ("admitted", "at 8x loses 0.250 at 1.25x", "confirming"):
        assert expected in drawn


def test_resume_without_a_campaign_is_refused(call, db):
    SqlLedger(db).close()
    code, _, err = call("resume", "--db", db)
    assert code == ExitCode.USAGE
    assert "vortex run" in err


def test_eval_takes_one_program_through_every_stage(call, pool, db, fake_pool):
    pool(fake_pool())
    code, out, _ = call("eval", str(QUEST), "--set", "pages=4", "--db", db, "--json")
    told = json.loads(out)
    assert code == ExitCode.DONE
    stages = [evaluation["key"]["stage"] for evaluation in told["evaluations"]]
    assert list(dict.fromkeys(stages)) == list(CampaignConfig().stages)
    assert told["candidate"]["proposal"]["values"] == [["pages", 4]]


def test_eval_judges_at_the_cost_ratios_that_are_given(call, pool, db, fake_pool):
    pool(fake_pool())
    code, out, _ = call("eval", str(QUEST), "--set", "dense_layers=0", "--ratio", "4", "--ratio", "2.5",
                        "--db", db, "--json")  # fmt: skip
    told = json.loads(out)
    assert code == ExitCode.DONE
    found = {(evaluation["key"]["stage"], evaluation["ratio"]) for evaluation in told["evaluations"]}
    assert {ratio for stage, ratio in found if stage == "serve"} == {2.5, 4.0}
    assert {ratio for stage, ratio in found if stage == "oracle"} == {0.0}
