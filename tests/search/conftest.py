"""A ledger in a file of its own, and who fills it without an engine."""

import pytest
from fake_evaluator import FakeEvaluator

from search.store.ledger import SqlLedger


@pytest.fixture(scope="session")
def fake():
    """The class of evaluators that draw their numbers from programs' digests."""
    return FakeEvaluator


@pytest.fixture
def db(tmp_path):
    return f"sqlite:///{tmp_path / 'results.db'}"


@pytest.fixture
def ledger(db):
    opened = SqlLedger(db)
    yield opened
    opened.close()
