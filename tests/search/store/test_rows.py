"""From rows to values: one order on every database."""

from itertools import permutations

from search.records import Evaluation, EvaluationKey, Stage, Status
from search.store.rows import Judged, in_order


def judged(environment="e", version="1", model="m", program="p"):
    key = EvaluationKey(program, Stage.FIDELITY, "w", model, environment, version, 0)
    return Judged(Evaluation(key, Status.OK), "search", "device", "float32", (100,))


def test_what_was_measured_once_more_after_an_upgrade_has_one_order_however_rows_come():
    found = [judged(), judged(version="2"), judged(model="n"), judged(program="q")]
    orders = {tuple(each.evaluation.key for each in in_order(list(items))) for items in permutations(found)}
    assert len(orders) == 1


def test_the_machine_that_has_most_comes_first():
    here, there = [judged("z"), judged("z", program="q")], [judged("a")]
    assert [each.evaluation.key.environment_digest for each in in_order([*there, *here])] == ["z", "z", "a"]
