"""Candidates are compared where they were asked the same, and with those that came before them."""

import numpy as np
import pytest

from search.behaviour import nearest_earlier, sketch, sketched
from search.records import Candidate, Evaluation, EvaluationKey, Proposal, Record, Stage, Status


def record(step, *screens):
    """Give a candidate with signatures by ratio, under a workload for each."""
    evaluations = tuple(
        Evaluation(
            EvaluationKey(f"p{step}", Stage.SCREEN, f"w{ratio}", model, "e", "1", 0),
            Status.OK,
            answers=answers,
            ratio=ratio,
        )
        for ratio, answers, model in screens
    )
    candidate = Candidate(1, step, Proposal("", "grammar", "mutate"), Status.OK, "", f"p{step}", f"Rule{step}", step)
    return sketched(Record(candidate, evaluations))


PLACES = np.arange(800)
SAME, NEAR, FAR = sketch(PLACES, PLACES), sketch(PLACES[:700], PLACES[:700]), sketch(PLACES, PLACES + 1)


def test_the_nearest_is_sought_among_earlier_candidates_on_the_same_queries():
    mine = record(5, (8.0, SAME, "m"), (16.0, SAME, "m"))
    others = [
        record(0, (8.0, FAR, "m"), (16.0, FAR, "m")),
        record(1, (8.0, NEAR, "m")),
        record(2, (8.0, SAME, "another model"), (32.0, SAME, "m")),
        record(3),
        mine,
        record(6, (8.0, SAME, "m")),
    ]
    found = nearest_earlier(mine, others)
    assert [(each.candidate.step, each.ratio) for each in found] == [(1, 8.0), (0, 16.0)]
    assert found[0].likeness == pytest.approx(700 / 800, abs=0.08)
    assert found[1].likeness < 0.15
    assert nearest_earlier(record(5), others) == nearest_earlier(others[0], others) == []
