"""Who is left of a private Ray is found by what all its processes were started with, and by nothing else."""

import os
import signal
import subprocess

import pytest

from search.evaluator.sandbox.strays import MARK, kill_ray, of_private_ray


@pytest.fixture
def start():
    """Give what starts a process with a token of another process's run, and says which it is."""
    started = []

    def start(pid):
        name, _, value = MARK.format(pid=pid).partition("=")
        command, environment = ["sleep", "1000"], {"PATH": "/usr/bin:/bin", name: f"{value}7"}
        started.append(subprocess.Popen(command, env=environment, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_who_hangs_is_killed_and_nobody_elses_process_is(start):
    ours, hung, theirs, alike = start(os.getpid()), start(os.getpid()), start(1), start(f"{os.getpid()}0")
    hung.send_signal(signal.SIGSTOP)
    assert set(of_private_ray(os.getpid())) == {ours.pid, hung.pid}
    kill_ray()
    assert [each.wait(5) for each in (ours, hung)] == [-signal.SIGKILL] * 2
    assert [each.poll() for each in (theirs, alike)] == [None, None]
