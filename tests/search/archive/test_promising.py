"""Who may breed: the best few by each figure, against a sort of all."""

import random

from search.archive.archivist import archive_of
from search.archive.promising import NUM_KEPT, Promising
from search.config import CampaignConfig
from search.parents import REFERENCE
from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status


def record(step, status=Status.OK, operator="mutate", signature="", **masses):
    figures = {Stage.CHECK: {"cost_ratio": 8.5}} | {Stage(stage): {"mass": mass} for stage, mass in masses.items()}
    found = tuple(
        Evaluation(
            EvaluationKey("p", stage, "w", "m", "e", "1", 0),
            Status.OK if stage is Stage.CHECK else status,
            "",
            tuple(Measurement(*each) for each in taken.items()),
            answers=signature if stage is Stage.SCREEN else "",
            ratio=8.0,
        )
        for stage, taken in figures.items()
    )
    return Record(Candidate(1, step, Proposal("", "x", operator), Status.OK, program_digest=f"p{step}"), found)


def test_the_best_by_each_figure_are_kept():
    rng, promising, told = random.Random(0), Promising(), []
    for step in range(100):
        screened = rng.random()
        recalled = rng.random() if screened > 0.5 else None
        lost = rng.random() if recalled and recalled > 0.5 else None
        told.append((screened, recalled, lost))
        masses = {"screen": screened} | ({"recall": recalled} if recalled else {})
        promising.add(record(step, **masses), 8.0, lost)
        signs = (-1, -1, 1)
        best = [
            sorted((sign * each[i], at) for at, each in enumerate(told) if each[i] is not None)[:NUM_KEPT]
            for i, sign in enumerate(signs)
        ]
        assert set(promising.steps) == {at for kept in best for _, at in kept}


def test_yardsticks_failures_what_is_not_told_and_second_ones_of_a_behaviour_do_not_breed():
    records = [
        record(0, screen=0.5, signature="aa"),
        record(1, screen=0.9, signature="aa"),
        record(2, screen=0.8, operator=REFERENCE),
        record(3, screen=0.8, status=Status.CRASHED),
        record(4, screen=float("nan")),
        record(5),
        record(6, screen=0.4, signature="bb"),
    ]
    assert archive_of(records, CampaignConfig()).promising == {8.0: (0, 6)}
