"""Rounds are paired, go on until the interval is narrow, and a CPU's are compared by processor time."""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest

from search.evaluator.speed.clock import AttentionClock
from search.evaluator.speed.stage import HALF_WIDTH, MIN_PAIRS, run
from search.records import EvaluationKey, EvaluationTask, Stage, Status, Workload

LIMITS = SimpleNamespace(serve_round_s=1.0, prefill_s=9.0)


class Arms:
    """Two arms whose replies are drawn from functions of the round's number."""

    limits = LIMITS
    running = None  # who could have kept prompts for another workload

    def __init__(self, sparse, dense):
        self._home = TemporaryDirectory()
        self.settings = SimpleNamespace(scratch=Path(self._home.name))
        self._replies = {"sparse": sparse, "dense": dense}
        self.num = {"sparse": 0, "dense": 0}
        self.order = []
        self.held = ""

    def sparse(self, task):
        return SimpleNamespace(call=lambda call, _args, limit_s: self._reply("sparse", call, limit_s))

    start_for = sparse

    def computing(self):
        return self._holding("beside others")

    def timing(self):
        return self._holding("alone")

    @contextmanager
    def _holding(self, how):
        assert not self.held, "whoever holds the processors would wait for itself"
        self.held = how
        yield
        self.held = ""

    def ask_dense(self, call, _args, limit_s):
        return self._reply("dense", call, limit_s)

    ask_reference = ask_dense

    def _reply(self, role, call, limit_s):
        assert self.held == ("beside others" if call == "prefill" else "alone")
        if call == "prefill":
            assert (self.num[role], limit_s) == (0, LIMITS.prefill_s), "rounds find the prompts in the cache"
            return {"files": []}
        assert limit_s == LIMITS.serve_round_s
        self.order.append(role)
        self.num[role] += 1
        return self._replies[role](self.num[role])


def reply(elapsed_s, processor_s=None, attention_s=None, pages=7.0):
    told = {"elapsed_s": elapsed_s, "num_tokens": 64, "step_ms": [1.0, 2.0], "pages_attended": pages, "pages_dense": 32}
    if processor_s is not None:
        told |= {"processor_s": processor_s, "attention_s": attention_s}
    return json.loads(json.dumps(told))


def task(repeats=9):
    workload = Workload(Stage.SERVE, 4000, 8, repeats=repeats, lengths=(3000, 3500, 4000))
    return EvaluationTask(EvaluationKey("p", Stage.SERVE, workload.digest, "m", "e", "1", 0), "text", (), workload)


def test_even_rounds_end_at_once():
    arms = Arms(lambda i: reply(1.0), lambda i: reply(3.0))
    outcome = run(arms, task())
    assert (outcome.status, outcome.message) == (Status.OK, "")
    assert arms.num == {"sparse": 1 + MIN_PAIRS, "dense": 1 + MIN_PAIRS}
    assert arms.order[:4] == ["sparse", "dense", "dense", "sparse"]


def test_uneven_rounds_go_on_until_the_interval_is_narrow_or_the_cap_is_reached():
    settling = Arms(lambda i: reply(1.0 if i > 3 else 1.15), lambda i: reply(3.0))
    outcome = run(settling, task(repeats=40))
    (speedup,) = [m for m in outcome.measurements if m.name == "speedup"]
    assert MIN_PAIRS < speedup.num_samples < 40
    assert (speedup.high - speedup.low) / 2 <= HALF_WIDTH * speedup.value
    noisy = run(Arms(lambda i: reply(1.0 + i % 2), lambda i: reply(3.0)), task(repeats=8))
    assert "after 8 pairs of rounds the speed-up is known to" in noisy.message


def test_on_a_cpu_other_load_does_not_decide():
    """Every second round of the sparse arm was held up by somebody else: its processor time says so."""
    arms = Arms(lambda i: reply(1.0 + 9.0 * (i % 2), 1.0, 0.25), lambda i: reply(2.0, 2.0, 1.0))
    found = {m.name: m.value for m in run(arms, task()).measurements}
    assert found["speedup"] == pytest.approx(2.0)
    assert found["speedup_attention"] == pytest.approx(4.0)
    assert found["attention_share"] == pytest.approx(0.5)
    assert found["speedup_wall"] < 1.0
    assert arms.num["sparse"] == 1 + MIN_PAIRS


def test_the_steps_of_a_round_are_no_samples_of_their_own():
    """Whole rounds are slow here; a hundred steps of each would make their median look sure."""
    slow = {i: 1.0 if i % 2 else 3.0 for i in range(20)}
    arms = Arms(lambda i: reply(1.0) | {"step_ms": [slow[i]] * 100}, lambda i: reply(3.0))
    found = {m.name: m for m in run(arms, task()).measurements}
    step = found["step_ms"]
    assert (step.value, step.low, step.high, step.num_samples) == (2.0, 1.0, 3.0, MIN_PAIRS)
    assert found["dense_step_ms"].num_samples == MIN_PAIRS


def test_without_a_processor_clock_the_wall_decides():
    found = {m.name for m in run(Arms(lambda i: reply(1.0), lambda i: reply(3.0)), task()).measurements}
    assert {"speedup", "speedup_wall"} <= found
    assert not {"speedup_attention", "attention_share"} & found


def test_a_round_without_a_sparse_read_is_no_measurement():
    assert run(Arms(lambda i: reply(1.0, pages=0.0), lambda i: reply(3.0)), task()).status is Status.NOT_SPARSE


@pytest.mark.parametrize(("least", "status"), [(7 / 32, Status.OK), (7.5 / 32, Status.WRONG_RESULT)])
def test_what_is_timed_reads_as_much_as_where_it_was_judged(least, status):
    arms = Arms(lambda i: reply(1.0, pages=7.0), lambda i: reply(3.0))
    outcome = run(arms, replace(task(), least_read=least))
    assert outcome.status is status
    assert (outcome.message == "") is (status is Status.OK)


def test_the_clock_counts_a_call_once_and_leaves_no_trace():
    class Impl:
        def forward(self, n):
            return self.forward_mqa(n)

        def forward_mqa(self, n):
            return sum(i * i for i in range(n))

    layer = SimpleNamespace(impl=Impl())
    with AttentionClock([layer]) as clock:
        assert layer.impl.forward(200_000) == Impl().forward(200_000)
        once = clock.read()
    assert once > 0
    assert not vars(layer.impl)
    layer.impl.forward(200_000)
    assert clock.read() == once
