"""A process that has imported vLLM, which takes ten seconds, and forks for whoever wants to go on from there.

`warm_vllm.py SOCKET` ends with its stdin; see `warm` in tests/conftest.py. A fork is a process of its own, in which no
engine was started before. Who connects sends a command (what would follow `python`), an environment, and three files
to be stdin, stdout and stderr; the answers are the number of the fork, then its exit status, one line each.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path

READ_BY_IMPORTS = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_PLUGINS": "vortex", "VORTEX_PLUGIN": "vortex"}


def main() -> None:
    """Import what every engine does, then serve one connection after the other."""
    os.environ.update(READ_BY_IMPORTS)
    import vllm.entrypoints.llm
    import vllm.v1.executor.uniproc_executor
    import vllm.v1.worker.gpu_worker  # noqa: F401 - that of a CPU builds on it

    gc.collect()
    gc.freeze()  # so that forks neither look through all this nor copy it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    print("ready", flush=True)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            attend(connection)
            return
        connection.close()


def attend(connection: socket.socket) -> None:
    """Fork once more for the command, and wait for it; in that fork, run it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    request = json.loads(text)
    process = os.fork()
    if process == 0:
        connection.close()
        become(request["command"], request["environment"], files)
        return
    for file in files:
        os.close(file)
    connection.send(f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    connection.send(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def become(command: list[str], environment: dict[str, str], files: list[int]) -> None:
    """Run a command as `python` would. What it raises ends this process, as anywhere."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = command, str(Path(command[0]).parent)
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    main()
