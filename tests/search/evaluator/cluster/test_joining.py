"""Who may enter the Ray that we start, where it listens and what it knows; and how somebody else's is joined."""

import os
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from search.evaluator.cluster import LOCAL, PoolError, joining
from search.evaluator.cluster.joining import ALONE, MODE, TOKEN, TOKEN_PATH, connected, harmless
from search.evaluator.supervisor import descendants

SECRETS = {
    "OPENAI_API_KEY": "sk-planted-1",
    "AWS_SECRET_ACCESS_KEY": "planted-2",
    "HF_TOKEN": "planted-3",
    "DATABASE_URL": "postgresql://me:planted-4@somewhere/results",
    "VLLM_API_KEY": "planted-5",
    "PGPASSWORD": "planted-6",
    "RAY_REDIS_PASSWORD": "planted-7",
}
FOREIGNER = """
import sys
import ray
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1])
    ray.init(address=sys.argv[1], log_to_driver=False)
    print("ran", ray.get(ray.remote(lambda: 6 * 7).remote()))
except Exception as error:
    print(type(error).__name__, str(error).split(". ")[0])
"""


@pytest.fixture(scope="module")
def cluster():
    """Start a private Ray while secrets are in our environment; gives its address."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        patch.setenv(MODE, "disabled")  # what somebody has set for other clusters opens no door here
        before = dict(os.environ)
        with connected(LOCAL, 2):
            assert dict(os.environ) == before
            yield ray.get_runtime_context().gcs_address


@pytest.fixture(scope="module")
def processes(cluster):
    """Give {process id: command line} of Ray's processes, a worker's included."""
    import ray

    actor = ray.remote(_Idle).remote()
    worker = ray.get(actor.pid.remote())
    found = {}
    for pid in descendants(os.getpid()):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        if "ray" in command:
            found[pid] = command
    assert worker in found
    assert {"gcs_server", "raylet"} <= {Path(command.split()[0]).name for command in found.values()}
    yield found
    ray.kill(actor)


class _Idle:
    def pid(self):
        return os.getpid()


def environment_of(pid):
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair)


def test_ray_listens_on_loopback_alone(cluster, processes):
    doors = [
        (pid, door.laddr.ip)
        for pid in (os.getpid(), *processes)
        for door in psutil.Process(pid).net_connections("inet")
        if door.status == psutil.CONN_LISTEN
    ]
    assert {"gcs_server", "raylet"} <= {Path(processes.get(pid, " ").split(" ")[0]).name for pid, _ in doors}
    assert [(pid, ip) for pid, ip in doors if ip.removeprefix("::ffff:") != "127.0.0.1"] == []
    assert cluster.startswith("127.0.0.1:")


def test_ray_starts_nothing_that_nobody_asks(processes):
    observers = ("/monitor.py", "/log_monitor.py", "/dashboard.py")
    assert [command for command in processes.values() if any(name in command for name in observers)] == []


def test_another_address_of_this_machine_is_closed(cluster):
    """The interface that others reach this machine by, where it has one."""
    ours = {a.address for each in psutil.net_if_addrs().values() for a in each if a.family == socket.AF_INET}
    for address in ours - {"127.0.0.1"}:
        with pytest.raises(OSError, match=r"refused|unreachable"):
            socket.create_connection((address, int(cluster.rsplit(":", 1)[1])), timeout=5)


def test_no_process_of_ray_has_a_secret_in_its_environment(processes):
    for pid, command in processes.items():
        found = environment_of(pid)
        assert "planted" not in str(found), command
        assert not set(found) & {*SECRETS, TOKEN}, command


def test_what_ray_needs_of_our_environment_is_kept():
    kept = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1", "HOME": "/root", "RAY_memory_usage_threshold": "0.9"}
    assert harmless(kept | SECRETS | {"RAY_AUTH_TOKEN": "x", "HTTPS_PROXY": "http://me:x@proxy"}) == kept


@pytest.mark.parametrize("auth", [{MODE: "disabled"}, {MODE: "token", TOKEN: "a" * 64}])
def test_a_stranger_is_refused(cluster, auth):
    said = foreigner(cluster, auth)
    assert "ran" not in said
    assert "AuthenticationError" in said


def test_who_holds_the_token_is_let_in(cluster, processes):
    raylet = next(pid for pid, command in processes.items() if Path(command.split()[0]).name == "raylet")
    path = environment_of(raylet)[TOKEN_PATH]
    token = Path(path).read_text()
    assert len(token) == 64
    assert token not in str(environment_of(raylet)) + processes[raylet]
    assert foreigner(cluster, {MODE: "token", TOKEN: token}) == "ran 42"


def foreigner(address, auth):
    """Give the last words of a process that is none of ours and would run something on our Ray."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME")} | ALONE | auth
    command = [sys.executable, "-c", FOREIGNER, address]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    return done.stdout.strip().splitlines()[-1]


