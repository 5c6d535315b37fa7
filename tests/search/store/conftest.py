"""An empty database of each kind. PostgreSQL is a real server, started once, on a socket in its own folder."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

ACCOUNTS = {entry.pw_name for entry in pwd.getpwall()}
# PostgreSQL refuses to run as root.
ACCOUNT = None if os.getuid() else "postgres" if "postgres" in ACCOUNTS else "nobody"
NUMBERS = itertools.count()
SETTINGS = ("-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60", "-c", "shared_buffers=16MB")


def program(name):
    """Give the path of one of PostgreSQL's programs, None where it is not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(debian[-1]) if debian else shutil.which(name)


@pytest.fixture(scope="session")
def server():
    """Start PostgreSQL; give the URL of its maintenance database."""
    initdb, postgres = program("initdb"), program("postgres")
    if not (initdb and postgres):
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    # Not under pytest's own folder: that one is closed to other accounts, and its path too long for a socket.
    folder = tempfile.mkdtemp(prefix="vortex-pg-")
    if ACCOUNT:
        shutil.chown(folder, ACCOUNT)
    data, url = f"{folder}/data", f"postgresql://vortex@/postgres?host={folder}"
    making = [initdb, "-D", data, "-U", "vortex", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"]
    subprocess.run(making, user=ACCOUNT, cwd=folder, check=True, capture_output=True)
    with Path(folder, "log").open("w") as log:
        serving = [postgres, "-D", data, "-k", folder, *SETTINGS]
        # Our own child, not pg_ctl's: where nobody reaps orphans, pg_ctl waits for a minute to see it end.
        process = subprocess.Popen(serving, user=ACCOUNT, cwd=folder, stdout=log, stderr=log)
    try:
        await_server(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(timeout=30)
        shutil.rmtree(folder)


def await_server(url, process):
    """Wait until the server answers."""
    import psycopg

    for _ in range(200):
        assert process.poll() is None, "PostgreSQL ended at once: see its log"
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("PostgreSQL did not answer within 10 s")


@pytest.fixture
def postgresql_url(server):
    """Give the URL of an empty schema: as good as a database, and cheaper to make and to throw away."""
    import psycopg

    name = f"ledger_{next(NUMBERS)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{server}&options=-csearch_path%3D{name}"


@pytest.fixture
def sqlite_url(tmp_path):
    """Give the URL of a database that does not exist yet."""
    return f"sqlite:///{tmp_path}/results.db"
