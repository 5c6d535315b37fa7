"""The published rules of a campaign wait for each other, and are compared before they take an engine's time."""

from dataclasses import replace

from search.archive.archivist import archive_of
from search.archive.published import Published
from search.config import CampaignConfig
from search.parents import GIVEN, REFERENCE, SEED
from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status
from search.stages import next_workload
from search.workloads import workloads_for

REAL = CampaignConfig(ratios=(8, 16), workloads=workloads_for(0), num_layers=30, recall_share=0.2)
HALF = replace(REAL, published_share=0.5)


def evaluation(stage, ratio=0.0, **figures):
    taken = tuple(Measurement(name, value) for name, value in figures.items())
    return Evaluation(EvaluationKey("p", stage, "w", "m", "e", "1", 0), Status.OK, "", taken, ratio=ratio)


def rule(step, recall=None, proposer="zoo", operator=SEED):
    """A rule as far as it got."""
    both = (8.0, 16.0)
    done = [evaluation(stage, ratio) for stage in (Stage.CHECK, Stage.SCREEN) for ratio in both]
    if recall is not None:
        done += [evaluation(Stage.RECALL, ratio, mass=0.5, random_mass=0.1, recall=recall) for ratio in both]
    candidate = Candidate(1, step, Proposal("", proposer, operator), Status.OK, program_digest="p")
    return Record(candidate, tuple(done))


def following(record, published, config=REAL):
    """The next stage, None where there is none."""
    workload = next_workload(record, archive_of((), config), config, published)
    return workload and workload.stage


def test_the_best_enter_an_engine_once_all_are_compared():
    records = [rule(step, recall) for step, recall in enumerate([0.1, 0.4, 0.3, 0.2])]
    refused = Record(Candidate(1, 4, Proposal("", "zoo", SEED), Status.DUPLICATE))
    records += [refused, rule(5, 0.05, proposer=GIVEN), rule(6, 0.01, operator=REFERENCE)]
    published, oracle = Published(records, HALF, num_given=7), HALF.workload(Stage.ORACLE)
    assert not any(published.delays(each, oracle) for each in records)
    assert [published.enter(each, 8.0) for each in records if each is not refused] == [False, True, True, False, 1, 1]
    assert [following(each, published, HALF) for each in records[:4]] == [None, Stage.ORACLE, Stage.ORACLE, None]
    assert all(Published(records, REAL, num_given=7).enter(each, 8.0) for each in records)


def test_they_wait_for_each_others_recall_and_nobody_for_them():
    records = [rule(0, 0.4), rule(1), rule(2, proposer=GIVEN)]
    published, oracle = Published(records, HALF, num_given=3), HALF.workload(Stage.ORACLE)
    assert [published.delays(each, oracle) for each in records] == [True, True, False]
    assert not published.delays(records[0], HALF.workload(Stage.RECALL, 8.0))
    assert not Published(records, REAL, num_given=3).delays(records[0], oracle)  # as all of them enter
    assert published.freed() == []
    records[1] = rule(1, 0.2)
    assert (published.freed(), published.freed()) == ([0, 1], [])
    assert not published.delays(records[0], oracle)
    late = Published(records, HALF, num_given=4)  # one is not even proposed
    assert late.delays(records[0], oracle)


def test_who_is_not_among_the_best_so_far_is_looked_at_again_when_all_are_compared():
    """It may be among them in the end."""
    records = [rule(0, 0.3), rule(1, 0.4), rule(2), rule(3)]
    published = Published(records, HALF, num_given=4)
    assert following(records[0], published, HALF) is None
    assert published.delays(records[0], None)
    records[2:] = [rule(2, 0.1), rule(3, 0.2)]
    assert published.freed() == [0]
    assert following(records[0], published, HALF) is Stage.ORACLE
    assert not published.delays(records[0], HALF.workload(Stage.ORACLE))
