"""Stop rules: from settled records alone, so at the same step whoever measures and however often it is resumed."""

from dataclasses import replace

import pytest

from search.agents.baselines import Random
from search.campaigns.stopping import Stopping, reason_to_stop
from search.campaigns.target import TargetError, parse_target
from search.config import CampaignConfig, ConfigError
from search.loop import Loop, start_campaign
from search.outcome import End
from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status
from search.store.ledger import SqlLedger
from search.workloads import workloads_for

CONFIG = CampaignConfig(num_candidates=50, ratios=(4, 8), workloads=workloads_for(0), num_layers=30)


def record(step, kl=None, ratio=8.0, speedup=None, operator="mutate", status=Status.OK, elapsed_s=1.0):
    """A record that was checked, and judged where a figure is given."""
    figures = {Stage.CHECK: ("operations", 1.0)}
    figures |= {Stage.FIDELITY: ("kl", kl)} if kl is not None else {}
    figures |= {Stage.SERVE: ("speedup", speedup)} if speedup is not None else {}
    evaluations = tuple(
        Evaluation(
            EvaluationKey(f"{step:016}", stage, "w", "m", "e", "1", 0), status, "", (Measurement(*figure),),
            elapsed_s=elapsed_s, ratio=ratio,
        )
        for stage, figure in figures.items()
    )  # fmt: skip
    proposal = Proposal("text\n", "grammar", operator)
    return Record(Candidate(1, step, proposal, Status.OK, "", f"{step:016}", f"Rule{step}"), evaluations)


def test_nothing_stops_a_campaign_without_rules():
    assert reason_to_stop(CONFIG, [record(step, 0.0) for step in range(40)]) == ""


def test_records_are_not_read_where_nothing_could_stop_a_campaign():
    class Unread(list):
        def __getitem__(self, step):
            raise AssertionError(f"record {step} was read")

    assert reason_to_stop(CONFIG, Unread([record(0, 0.0)])) == ""
    with pytest.raises(AssertionError, match="record 0"):
        reason_to_stop(replace(CONFIG, patience=3), Unread([record(0, 0.0)]))


@pytest.mark.parametrize(
    ("target", "reached"),
    [
        ("kl < 0.05", [0.2, 0.06, 0.04]),
        ("kl<=.05 at 8", [0.2, 0.051, 0.05]),
        ("KL_not", None),
        ("kl < 5e-2 at 8x", [0.05, 0.049]),
        ("kl > 0.3 at 8.0", [0.2, 0.31]),
    ],
)
def test_a_target_stops_at_the_rule_that_reaches_it(target, reached):
    if reached is None:
        with pytest.raises(TargetError):
            parse_target(target)
        return
    config, records = replace(CONFIG, stop_at=target), [record(step, kl) for step, kl in enumerate(reached)]
    assert reason_to_stop(config, records[:-1]) == ""
    reason = reason_to_stop(config, records)
    assert f"Rule{len(reached) - 1} of step {len(reached) - 1} reaches the target '{target}': kl" in reason


def test_all_of_a_target_is_reached_at_one_cost_ratio():
    config = replace(CONFIG, stop_at="kl < 0.05 and speedup > 1.2")
    accurate, fast = record(0, 0.01, 4.0), record(0, 0.5, 8.0, 2.0)
    both = replace(accurate, evaluations=(*accurate.evaluations, *fast.evaluations))
    assert reason_to_stop(config, [both]) == ""
    assert "speedup 1.3 at 4x" in reason_to_stop(config, [record(0, 0.01, 4.0, 1.3)])


def test_a_target_is_not_reached_elsewhere_by_a_yardstick_or_by_what_failed():
    config = replace(CONFIG, stop_at="kl < 0.05 at 8")
    others = [record(0, 0.01, 4.0), record(1, 0.0, operator="reference"), record(2, 0.01, status=Status.TIMED_OUT)]
    assert reason_to_stop(config, others) == ""
    assert reason_to_stop(config, [*others, record(3, 0.01, operator="seed")])


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("kl", "compares no figure with a number"),
        ("kl = 3", "compares no figure"),
        ("kl < x", "compares no figure"),
        ("kl < 1 or kl > 2", "compares no figure"),
        ("spedup > 1", "did you mean 'speedup'?"),
        ("latency < 1", "there are recall, mass, kl"),
        ("kl < 1 " * 60, "at most 200 characters"),
        ("kl < 0.05 at 16", "ratios are 4, 8"),
        ("accuracy > 0.9", "is a figure of stage probe"),
    ],
)
def test_what_could_never_be_reached_is_refused(target, says):
    with pytest.raises(ConfigError, match="stop_at") as refused:
        replace(CONFIG, stop_at=target)
    assert says in str(refused.value)


