"""The scripted server of these tests."""

import importlib.util
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("scripted_server", Path(__file__).with_name("scripted_server.py"))
scripted_server = importlib.util.module_from_spec(_spec)
sys.modules["scripted_server"] = scripted_server
_spec.loader.exec_module(scripted_server)


@pytest.fixture
def wire():
    """A server that replies as its `script` says."""
    server = scripted_server.Server()
    yield server
    server.close()
