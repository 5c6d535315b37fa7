"""Stands for a command in the bash that runs a page: `called.py SOCKET NAME WORD…`.

It sends how it was called to the test, and does what that answers: writes, ends, or becomes the real command.
"""

import json
import os
import socket
import sys
from pathlib import Path

address, *words = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(address)
    named = {name: os.environ.get(name, "") for name in ("VORTEX_PLUGIN", "RAY_AUTH_MODE")}
    connection.sendall(json.dumps([words, str(Path.cwd()), named]).encode() + b"\n")
    code, out, become = json.loads(connection.makefile().readline())
if become:
    os.execv(become[0], become)
sys.stdout.write(out)
sys.exit(code)
