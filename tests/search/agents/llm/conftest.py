"""The scripted server of these tests."""

import pytest
from scripted_server import Server


@pytest.fixture
def wire():
    """A server that replies as its `script` says."""
    server = Server()
    yield server
    server.close()
