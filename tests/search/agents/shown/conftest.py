"""A campaign on a real model, half-way: what one of its steps may know, read from its ledger."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="session")
def generate():
    """The module that writes docs/, which reads the ledger for docs/prompt.md."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def midway(generate):
    return generate.midway_context()


@pytest.fixture(scope="session")
def by_name(midway):
    return {record.candidate.name: record for record in midway.records}
