"""The environment with which a process was started is not to be read from outside, and still there for itself."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import ctypes, os, subprocess, sys
from pathlib import Path
from search.evaluator.sandbox.scrubbing import hide_environment
for _ in range(2):
    hide_environment()
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print(os.environ["API_KEY"], getenv(b"API_KEY").decode(), flush=True)
print(subprocess.run(["printenv", "API_KEY"], capture_output=True, text=True).stdout.strip(), flush=True)
sys.stdin.readline()
"""


def test_a_key_is_seen_by_nobody_else():
    command = [sys.executable, "-c", SCRIPT]
    given = {"PATH": "/usr/bin:/bin", "API_KEY": "sk-planted"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=given, cwd=Path(__file__).parents[4], **pipes) as process:
        assert process.stdout.readline().split() == ["sk-planted"] * 2
        assert process.stdout.readline().split() == ["sk-planted"]
        assert b"planted" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        process.stdin.write("\n")
