"""Engines of tests: a host is started as a fork of a process that has imported vLLM, and is asked as a worker asks."""

import json
import os
from pathlib import Path

import pytest


class Host:
    """A real engine host, asked by its protocol: `call` gives its reply."""

    def __init__(self, warm, role, model, **settings):
        (stdin, requests), (replies, stdout) = os.pipe(), os.pipe()
        with Path(os.devnull).open("r+") as nothing:
            files = (stdin, stdout, nothing.fileno())
            self._process = warm.start("-m", "search.evaluator.host", role, files=files)
        os.close(stdin)
        os.close(stdout)
        self._requests, self._replies = os.fdopen(requests, "w"), os.fdopen(replies)
        self.role, self.calls = role, []
        assert "result" in self.call("start", model=str(model), kv_cache_bytes=128 << 20, **settings)

    def call(self, name, /, **args):
        self.calls.append(name)
        self._requests.write(json.dumps({"call": name, "args": args}) + "\n")
        self._requests.flush()
        return json.loads(self._replies.readline())

    def close(self):
        self._requests.close()
        assert self._process.wait(30) == 0
        self._replies.close()


@pytest.fixture(scope="module")
def start_host(warm):
    """Give what starts a real engine: `start_host(role, model, **settings)`. All end with the module."""
    hosts = []

    def start(role, model, **settings):
        hosts.append(Host(warm, role, model, **settings))
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()
