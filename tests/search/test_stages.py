"""The gates, one by one."""

import pytest

from search.config import CampaignConfig
from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status
from search.stages import SEED, next_stage

CONFIG = CampaignConfig(serve_floor=0.5)


def record(*results, operator="mutate", status=Status.OK):
    evaluations = tuple(
        Evaluation(
            EvaluationKey("p", stage, "w", "m", "e", "1", 0),
            result,
            measurements=tuple(Measurement(name, value) for name, value in figures.items()),
        )
        for stage, result, figures in results
    )
    return Record(Candidate(1, 0, Proposal("", "x", operator), status, program_digest="p"), evaluations)


def through(last, status=Status.OK, **figures):
    """All stages up to one, the last with these results."""
    before = [(stage, Status.OK, {}) for stage in CONFIG.stages[: CONFIG.stages.index(last)]]
    return [*before, (last, status, figures)]


@pytest.mark.parametrize("status", [Status.PROGRAM_ERROR, Status.DUPLICATE, Status.INFRASTRUCTURE])
def test_refused_candidates_have_no_stage(status):
    assert next_stage(record(status=status), CONFIG) is None


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ([], Stage.CHECK),
        (through(Stage.CHECK), Stage.RECALL),
        (through(Stage.RECALL, mass=0.5, random_mass=0.4), Stage.ORACLE),
        (through(Stage.ORACLE), Stage.PROBE),
        (through(Stage.RECALL, mass=0.4, random_mass=0.4), None),
        (through(Stage.PROBE, accuracy=0.5), Stage.SERVE),
        (through(Stage.PROBE, accuracy=0.49), None),
        (through(Stage.SERVE), None),
    ],
)
def test_the_next_stage(done, expected):
    assert next_stage(record(*done), CONFIG) is expected


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK])
def test_what_fails_stops(status):
    assert next_stage(record(*through(Stage.ORACLE, status)), CONFIG) is None


def test_seeds_pass_every_gate_and_no_failure():
    assert next_stage(record(*through(Stage.RECALL, mass=0.1, random_mass=0.4), operator=SEED), CONFIG) is Stage.ORACLE
    assert next_stage(record(*through(Stage.PROBE, accuracy=0.0), operator=SEED), CONFIG) is Stage.SERVE
    assert next_stage(record(*through(Stage.RECALL, Status.BELOW_GATE), operator=SEED), CONFIG) is Stage.ORACLE
    assert next_stage(record(*through(Stage.PROBE, Status.CRASHED), operator=SEED), CONFIG) is None
