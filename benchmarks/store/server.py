"""A PostgreSQL server of one's own: real, empty, on a socket in a folder that is gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ACCOUNTS = {entry.pw_name for entry in pwd.getpwall()}
# PostgreSQL refuses to run as root.
ACCOUNT = None if os.getuid() else "postgres" if "postgres" in ACCOUNTS else "nobody"
# Texts sort as people's languages have it, as on most servers: an index that helps by bytes alone shows itself.
LANGUAGE = ("-E", "UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
START_S, STOP_S = 10.0, 30.0


class Server:
    """A cluster in a folder. `url` names its maintenance database."""

    def __init__(self, folder: Path, settings: Sequence[str]) -> None:
        self._folder, self._settings = folder, settings
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://vortex@/postgres?host={folder}"

    def start(self) -> None:
        """Start it and wait until it answers. Raises RuntimeError where it does not."""
        data = self._folder / "data"
        serving = [
            _program("postgres"),
            "-D",
            str(data),
            "-k",
            str(self._folder),
            "-c",
            "listen_addresses=",
            *self._settings,
        ]
        # Our own child, not pg_ctl's: where nobody reaps orphans, pg_ctl waits for a minute to see it end.
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(serving, user=ACCOUNT, cwd=self._folder, stdout=log, stderr=log)
        self._await()

    def stop(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=STOP_S)
            self._process = None

    def kill(self) -> None:
        """End it by `kill -9`: its own children notice, and its files stay as they are."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=STOP_S)
            self._process = None

    def _await(self) -> None:
        import psycopg

        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"PostgreSQL does not answer: {(self._folder / 'log').read_text()[-1000:]}")


@contextmanager
def server(*settings: str) -> Iterator[Server]:
    """Give a server that runs, with settings as `name=value`. Raises FileNotFoundError where none is installed."""
    # Not under a test's own folder: that one is closed to other accounts, and its path too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="vortex-pg-"))
    given = [word for each in settings for word in ("-c", each)]
    try:
        if ACCOUNT:
            shutil.chown(folder, ACCOUNT)
        making = [_program("initdb"), "-D", str(folder / "data"), "-U", "vortex", "-A", "trust", "--no-sync", *LANGUAGE]
        subprocess.run(making, user=ACCOUNT, cwd=folder, check=True, capture_output=True)
        started = Server(folder, given)
        try:
            started.start()
            yield started
        finally:
            started.stop()
    finally:
        shutil.rmtree(folder)


def is_installed() -> bool:
    """Say whether PostgreSQL's programs are on this machine."""
    return all(map(_found, ("initdb", "postgres")))


def _found(name: str) -> str | None:
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(debian[-1]) if debian else shutil.which(name)


def _program(name: str) -> str:
    found = _found(name)
    if found is None:
        raise FileNotFoundError(f"there is no {name}: PostgreSQL is not installed (Debian: apt install postgresql)")
    return found
