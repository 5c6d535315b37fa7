"""`vortex worker`: this machine as a node of a campaign's cluster, for as long as the process lives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from search.evaluator import supervisor
from search.evaluator.cluster.errors import PoolError
from search.evaluator.cluster.joining import (
    LOOPBACK,
    MODE,
    OBJECT_STORE_BYTES,
    QUIET,
    TOKEN_PATH,
    asked,
    harmless,
    token_here,
)
from search.evaluator.cluster.machine import Machine, this_machine
from search.evaluator.cluster.placement import KIND_LABEL
from search.telling.addresses import parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HEAD, FIRST = b"vortex-head", "vortex-first-"  # keys: what the head is, and the first machine of each kind
PORT = 6379
START_S = 60.0
TURN_S = 0.1


def lead(port: int, host: str, models: Sequence[str], num_cpus: int | None, said: Callable[[str], None]) -> int:
    """Be the head of a new cluster until the process is told to end; gives the exit code of Ray.

    host: the address by which others reach it, found out by Ray where it is empty. What this machine is, and the
    digests of `models`, decide who may join. Raises PoolError, ModelError.
    """
    ours = this_machine(models)
    words = ["--head", "--include-dashboard=false", f"--port={port}", *([f"--node-ip-address={host}"] if host else [])]
    with _running([*words, *_given(ours, num_cpus)]) as process:
        address = f"{host or _own_address()}:{port}"
        _publish(process, address, ours)
        said(f"the cluster's head at {address}, of kind {ours.kind}; others join it by `vortex worker --ray {address}`")
        return process.wait()


def join(address: str, num_cpus: int | None, said: Callable[[str], None]) -> int:
    """Be a node of the cluster whose head is at `address` until the process is told to end; gives Ray's exit code.

    Raises PoolError where there is no such head, or this machine differs from it or from the first of its kind.
    """
    check(address)
    ours = this_machine()
    with _running([f"--address={address}", *_given(ours, num_cpus)]) as process:
        said(f"a node of kind {ours.kind} of the cluster at {address}")
        return process.wait()


def check(address: str) -> Machine:
    """Compare this machine with the cluster at `address` and give what it is. Raises PoolError, ModelError.

    The first machine of a kind stands for it from then on.
    """
    with asked(address) as client:
        led = client.internal_kv_get(HEAD, None)
        if led is None:
            raise PoolError(
                f"Ray at {address} was not started by `vortex worker --head`, so that nothing is known of what its "
                "machines must have; start its head so"
            )
        head = _read(led, address)
        ours = this_machine(tuple(head.models))
        _refuse(ours.differences(head), f"the head at {address}")
        key = f"{FIRST}{ours.kind}".encode()
        client.internal_kv_put(key, ours.to_json().encode(), False, None)  # unless somebody was before us
        first = client.internal_kv_get(key, None)
        _refuse(ours.differences(_read(first, address)), f"the first machine of kind {ours.kind} at {address}")
    return ours


def _read(text: bytes, address: str) -> Machine:
    try:
        return Machine.from_json(text)
    except ValueError as error:
        raise PoolError(f"the head at {address} runs another version of this project: {error}") from None


def _refuse(differences: Sequence[str], other: str) -> None:
    if differences:
        raise PoolError(
            f"this machine cannot measure beside {other}: {'; '.join(differences)}. Install the same there and here, "
            "from one wheel or one image (docs/cluster.md)"
        )


def _given(ours: Machine, num_cpus: int | None) -> list[str]:
    """Give the words for `ray start` that head and nodes have in common."""
    cpus = [] if num_cpus is None else [f"--num-cpus={num_cpus}"]
    label = f"--labels={KIND_LABEL}={ours.kind}"
    unread = ["--include-log-monitor=false", "--disable-usage-stats"]  # our drivers take no logs from elsewhere
    return [label, f"--object-store-memory={OBJECT_STORE_BYTES}", *unread, "--block", *cpus]


@contextmanager
def _running(words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run `ray start`, with the token and nothing else of our environment; nothing of it is left afterwards."""
    token = os.memfd_create("ray-token")
    try:
        os.write(token, token_here().encode())
        auth = {MODE: "token", TOKEN_PATH: f"/proc/{os.getpid()}/fd/{token}"}
        command = [sys.executable, "-I", "-S", supervisor.__file__, str(os.getpid()), "0"]
        command += [sys.executable, "-m", "ray.scripts.scripts", "start", *words]
        with subprocess.Popen(
            command,
            env=harmless(os.environ) | QUIET | auth,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            cwd=Path("/"),
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()  # the supervisor kills all that Ray has started
    finally:
        os.close(token)


def _publish(process: subprocess.Popen[bytes], address: str, ours: Machine) -> None:
    """Tell the cluster what its head is, once it answers. Raises PoolError."""
    deadline = time.monotonic() + START_S
    while True:
        if process.poll() is not None:
            raise PoolError(f"Ray did not start at {address}: it ended with code {process.returncode}; see above")
        try:
            socket.create_connection(parts(address), timeout=1).close()
            with asked(address) as client:
                client.internal_kv_put(HEAD, ours.to_json().encode(), True, None)
                client.internal_kv_put(f"{FIRST}{ours.kind}".encode(), ours.to_json().encode(), True, None)
            return
        except (OSError, PoolError) as error:
            if time.monotonic() > deadline:
                raise PoolError(f"Ray did not answer at {address} within {START_S:g} s: {error}") from error
        time.sleep(TURN_S)


def _own_address() -> str:
    """Give the address by which others reach this machine, as Ray finds it."""
    from ray.util import get_node_ip_address

    return str(get_node_ip_address()) or LOOPBACK
