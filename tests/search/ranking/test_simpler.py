"""Who takes the place of the leader that it simplifies."""

import pytest

from search.parents import leaders
from search.ranking.simpler import SIMPLER, replaced, stands_for, takes_over
from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status

LONG = (1.0, 1.2, 0.9, 1.1, 1.0, 1.3)


def record(step, texts=LONG, marks="11110000", operations=10, speedup=None, kl=None):
    """A candidate at a cost ratio of 8: its KL text by text, its answers, its operations and its speed."""
    operator = SIMPLER if step else "explore"
    kl = sum(texts) / len(texts) if kl is None else kl
    of_texts = [Measurement(f"kl_text_{i}", value) for i, value in enumerate(texts)]
    figures = {
        Stage.CHECK: [Measurement("operations", operations), Measurement("cost_ratio", 8.0)],
        Stage.FIDELITY: [Measurement("kl", kl, 0.8 * kl, 1.2 * kl), *of_texts],
        Stage.RETRIEVAL: [Measurement("accuracy", marks.count("1") / len(marks), 0.1, 0.9)],
        Stage.SERVE: [Measurement("speedup", speedup, speedup - 0.1, speedup + 0.1)] if speedup else [],
    }
    evaluations = tuple(
        Evaluation(key(step, stage), Status.OK, "", tuple(found), marks if stage is Stage.RETRIEVAL else "", ratio=8.0)
        for stage, found in figures.items()
        if found
    )
    parents = ("p0",) if step else ()
    return Record(
        Candidate(1, step, Proposal("", "", operator, parents), Status.OK, program_digest=f"p{step}"), evaluations
    )


def key(step, stage):
    return EvaluationKey(f"p{step}", stage, "w", "m", "e", "1", 0)


def led(records):
    return [each.record.candidate.step for each in leaders(records)]


def test_of_equals_the_shorter_leads_however_young():
    longer, simpler = record(0), record(5, operations=7)
    assert led([longer, simpler]) == [5]
    assert replaced([longer, simpler], 8.0) == {0}
    assert stands_for(simpler, [longer, simpler], 8.0) is longer
    assert stands_for(longer, [longer, simpler], 8.0) is None
    assert replaced([longer, simpler], 4.0) == set()


@pytest.mark.parametrize(
    ("simpler", "takes"),
    [
        ({}, True),
        ({"operations": 12}, False),
        ({"texts": [kl + 0.1 for kl in LONG]}, False),  # everywhere a little, and well within the intervals
        ({"texts": [kl - 0.1 for kl in LONG]}, True),
        ({"texts": [1.3, 1.0, 1.0, 1.0, 1.2, 1.1]}, True),  # as often better as worse
        ({"texts": (), "kl": 1.2}, True),  # no pairs, intervals overlap
        ({"texts": (), "kl": 2.0}, False),
        ({"marks": "11110000"}, True),
        ({"marks": "00000000"}, False),
        ({"speedup": 2.0}, True),
        ({"speedup": 1.0}, False),
    ],
)
def test_it_takes_the_place_unless_it_is_told_apart_to_be_worse(simpler, takes):
    longer = record(0, speedup=2.1)
    assert takes_over(record(5, **{"operations": 8, **simpler}), longer, 8.0) is takes


def test_what_was_not_measured_tells_against_it_but_for_speed():
    longer, whole = record(0, speedup=2.0), record(5)
    assert takes_over(whole, longer, 8.0)
    assert not takes_over(Record(whole.candidate, whole.evaluations[:2]), longer, 8.0)
