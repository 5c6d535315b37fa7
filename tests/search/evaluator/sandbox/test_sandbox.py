"""A child can neither outlive us, nor hang us, nor see our secrets; with bubblewrap and without."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import search.evaluator.sandbox.box as boxes
from search.evaluator import sandbox
from search.evaluator.sandbox import Box, Child, ChildDeathError, ChildMemoryError, ChildRefusalError, ChildTimeoutError
from search.evaluator.supervisor import descendants
from search.records import Status

ECHO = """
import json, os, socket, subprocess, sys, time
def reply(value):
    print(json.dumps({"result": value}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    exec(request["args"]["code"])
"""


@pytest.fixture(params=["bwrap", "plain"])
def box(request, tmp_path, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr(boxes, "bubblewrap", lambda: None)
    elif sandbox.bubblewrap() is None:
        pytest.skip("bubblewrap is not installed or does not work here")
    return Box(scratch=tmp_path)


@pytest.fixture
def start(box):
    children = []

    def start(**changes):
        box_ = Box(**{**vars(box), **changes})
        children.append(Child((sys.executable, "-c", ECHO), box_))
        return children[-1]

    yield start
    for child in children:
        child.close()


def run(child, code, timeout_s=10.0):
    return child.call("run", {"code": textwrap.dedent(code)}, timeout_s)


def is_alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until_gone(pids, patience_s=5.0):
    end = time.monotonic() + patience_s
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < end:
        time.sleep(0.01)
    return not left


def test_calls_are_answered_in_turn_and_the_child_stays(start):
    child = start()
    assert [run(child, f"reply({i})") for i in range(3)] == [0, 1, 2]
    assert child.alive


def test_a_large_request_and_a_large_answer_do_not_block(start):
    text = "x" * 3_000_000
    answer = run(start(), f"sys.stderr.write('y' * 3_000_000); reply(len({text!r}) * 'z')")
    assert len(answer) == len(text)


def test_a_hang_is_timed_out_and_the_whole_group_is_gone(start):
    child = start()
    run(child, "subprocess.Popen(['sleep', '1000']); reply(0)")
    run(child, "subprocess.Popen(['sleep', '1000'], start_new_session=True); reply(0)")
    group = [child.pid, *descendants(child.pid)]
    assert len(group) >= 4
    before = time.monotonic()
    with pytest.raises(ChildTimeoutError, match=r"'run' gave no answer within 0\.3 s.*(?s:.*)last words") as caught:
        run(child, "sys.stderr.write('last words'); sys.stderr.flush(); time.sleep(1000)", timeout_s=0.3)
    assert time.monotonic() - before < 3
    assert caught.value.status is Status.TIMED_OUT
    assert not child.alive
    assert wait_until_gone(group)


def test_time_stands_still_while_we_are_suspended(tmp_path):
    """Whoever asks is stopped for longer than an answer may take, and the child with it."""
    command = [sys.executable, "-c", PARENT, "plain", str(tmp_path), ECHO, "time.sleep(1.0); reply(0)", "1.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        supervisor = int(parent.stdout.readline())
        below = [supervisor, *descendants(supervisor)]
        time.sleep(0.3)
        for kind in (signal.SIGSTOP, signal.SIGCONT):
            for pid in (parent.pid, *below):
                os.kill(pid, kind)
            time.sleep(3.5 if kind is signal.SIGSTOP else 0.0)
        assert parent.stdout.readline() == b"answered\n"
        parent.kill()


def test_a_child_that_ignores_signals_is_killed_too(start):
    child = start()
    run(child, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); reply(0)")
    group = [child.pid, *descendants(child.pid)]
    child.close()
    assert wait_until_gone(group)


def test_a_crash_tells_the_signal_or_code_and_the_end_of_stderr(start):
    with pytest.raises(ChildDeathError, match=r"(?s)exit code 3.*the reason") as caught:
        run(start(), "sys.stderr.write('x' * 100_000 + 'the reason'); sys.stderr.flush(); os._exit(3)")
    assert caught.value.status is Status.CRASHED
    assert len(str(caught.value)) < 20_000
    with pytest.raises(ChildDeathError, match="SIGSEGV"):
        run(start(), "os.kill(os.getpid(), 11); time.sleep(1000)")


def test_a_kill_from_outside_is_no_want_of_memory(start):
    child = start()
    run(child, "reply(0)")
    os.kill(max(descendants(child.pid)), signal.SIGKILL)
    with pytest.raises(ChildDeathError, match="SIGKILL") as caught:
        run(child, "reply(0)")
    assert caught.value.status is Status.CRASHED


def test_a_memory_hog_ends_as_out_of_memory(start):
    child = start(memory_bytes=256 << 20)
    assert run(child, "reply(len(bytearray(1 << 20)))") == 1 << 20
    with pytest.raises(ChildMemoryError, match="out of memory") as caught:
        run(child, "bytearray(1 << 30)")
    assert caught.value.status is Status.OUT_OF_MEMORY


def test_a_refusal_keeps_the_child(start):
    child = start()
    with pytest.raises(ChildRefusalError, match="no such field") as caught:
        run(child, "print(json.dumps({'status': 'unsupported', 'message': 'no such field'}), flush=True)")
    assert caught.value.status is Status.UNSUPPORTED
    assert run(child, "reply(1)") == 1


def test_an_exception_that_the_child_caught_comes_with_its_traceback(start):
    code = """
        sys.stderr.write("Traceback: line 7")
        sys.stderr.flush()
        print(json.dumps({"status": "crashed", "message": "IndexError: 576"}), flush=True)
    """
    with pytest.raises(ChildRefusalError, match=r"(?s)IndexError: 576.*line 7"):
        run(start(), code)


@pytest.mark.parametrize("words", ["hello", "[]", '{"status": "splendid"}', '{"result": 1}\\n{"result": 2}'])
def test_anything_but_a_reply_ends_the_child(start, words):
    child = start()
    with pytest.raises(ChildDeathError, match="no reply"):
        run(child, f"sys.stdout.write('{words}\\n'); sys.stdout.flush()")
    assert not child.alive


def test_a_command_that_cannot_start_says_so(box):
    child = Child(("/no/such/program",), box)
    with pytest.raises(ChildDeathError, match="no/such/program"):
        child.call("start", {}, 5.0)


def test_secrets_do_not_reach_the_child(start, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    seen = run(start(environment=(("VLLM_PLUGINS", "vortex"),)), "reply(dict(os.environ))")
    assert "hunter2" not in json.dumps(seen)
    assert seen["VLLM_PLUGINS"] == "vortex"
    assert seen["OMP_NUM_THREADS"] == "1"
    assert set(seen) <= {
        *sandbox.INHERITED,
        "HOME",
        "OMP_NUM_THREADS",
        "PYTHONSAFEPATH",
        "VLLM_PLUGINS",
        "PWD",
        "LC_CTYPE",
    }


def test_the_network_and_our_files_are_out_of_reach_under_bubblewrap(tmp_path):
    if sandbox.bubblewrap() is None:
        pytest.skip("bubblewrap is not installed or does not work here")
    scratch, secret = tmp_path / "scratch", tmp_path / "secret"
    scratch.mkdir()
    secret.write_text("secret")
    child = Child((sys.executable, "-c", ECHO), Box(scratch))
    try:
        interfaces = run(child, "reply([name for _, name in socket.if_nameindex()])")
        assert interfaces == ["lo"]
        loopback = "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); reply(True)"
        assert run(child, loopback)
        assert not run(child, f"reply(os.path.exists({str(secret)!r}))")
        assert not run(child, "reply(os.path.exists('/etc/shadow'))")
        run(child, "open('mine', 'w').write('x'); reply(0)")
        assert (scratch / "mine").exists()
    finally:
        child.close()


REMOUNT = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def attempt(folder):
    MS_REMOUNT, MS_BIND = 32, 4096
    mounted = libc.mount(None, folder.encode(), None, MS_REMOUNT | MS_BIND, None) == 0
    try:
        open(folder + "/planted", "w").close()
    except OSError:
        return mounted
    os.unlink(folder + "/planted")
    return "written"
"""


@pytest.fixture
def boxed(tmp_path):
    """Start a child under bubblewrap that may read `folder`; gives a function that runs code in it."""
    if sandbox.bubblewrap() is None:
        pytest.skip("bubblewrap is not installed or does not work here")
    scratch, folder = tmp_path / "scratch", tmp_path / "folder"
    scratch.mkdir()
    folder.mkdir()
    children = []

    def boxed(code):
        if not children:
            children.append(Child((sys.executable, "-c", ECHO), Box(scratch, readable=(folder,))))
        return run(children[0], textwrap.dedent(code))

    boxed.folder = folder
    yield boxed
    for child in children:
        child.close()


def test_nothing_that_is_read_only_can_be_mounted_for_writing(boxed):
    """Not as root either, nor as the root of a user namespace that the child makes for itself."""
    folders = [str(boxed.folder), str(Path(sandbox.__file__).parent), sys.prefix, "/usr"]
    outcomes = boxed(REMOUNT + f"reply([attempt(folder) for folder in {folders}])")
    assert outcomes == [False] * len(folders)
    nested = f"{REMOUNT}\nprint([attempt(folder) for folder in {folders}], libc.mount)"
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", nested]
    said = boxed(f"reply(subprocess.run({command}, capture_output=True, text=True).stdout)")
    assert said == "" or said.startswith(str([False] * len(folders)))


def test_root_has_no_capability_and_cannot_set_the_kernel(boxed):
    status = boxed("reply(open('/proc/self/status').read())")
    capabilities = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    assert {name: int(capabilities[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapAmb"), 0
    )
    assert "NoNewPrivs:\t1" in status
    code = """
        try:
            reply(open("/proc/sys/kernel/core_pattern", "r+").read())
        except OSError as error:
            reply("refused")
    """
    assert boxed(code) == "refused"


def test_a_model_in_hub_layout_opens_in_the_box(tmp_path):
    """A snapshot is a folder of links to blobs beside it; of those the child sees the ones that are linked to."""
    if sandbox.bubblewrap() is None:
        pytest.skip("bubblewrap is not installed or does not work here")
    scratch, model = tmp_path / "scratch", tmp_path / "models--owner--name"
    snapshot, blobs = model / "snapshots" / "f00d", model / "blobs"
    for folder in (scratch, snapshot / "onnx", blobs):
        folder.mkdir(parents=True)
    for blob in ("weights", "config", "other"):
        (blobs / blob).write_text(blob)
    (snapshot / "config.json").symlink_to("../../blobs/config")
    (snapshot / "onnx" / "model.bin").symlink_to("../../../blobs/weights")
    (snapshot / "again.json").symlink_to("config.json")
    (snapshot / "gone.json").symlink_to("../../blobs/nowhere")
    child = Child((sys.executable, "-c", ECHO), Box(scratch, readable=(snapshot,)))
    try:
        names = ["config.json", "onnx/model.bin", "again.json"]
        read = run(child, f"reply([open({str(snapshot)!r} + '/' + name).read() for name in {names}])")
        assert read == ["config", "weights", "config"]
        assert run(child, f"reply(sorted(os.listdir({str(blobs)!r})))") == ["config", "weights"]
    finally:
        child.close()


def test_a_ledger_is_out_of_reach_wherever_it_lies(tmp_path):
    """Beside our packages, as of a campaign that is run in a checkout, and in the folder of the model."""
    if sandbox.bubblewrap() is None:
        pytest.skip("bubblewrap is not installed or does not work here")
    scratch, model = tmp_path / "scratch", tmp_path / "model"
    scratch.mkdir()
    model.mkdir()
    ledger = sqlite3.connect(model / "results.db", isolation_level=None)
    ledger.execute("PRAGMA journal_mode = WAL")
    ledger.execute("CREATE TABLE told (secret)")
    assert (model / "results.db-wal").stat().st_size  # what was written last
    (model / "config.json").write_text("{}")
    elsewhere = tmp_path / "other.db"
    elsewhere.write_bytes((model / "results.db").read_bytes())
    (model / "linked").symlink_to(elsewhere)
    (model / "tokenizer").mkdir()
    (model / "tokenizer" / "words.txt").write_text("a b")
    root = Path(sandbox.__file__).parents[3]
    assert (root / "pyproject.toml").is_file()
    child = Child((sys.executable, "-c", ECHO), Box(scratch, readable=(model,)))
    try:
        assert run(child, f"reply(open({str(model / 'config.json')!r}).read())") == "{}"
        (model / "results.db-journal").write_text("what is written meanwhile")
        assert run(child, f"reply(sorted(os.listdir({str(model)!r})))") == ["config.json", "tokenizer"]
        assert run(child, f"reply(open({str(model / 'tokenizer' / 'words.txt')!r}).read())") == "a b"
        assert not run(child, f"reply(os.path.exists({str(elsewhere)!r}))")
        assert "pyproject.toml" not in run(child, f"reply(os.listdir({str(root)!r}))")
        assert run(child, "import search.evaluator, vortex_dsl, kernels; reply(search.evaluator.__file__)")
    finally:
        child.close()
        ledger.close()


PARENT = """
import sys, time
from pathlib import Path
from search.evaluator import sandbox
if sys.argv[1] == "plain":
    sandbox.box.bubblewrap = lambda: None
child = sandbox.Child((sys.executable, "-c", sys.argv[3]), sandbox.Box(Path(sys.argv[2])))
child.call("run", {"code": "subprocess.Popen(['sleep', '1000'], start_new_session=True); reply(0)"}, 10)
print(child.pid, flush=True)
if len(sys.argv) > 4:
    child.call("run", {"code": sys.argv[4]}, float(sys.argv[5]))
    print("answered", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("kind", ["bwrap", "plain"])
def test_everything_dies_with_a_parent_that_is_killed(tmp_path, kind):
    if kind == "bwrap" and sandbox.bubblewrap() is None:
        pytest.skip("bubblewrap is not installed or does not work here")
    command = [sys.executable, "-c", PARENT, kind, str(tmp_path), ECHO]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        supervisor = int(parent.stdout.readline())
        group = [supervisor, *descendants(supervisor)]
        assert len(group) >= 3
        parent.kill()
    assert wait_until_gone(group)


def test_the_missing_bubblewrap_is_said_aloud_once(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    sandbox.bubblewrap.cache_clear()
    try:
        assert sandbox.bubblewrap() is None
        assert sandbox.bubblewrap() is None
        said = capsys.readouterr().err
        assert said.count("WARNING: bubblewrap (bwrap) is not installed") == 1
        assert "can reach the network and read whatever you can" in said
    finally:
        sandbox.bubblewrap.cache_clear()