def test_patience_counts_invented_candidates_since_anything_got_better():
    config = replace(CONFIG, patience=3)
    losses = [0.5, 0.6, 0.7, 0.4, 0.45, None, 0.41]
    records = [record(step, kl) for step, kl in enumerate(losses)]
    assert [bool(reason_to_stop(config, records[:n])) for n in range(len(records) + 1)] == [False] * 7 + [True]
    assert "last 3 candidates" in reason_to_stop(config, records)


def test_another_cost_ratio_is_progress_and_seeds_and_refused_ones_do_not_count():
    config = replace(CONFIG, patience=2)
    assert reason_to_stop(config, [record(0, 0.5), record(1, 0.6), record(2, 0.9, 4.0), record(3, 0.6)]) == ""
    assert reason_to_stop(config, [record(0, 0.5), *(record(step, 0.6, operator="seed") for step in range(1, 9))]) == ""
    refused = Record(Candidate(1, 1, Proposal("(\n", "llm", "explore"), Status.PROGRAM_ERROR, "bad"))
    assert reason_to_stop(config, [record(0, 0.5), *[refused] * 8]) == ""


def test_seconds_are_those_of_workers_without_checks():
    config = replace(CONFIG, max_worker_seconds=10.0)
    records = [record(step, 0.5, elapsed_s=3.0) for step in range(4)]
    assert reason_to_stop(config, records[:3]) == ""
    assert "10 s" in reason_to_stop(config, records)


def test_reading_ahead_gives_no_reason_too_early():
    """A question asked ahead of its turn looks further than the next step does."""
    rules = Stopping(replace(CONFIG, stop_at="kl < 0.05"))
    records = [record(0, 0.5), record(1, 0.01), record(2, 0.5)]
    assert rules.reason(records)
    assert rules.reason(records[:1]) == ""
    assert rules.reason(records[:2])


SMALL = replace(
    CONFIG, seed=2, num_candidates=60, seeds=("dense", "quest", "centroid"), proposers=("random",), lag=6,
    recall_share=1.0,
)  # fmt: skip


@pytest.fixture
def steady(fake):
    """Evaluators whose evaluations take what their program says, and not what luck does."""

    class Steady(fake):
        def _run(self, task):
            found = super()._run(task)
            return replace(found, elapsed_s=1.0 + int(task.key.program_digest, 16) % 5)

    return Steady


@pytest.mark.parametrize(
    "rule", [{"patience": 8}, {"max_worker_seconds": 300.0}, {"stop_at": "kl < 0.08 at 8"}], ids=str
)
def test_a_campaign_stops_at_one_step_whoever_measures_and_however_often_it_is_resumed(tmp_path, steady, rule):
    config, ends = replace(SMALL, **rule), []
    for name, num_workers, crash_after in (("one", 1, None), ("eight", 8, None), ("killed", 4, 30)):
        ledger = SqlLedger(f"sqlite:///{tmp_path / name}.db")
        campaign = start_campaign(ledger, config)
        if crash_after:
            with pytest.raises(RuntimeError, match="killed"):
                Loop(ledger, steady(num_workers, crash_after=crash_after), [Random()], campaign).run()
        outcome = Loop(ledger, steady(num_workers, shuffle=num_workers), [Random()], campaign).run()
        again = Loop(ledger, steady(num_workers), [Random()], campaign).run()
        assert (outcome.end, again.num_steps) == (End.DONE, outcome.num_steps)
        ends.append((outcome.num_steps, outcome.message))
        ledger.close()
    assert ends[0] == ends[1] == ends[2]
    assert 3 < ends[0][0] < 63
    assert ends[0][1]
