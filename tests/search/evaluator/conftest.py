"""Engines of tests: a host is started as a fork of a process that has imported vLLM, and is asked as a worker asks.

And a worker whose hosts have no engine: what stages ask of them is noted.
"""

import json
import os
import sys
from pathlib import Path

import pytest

from search.evaluator.arms import TimeLimits, WorkerSettings
from search.evaluator.engine import EngineSettings
from search.evaluator.worker import Worker
from search.records import EvaluationKey, EvaluationTask
from vortex_dsl import zoo


class Host:
    """A real engine host, asked by its protocol: `call` gives its reply, `started` is that of its start."""

    def __init__(self, warm, role, model, home=None, **settings):
        (stdin, requests), (replies, stdout) = os.pipe(), os.pipe()
        with Path(os.devnull).open("r+") as nothing:
            files = (stdin, stdout, nothing.fileno())
            changed = {"HOME": str(home)} if home else {}
            self._process = warm.start("-m", "search.evaluator.host", role, files=files, **changed)
        os.close(stdin)
        os.close(stdout)
        self._requests, self._replies = os.fdopen(requests, "w"), os.fdopen(replies)
        self.role, self.calls = role, []
        self.started = self.call("start", model=str(model), **{"kv_cache_bytes": 128 << 20} | settings)
        assert "result" in self.started

    def call(self, name, /, **args):
        self.calls.append(name)
        self._requests.write(json.dumps({"call": name, "args": args}) + "\n")
        self._requests.flush()
        return json.loads(self._replies.readline())

    def close(self):
        if self._requests.closed:
            return
        self._requests.close()
        assert self._process.wait(30) == 0
        self._replies.close()


@pytest.fixture(scope="module")
def start_host(warm):
    """Give what starts a real engine: `start_host(role, model, **settings)`, in a `home` of its own if need be.

    All end with the module, or when they are closed.
    """
    hosts = []

    def start(role, model, **settings):
        hosts.append(Host(warm, role, model, **settings))
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()


@pytest.fixture
def worker(tmp_path):
    """Give a worker whose engines are fakes."""
    worker = Worker(
        WorkerSettings(
            engine=EngineSettings(model=str(tmp_path), sparse=True, max_tokens=128),
            scratch=tmp_path / "scratch",
            shape=(2, 64),
            limits=TimeLimits(start_s=10, prefill_s=10, fidelity_s=10, retrieval_s=10),
            host_command=(sys.executable, str(Path(__file__).with_name("fake_host.py"))),
        )
    )
    yield worker
    worker.close()


@pytest.fixture
def requested(worker):
    """Give what tells what the fakes were asked since the worker began, starts aside: role, call and arguments."""

    def told():
        lines = (worker._arms.settings.scratch / "requests.jsonl").read_text().splitlines()
        return [each for each in map(json.loads, lines) if each["call"] != "start"]

    return told


@pytest.fixture
def task_of():
    """Give what makes a task of a workload: `task_of(workload, program)`, with parts of its key by name."""

    def make(workload, program="quest", **circumstances):
        key = {"model_digest": "m", "environment_digest": "e", "evaluator_version": "1", "seed": 0} | circumstances
        asked = EvaluationKey(program, workload.stage, workload.digest, **key)
        return EvaluationTask(asked, zoo.text(program), (), workload)

    return make


@pytest.fixture(params=["model_digest", "environment_digest", "evaluator_version", "seed"])
def elsewhere(request):
    """Give one part of a key that makes dense attention's answers others."""
    return {request.param: 5 if request.param == "seed" else "other"}
