"""Which published rules are confirmed beside the leaders."""

import pytest

from search.parents import GIVEN, REFERENCE, SEED, leaders, rivals
from search.records import (
    Candidate,
    Evaluation,
    EvaluationKey,
    Measurement,
    Proposal,
    Record,
    Stage,
    Status,
    Workload,
)

RATIO = 8.0
DECODED = Workload(Stage.FIDELITY, 200, 8, num_decoded=9, ratio=RATIO)
STEADY = (0.9, 1.0, 1.1, 1.0, 0.9, 1.0, 1.1, 1.0)  # of eight texts
WILD = (0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 7.3)


def rule(step, kl, operator="mutate", strays=STEADY, proposer="x"):
    """Give a rule with a mean KL, and how often its texts lose that."""

    def evaluation(stage, workload, *measurements):
        key = EvaluationKey(f"p{step}", stage, workload, "m", "e", "1", 0)
        return Evaluation(key, Status.OK, measurements=measurements, ratio=RATIO)

    texts = (Measurement(f"kl_text_{i}", kl * each) for i, each in enumerate(strays))
    evaluations = (
        evaluation(Stage.CHECK, "w", Measurement("cost_ratio", RATIO)),
        evaluation(Stage.FIDELITY, DECODED.digest, Measurement("kl", kl), *texts),
    )
    candidate = Candidate(
        1, step, Proposal(f"{step}", proposer, operator), Status.OK, program_digest=f"p{step}", id=step + 1
    )
    return Record(candidate, evaluations)


PUBLISHED = [rule(0, 0.012, SEED), rule(1, 0.013, SEED), rule(2, 0.05, SEED), rule(3, 0.08, SEED, WILD)]


def told(records, *given):
    return [each.record.candidate.step for each in rivals(records, *given)]


def test_the_best_published_rules_are_confirmed_beside_leaders():
    assert told([*PUBLISHED, rule(4, 0.005)]) == [0, 1]


@pytest.mark.parametrize("beside", [[], [rule(5, 0.0, REFERENCE)]])
def test_where_all_are_decoded_so_is_who_may_not_be_behind(beside):
    """Its mean is sixteen times the leader's, by one text of eight."""
    assert told([*PUBLISHED, *beside, rule(4, 0.005)], "", {RATIO: DECODED}) == [0, 1, 3]


def test_the_more_rules_were_found_the_surer_a_lead_has_to_be():
    strays = (0.5, 1.5, 0.5, 1.5, 0.5, 1.5, 0.5, 1.5)
    records = [*PUBLISHED[:3], rule(3, 0.02, SEED, strays), rule(4, 0.005)]
    worse = [rule(step, 0.5) for step in range(5, 105)]
    assert told(records, "", {RATIO: DECODED}) == [0, 1]
    assert told([*records, *worse], "", {RATIO: DECODED}) == [0, 1, 3]


def test_beside_a_published_leader_nobody_has_to_be_shown_behind():
    records = [rule(0, 0.001, SEED), *PUBLISHED[1:], rule(4, 0.5)]
    assert [each.record.candidate.step for each in leaders(records)] == [0]
    assert told(records, "", {RATIO: DECODED}) == [1]


def test_who_has_no_pairs_with_a_leader_is_confirmed():
    alone = Record(PUBLISHED[2].candidate, PUBLISHED[2].evaluations[:1] + tuple(
        Evaluation(e.key, e.status, measurements=e.measurements[:1], ratio=RATIO) for e in PUBLISHED[2].evaluations[1:]
    ))  # fmt: skip
    assert told([*PUBLISHED[:2], alone, rule(4, 0.005)], "", {RATIO: DECODED}) == [0, 1, 2]


def test_what_a_person_gives_is_no_published_rule():
    """It takes none of their places, and where it leads those that are in doubt are confirmed beside it."""
    given = [rule(step, kl, SEED, proposer=GIVEN) for step, kl in ((4, 0.005), (5, 0.011), (6, 0.0115))]
    assert told([*PUBLISHED, *given], "", {RATIO: DECODED}) == [0, 1, 3]
