"""The benchmark of large ledgers: what it fills must be what it times."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.store.asking import ASKED
from benchmarks.store.filling import Filled, fill
from benchmarks.store.server import is_installed
from search.outside.gateway import Gateway
from search.store.ledger import SqlLedger

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
NUM, PATIENCE_S = 100, 60.0


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    folder: Path = tmp_path_factory.mktemp("filled")
    return fill(f"sqlite:///{folder}/results.db", NUM)


def test_a_filled_campaign_still_asks_agents(filled: Filled) -> None:
    """A campaign that had its candidates would refuse every agent, and time nothing but that."""
    with closing(SqlLedger(filled.url, read_only=True)) as ledger:
        told = Gateway(ledger, "agent").brief()
    assert "Rule" in told.text
    assert told.ticket


@pytest.mark.parametrize("what", sorted(ASKED))
def test_everything_that_is_timed_can_be_asked(filled: Filled, what: str) -> None:
    with closing(SqlLedger(filled.url)) as ledger:
        next(iter(ASKED[what](ledger, filled)))()


@pytest.mark.postgres
@pytest.mark.skipif(not is_installed(), reason="PostgreSQL is not installed")
def test_who_is_asked_to_end_leaves_no_server_behind() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)  # PostgreSQL runs as another account
        command = [sys.executable, "-m", "benchmarks.store", "--on", "postgresql", "--candidates", "1000000"]
        with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"TMPDIR": made}) as process:
            _await(lambda: any(folder.glob("vortex-pg-*/data/postmaster.pid")))
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
        assert list(folder.iterdir()) == []


def _await(is_there: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_there():
        assert time.monotonic() < until
        time.sleep(0.05)