DRIVER = """
import os, sys, time
from pathlib import Path
import ray
from search.evaluator.cluster.joining import connected

def tokens():
    links = list(Path("/proc/self/fd").iterdir())
    return [link for link in links if link.exists() and "ray-token" in os.readlink(link)]

for _ in range(2):
    with connected("local", 1):
        mine = os.getpid()
        print(mine, *(link.read_text() for link in tokens()), flush=True)
        if sys.argv[1:]:
            time.sleep(1000)
print("after", tokens())
"""


def driver(*arguments):
    return subprocess.Popen([sys.executable, "-c", DRIVER, *arguments], stdout=subprocess.PIPE, text=True)


def test_a_ray_that_does_not_end_as_it_should_leaves_nothing_either(monkeypatch):
    """Whoever drives it need not look for what is left."""
    import ray

    killed = []
    monkeypatch.setattr(joining, "_private", lambda _num_cpus: nullcontext())
    monkeypatch.setattr(joining, "kill_ray", lambda: killed.append(True))
    monkeypatch.setattr(ray, "shutdown", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError), connected(LOCAL, 1):
        assert not killed
    assert killed


def test_each_run_has_a_token_of_its_own_and_none_is_left():
    with driver() as process:
        first, second, after = process.stdout.read().splitlines()
    assert len(first.split()) == len(second.split()) == 2
    assert first.split()[1] != second.split()[1]
    assert after == "after []"


def test_the_token_goes_with_a_run_that_is_killed():
    with driver("stay") as process:
        _, token = process.stdout.readline().split()
        below = descendants(process.pid)
        process.kill()
    end = time.monotonic() + 5
    while any(map(_is_at_work, below)) and time.monotonic() < end:
        time.sleep(0.1)
    folders = [Path.home() / ".ray", Path("/tmp/ray/session_latest")]
    held = [file for folder in folders for file in folder.rglob("*") if file.is_file() and _holds(file, token)]
    assert held == []


def _is_at_work(pid):
    """Who is dead and has nobody to say so to holds no token any more."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _holds(file, token):
    return token.encode() in file.read_bytes()


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Have no token where Ray looks for one: an empty home and none in the environment."""
    for name in (MODE, TOKEN, TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(*next(iter(ALONE.items())))  # the driver of a cluster on loopback is on loopback itself
    return monkeypatch


def refusal(address="127.0.0.1:1"):
    """Give the one sentence with which a cluster is not joined. In a process of its own: Ray keeps what it has seen."""
    (line,) = refusals(address, {})
    return line


def refusals(address, *environments):
    """Give the sentences of one process, which tries with one environment after the other: Ray is imported once."""
    code = f"""
import os
from search.evaluator.cluster import PoolError
from search.evaluator.cluster.joining import connected
for environment in {environments!r}:
    os.environ.update(environment)
    try:
        with connected({address!r}, 1):
            print("joined")
    except PoolError as error:
        print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(environments)
    return lines


def test_a_cluster_whose_token_is_missing_is_refused_in_a_sentence(elsewhere):
    said = refusal()
    assert "Ray at 127.0.0.1:1 is joined with the cluster's token, and there is none here" in said
    assert all(where in said for where in (TOKEN, TOKEN_PATH, "~/.ray/auth_token", "ray get-auth-token"))


@pytest.mark.usefixtures("elsewhere")
def test_a_token_file_that_is_not_there_or_empty_is_named(tmp_path):
    """Before Ray looks for a token at all, so one process can be refused again and again."""
    files = [tmp_path / name for name in ("absent", "empty", "blank")]
    for file, content in zip(files[1:], ("", " \n"), strict=True):
        file.write_text(content)
    said = refusals("127.0.0.1:1", *({TOKEN_PATH: str(file)} for file in files))
    for file, line in zip(files, said, strict=True):
        assert f"{TOKEN_PATH} names {file}, where no token for Ray" in line


@pytest.mark.parametrize("place", ["environment", "file", "home"])
def test_the_token_is_taken_from_where_ray_documents_it(elsewhere, tmp_path, cluster, processes, place):
    raylet = next(pid for pid, command in processes.items() if Path(command.split()[0]).name == "raylet")
    token = Path(environment_of(raylet)[TOKEN_PATH]).read_text()
    if place == "environment":
        elsewhere.setenv(TOKEN, token)
    else:
        file = tmp_path / (".ray/auth_token" if place == "home" else "token")
        file.parent.mkdir(exist_ok=True)
        file.write_text(token + "\n")
        if place == "file":
            elsewhere.setenv(TOKEN_PATH, str(file))
    assert refusal(cluster) == "joined"


def test_a_wrong_token_is_refused_in_a_sentence(elsewhere, cluster):
    elsewhere.setenv(TOKEN, "f" * 64)
    assert "did not take the token that was found here" in refusal(cluster)


def test_a_private_ray_that_others_could_reach_is_refused(monkeypatch):
    from search.evaluator.cluster import joining

    with pytest.raises(PoolError, match=r"listens on 10\.0\.0\.7 instead of 127\.0\.0\.1"):
        joining._check_loopback([{"NodeManagerAddress": "10.0.0.7"}])
