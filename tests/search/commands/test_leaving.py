"""A campaign on a real Ray is told to end: what it leaves, and whether anything tells its key."""

import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from werkzeug import Response

from search.agents.llm.endpoint import NUM_AT_ONCE
from search.commands.exits import ExitCode
from search.evaluator.sandbox.strays import of_private_ray
from search.evaluator.supervisor import descendants
from search.store.ledger import SqlLedger

SCRIPT = Path(__file__).with_name("faked_run.py")
KEY = "planted0key0that0looks0like0none"
SOON_S, LATE_S = 5.0, 240.0


def echoing():
    """Give what answers with all that came, as a model the first times, then by turns as a server that refuses."""
    refuses = itertools.chain(itertools.repeat(False, NUM_AT_ONCE), itertools.cycle([True, False]))

    def echo(request):
        told = f"{dict(request.headers)} {request.get_data(as_text=True)[:2000]}"
        if next(refuses):
            return Response(told, status=400, headers={"X-Heard": request.headers.get("Authorization", "")})
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": told}}
        return Response(json.dumps({"id": "1", "object": "chat.completion", "model": "m", "choices": [choice]}))

    return echo


def wait_for(condition, what):
    end = time.monotonic() + LATE_S
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {LATE_S} s in vain for {what}")


def asked(db, query):
    """Give the rows of a query, none while there is no such database yet."""
    try:
        with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


