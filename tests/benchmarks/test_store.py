"""The benchmark of large ledgers: what it fills must be what it times."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from benchmarks.store.asking import ASKED
from benchmarks.store.filling import Filled, fill
from search.outside.gateway import Gateway
from search.store.ledger import SqlLedger

if TYPE_CHECKING:
    from pathlib import Path

NUM = 100


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
