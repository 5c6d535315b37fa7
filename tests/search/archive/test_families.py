"""Families: programs by their oldest ancestor, and what came of them."""

from dataclasses import replace

from search.archive.families import ancestor, families
from search.parents import REFERENCE
from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status


def record(step, parents=(), kl=None, operator="mutate"):
    digest = f"p{step}"
    key = EvaluationKey(digest, Stage.FIDELITY, "w", "m", "e", "1", 0)
    status = Status.CRASHED if kl is None else Status.OK
    measured = () if kl is None else (Measurement("kl", kl),)
    proposal = Proposal(f"text {step}", "llm", operator, tuple(f"p{parent}" for parent in parents))
    evaluation = Evaluation(key, status, measurements=measured, ratio=8.0)
    return Record(Candidate(1, step, proposal, Status.OK, "", digest, f"Rule{step}"), (evaluation,))


def test_descendants_count_for_the_oldest_on_the_first_side():
    records = [
        record(0, kl=0.5),
        record(1, kl=0.4),
        record(2, (1, 0), 0.2),
        record(3, (2,)),
        record(4, kl=0.0, operator=REFERENCE),
    ]
    first, second = families(records, (8.0, 16.0))
    assert (first.name, len(first.records), first.num_failed, first.best) == ("Rule1", 3, 1, {8.0: (0.2, "Rule2")})
    assert (second.name, len(second.records), second.best) == ("Rule0", 1, {8.0: (0.5, "Rule0")})


def test_an_unknown_parent_and_a_circle_end_the_search():
    lost, own = record(5, (9,)), record(6, (6,))
    assert ancestor(lost, {"p5": lost}) is lost
    assert ancestor(own, {"p6": own}) is own


def test_what_repeats_a_program_is_of_its_family_and_what_only_went_no_further_has_not_failed():
    first, again = record(0, kl=0.5), record(1, kl=0.5)
    again = replace(again, candidate=replace(again.candidate, program_digest="p0", status=Status.DUPLICATE))
    slow = record(2, (0,))
    slow = replace(slow, evaluations=(replace(slow.evaluations[0], status=Status.BELOW_GATE),))
    (family,) = families([first, again, slow], (8.0,))
    assert family.records == (first, again, slow)
    assert family.num_failed == 1