@pytest.fixture
def folder():
    """A folder whose name is short enough for Ray's sockets."""
    made = Path(tempfile.mkdtemp(prefix="v", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def running(folder, httpserver):
    """Start a campaign of an agent whose endpoint is nasty, and of others; give it once a worker is at a program."""
    httpserver.expect_request("/v1/chat/completions").respond_with_handler(echoing())
    db = folder / "results.db"
    words = ["run", "--debug", "--model", "probe", "--workers", "2", "--candidates", "200", "--db", db]
    words += ["--proposer", "grammar", "--proposer", "llm", "--llm", "m", "--base-url", httpserver.url_for("/v1")]
    given = os.environ | {"OPENAI_API_KEY": KEY, "FAKED_CACHE": str(folder / "cache"), "RAY_TMPDIR": str(folder)}
    given |= {"PYTHONFAULTHANDLER": "1"}
    with (folder / "said").open("wb") as said:
        driver = subprocess.Popen([sys.executable, SCRIPT, *map(str, words)], stdout=said, stderr=said, env=given)
    try:
        begun = "SELECT 1 FROM evaluation WHERE begun AND stage = 'probe' AND status IS NULL"
        told = "SELECT 1 FROM candidate WHERE proposer = 'llm'"
        wait_for(
            lambda: (asked(db, begun) and asked(db, told)) or driver.poll() is not None,
            "a program in a worker's hands, and the agent's first",
        )
        assert driver.poll() is None, f"ended with {driver.poll()}\n{(folder / 'said').read_text()}"
        yield driver, db
    finally:
        driver.kill()
        driver.wait()


def test_sigterm_leaves_nothing_behind_and_nothing_tells_the_key(running, folder):
    driver, db = running
    ray = of_private_ray(driver.pid)
    below = {*ray, *descendants(driver.pid)}
    engines = [pid for pid in below if b"fake_host" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert engines
    hung = [pid for pid in ray if b"agent" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert hung
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
    assert all(KEY.encode() not in Path(f"/proc/{pid}/environ").read_bytes() for pid in {driver.pid, *below})
    began = time.monotonic()
    driver.terminate()
    assert driver.wait(2 * SOON_S) == ExitCode.TERMINATED
    assert time.monotonic() - began < SOON_S
    while (left := list(filter(_is_alive, below))) and time.monotonic() - began < SOON_S:
        time.sleep(0.05)  # supervisors of engines notice that their workers are gone
    assert not {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left}
    held = "SELECT count(*) FROM evaluation WHERE owner IS NOT NULL OR (begun AND status IS NULL) OR num_deaths"
    assert asked(db, held) == [(0,)]
    said = (folder / "said").read_text()
    assert "ending now (SIGTERM)" in said
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert any("session_" in str(file) and file.suffix == ".log" for file in files)
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    with closing(SqlLedger(str(db), read_only=True)) as ledger:  # conversations are compressed
        told = [ledger.candidate(number) for (number,) in asked(db, "SELECT id FROM candidate WHERE proposer = 'llm'")]
    assert any(record.candidate.proposal.conversation for record in told)
    assert KEY not in str(told)


STUCK = """
import subprocess, time
from search.commands.watching.ending import endable
with endable():
    said = [str(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid)]
    while True:
        try:
            while said:  # here, where the signal may find it
                print(said.pop(), flush=True)
            time.sleep(1000)
        except BaseException as error:
            print(type(error).__name__, flush=True)
"""


def test_who_hangs_on_the_way_out_is_gone_all_the_same():
    pipes = {"stdout": subprocess.PIPE, "text": True, "cwd": SCRIPT.parents[3]}
    with subprocess.Popen([sys.executable, "-c", STUCK], **pipes) as process:
        started = int(process.stdout.readline())
        began = time.monotonic()
        for _ in range(3):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        assert process.wait(2 * SOON_S) == ExitCode.HUNG_UP
        assert time.monotonic() - began < SOON_S
        assert process.stdout.read().split() == ["ToldError"]
    assert not _is_alive(started)


HANGS = """
import subprocess, time
from search.commands.watching.ending import endable
class Loop:
    def drain(self): pass
    def stop(self): pass
    def let_go(self): time.sleep(1000)
with endable() as ending, ending.interrupting(Loop()):
    print(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid, flush=True)
    while True:
        time.sleep(1000)
"""


@pytest.mark.parametrize(
    ("numbers", "code"),
    [([signal.SIGTERM], ExitCode.TERMINATED), ([signal.SIGINT, signal.SIGINT], ExitCode.INTERRUPTED)],
)
def test_a_database_that_hangs_keeps_nobody(numbers, code):
    pipes = {"stdout": subprocess.PIPE, "text": True, "cwd": SCRIPT.parents[3]}
    with subprocess.Popen([sys.executable, "-c", HANGS], **pipes) as process:
        started = int(process.stdout.readline())
        began = time.monotonic()
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.2)
        assert process.wait(4 * SOON_S) == code
        assert time.monotonic() - began < SOON_S * len(numbers)
    assert not _is_alive(started)


SLOW_TO_GO = """
import atexit, sys, time
from search import cli
from search.commands.watching.ending import endable
atexit.register(time.sleep, 30)
@cli.app.command("wait")
def wait():
    with endable():
        print("at it", flush=True)
        time.sleep(1000)
sys.exit(cli.main())
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGHUP, ExitCode.HUNG_UP)])
def test_who_has_ended_everything_does_not_wait_for_python_to_take_itself_apart(number, code):
    pipes = {"stdout": subprocess.PIPE, "text": True, "cwd": SCRIPT.parents[3]}
    with subprocess.Popen([sys.executable, "-c", SLOW_TO_GO, "wait"], **pipes) as process:
        assert process.stdout.readline() == "at it\n"
        process.send_signal(number)
        assert process.wait(2 * SOON_S) == code


TALKS = """
import sys
from search import cli
from search.commands.output import note, print_line
@cli.app.command("talk")
def talk():
    for number in range(3):
        note(f"at {number}")
        sys.stderr.write("half a line")
        sys.stderr.flush()
    print_line("done")
sys.exit(cli.main())
"""


def test_who_looks_on_may_go_and_a_log_may_fill_its_disk():
    """A campaign of days wrote its progress into a pipe whose reader was gone, and ended as if it were done."""
    command = [sys.executable, "-c", TALKS, "talk"]
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("wb") as full, os.fdopen(writer, "wb") as broken:
        for stderr in (full, broken):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, cwd=SCRIPT.parents[3], check=False)
            assert (done.returncode, done.stdout) == (ExitCode.DONE, b"done\n")
    heard = subprocess.run(command, capture_output=True, text=True, cwd=SCRIPT.parents[3], check=True)
    assert heard.stderr.count("half a line") == 3


def _is_alive(pid):
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # of one that is dead or dying nothing is left there
    except OSError:
        return False
