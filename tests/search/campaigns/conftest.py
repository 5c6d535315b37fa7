"""Campaigns on the fake evaluator of the loop's tests."""

import importlib.util
from pathlib import Path

import pytest

from search.store.ledger import SqlLedger

_spec = importlib.util.spec_from_file_location("fake_evaluator", Path(__file__).parents[1] / "fake_evaluator.py")
fake_evaluator = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_evaluator)


@pytest.fixture(scope="session")
def fake():
    """The class of evaluators that draw their numbers from programs' digests."""
    return fake_evaluator.FakeEvaluator


@pytest.fixture
def db(tmp_path):
    return f"sqlite:///{tmp_path / 'results.db'}"


@pytest.fixture
def ledger(db):
    opened = SqlLedger(db)
    yield opened
    opened.close()
