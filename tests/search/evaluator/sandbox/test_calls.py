"""What the kernel is asked for that no engine asks for is refused, in bubblewrap and without it."""

import ctypes
import errno
import os
import platform
import sys
import textwrap
from contextlib import closing

import pytest

import search.evaluator.sandbox.box as boxes
from search.evaluator.sandbox import Box, Child
from search.evaluator.sandbox.calls import CLONE3, MACHINES, REFUSED, refusing

pytestmark = pytest.mark.skipif(platform.machine() not in MACHINES, reason="calls of this machine are not known")

SCRIPT = """
import ctypes, json, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def attempt(*call):
    ctypes.set_errno(0)
    return libc.syscall(*call), ctypes.get_errno()
for line in sys.stdin:
    print(json.dumps({"result": eval(json.loads(line)["args"]["code"])}), flush=True)
"""


@pytest.fixture(params=["bwrap", "plain"])
def asked(request, tmp_path, monkeypatch):
    """Give what evaluates an expression in a child."""
    if request.param == "plain":
        monkeypatch.setattr(boxes, "bubblewrap", lambda: None)
    elif boxes.bubblewrap() is None:
        pytest.skip("bubblewrap is not installed or does not work here")
    with closing(Child((sys.executable, "-c", SCRIPT), Box(tmp_path))) as child:
        yield lambda code: child.call("run", {"code": textwrap.dedent(code)}, 10.0)


def number(name):
    return REFUSED[name][MACHINES[platform.machine()][0]]


def test_each_of_them_is_refused(asked):
    calls = [number(name) for name in REFUSED if name != "ptrace"]
    answers = asked(f"[attempt(number, -1, 0, 0, 0, 0) for number in {calls}]")
    assert answers == [[-1, errno.EPERM]] * len(calls)
    assert asked(f"attempt({number('ptrace')}, 0, 0, 0, 0)") == [-1, errno.EPERM]  # PTRACE_TRACEME


def test_namespaces_come_by_no_other_call(asked):
    new_user = 0x10000000
    clone = 56 if platform.machine() == "x86_64" else 220
    assert asked(f"attempt({clone}, {new_user}, 0, 0, 0, 0)") == [-1, errno.EPERM]
    assert asked(f"attempt({CLONE3[0]}, 0, 0)") == [-1, errno.ENOSYS]


def test_nobody_types_into_the_terminal_of_who_started_us(asked):
    assert asked("attempt({'x86_64': 16, 'aarch64': 29}[os.uname().machine], 0, 0x5412, b'x')") == [-1, errno.EPERM]
    assert asked("os.getsid(0)") != os.getsid(0)


def test_what_engines_do_goes_on(asked):
    """Threads, processes, and control of a file that is no terminal."""
    thread = "(made := threading.Thread(target=print, args=('',), kwargs={'file': sys.stderr})).start() or made.join()"
    assert asked(thread) is None
    assert asked("os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)[1]") == 0
    assert asked("__import__('fcntl').ioctl(0, 0x541B, b'0000') is not None")  # FIONREAD


def test_the_filter_is_one_that_a_kernel_takes():
    steps = refusing()
    assert len(steps) % 8 == 0
    assert len(steps) // 8 <= 4096
    assert ctypes.sizeof(ctypes.c_ushort) == 2
