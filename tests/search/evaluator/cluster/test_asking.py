"""What is asked of a head that hangs: its port takes connections, and nobody answers."""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from search.evaluator.cluster import LOCAL, asking
from search.evaluator.cluster.joining import connected
from search.evaluator.sandbox.strays import of_private_ray
from tests.search.evaluator.cluster.conftest import until

SOON_S = 5.0


class _Idle:
    def pid(self):
        return os.getpid()


@pytest.fixture(scope="module")
def head():
    """Start a private Ray, and give the process id of its head."""
    with connected(LOCAL, 1):
        names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] for pid in of_private_ray(os.getpid())}
        yield next(pid for pid, name in names.items() if name.endswith(b"gcs_server"))


@pytest.fixture
def hang(head):
    """Give what stops the head; it goes on after the test."""

    def stop():
        os.kill(head, signal.SIGSTOP)
        until(lambda: Path(f"/proc/{head}/stat").read_text().rpartition(")")[2].split()[0] == "T", 10)  # not at once

    yield stop
    os.kill(head, signal.SIGCONT)


@pytest.mark.usefixtures("head")
def test_nodes_are_told_as_ray_tells_them():
    (theirs,), (ours,) = ray.nodes(), asking.nodes()
    assert ours == {name: theirs[name] for name in ours}


def test_nodes_of_a_head_that_hangs_are_not_waited_for(hang, monkeypatch):
    monkeypatch.setattr(asking, "NODES_S", 1.0)
    hang()
    began = time.monotonic()
    with pytest.raises(ray.exceptions.RayError):
        asking.nodes()
    assert time.monotonic() - began < SOON_S


def test_a_head_that_does_not_take_a_class_is_not_waited_for(head, hang, monkeypatch):
    """Ray sends an actor's class to the head that was joined last, and by itself waits for it without end."""
    monkeypatch.setattr(asking, "TAKE_S", 1.0)
    actor_class = ray.remote(_Idle)
    hang()
    began = time.monotonic()
    with pytest.raises(ray.exceptions.RayError, match="has not taken an actor's class within 1 s"):
        asking.start(actor_class)
    assert time.monotonic() - began < SOON_S
    os.kill(head, signal.SIGCONT)
    actor = asking.start(actor_class)
    assert ray.get(actor.pid.remote(), timeout=60.0)
    asking.kill(actor)


def test_what_is_wrong_with_an_actor_is_told():
    with pytest.raises(ZeroDivisionError):
        asking.start(SimpleNamespace(remote=lambda: 1 / 0))


def test_an_actor_dies_as_soon_as_a_head_that_hung_answers(head, hang):
    actor = ray.remote(_Idle).remote()
    process = Path(f"/proc/{ray.get(actor.pid.remote())}/exe")
    hang()
    began = time.monotonic()
    asking.kill(actor)
    assert time.monotonic() - began < SOON_S
    os.kill(head, signal.SIGCONT)
    until(lambda: not process.exists(), SOON_S)
