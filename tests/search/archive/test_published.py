"""The published rules of a campaign wait for each other, and are compared before they take an engine's time."""

from dataclasses import replace

from search.archive.archive import NUM_LEADERS
from search.archive.archivist import archive_of
from search.archive.published import Published
from search.config import CampaignConfig
from search.parents import GIVEN, REFERENCE, SEED
from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status
from search.stages import next_workload
from search.workloads import workloads_for

REAL = CampaignConfig(ratios=(8, 16), workloads=workloads_for(0), num_layers=30, recall_share=0.2)
HALF = replace(REAL, published_share=0.5)
NUM_TEXTS = 6


def evaluation(stage, ratio=0.0, **figures):
    taken = tuple(Measurement(name, value) for name, value in figures.items())
    return Evaluation(EvaluationKey("p", stage, "w", "m", "e", "1", 0), Status.OK, "", taken, ratio=ratio)


def rule(step, recall=None, raced=None, proposer="zoo", operator=SEED):
    """A rule as far as it got: `raced` is what it lost in its races, the same at both cost ratios."""
    both = (8.0, 16.0)
    done = [evaluation(stage, ratio) for stage in (Stage.CHECK, Stage.SCREEN) for ratio in both]
    if recall is not None:
        done += [evaluation(Stage.RECALL, ratio, mass=0.5, random_mass=0.1, recall=recall) for ratio in both]
    if raced is not None:
        texts = {f"kl_text_{i}": raced * (1 + i / 10) for i in range(NUM_TEXTS)}
        done += [evaluation(Stage.ORACLE), *(evaluation(Stage.RACE, ratio, kl=raced, **texts) for ratio in both)]
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
    """It may be among them in the end; whoever waited for that must not wait for the races, of which it runs one."""
    records = [rule(0, 0.3), rule(1, 0.4), rule(2), rule(3)]
    published = Published(records, HALF, num_given=4)
    assert following(records[0], published, HALF) is None
    assert published.delays(records[0], None)
    records[2:] = [rule(2, 0.1), rule(3, 0.2)]
    assert published.freed() == [0]
    assert following(records[0], published, HALF) is Stage.ORACLE
    assert not published.delays(records[0], HALF.workload(Stage.ORACLE))


def test_they_wait_for_each_others_races_before_texts_are_decoded():
    records = [rule(0, 0.4, 0.1), rule(1, 0.4), rule(2, 0.3, 0.2, GIVEN)]
    published, fidelity = Published(records, REAL, num_given=3), REAL.workload(Stage.FIDELITY, 8.0)
    assert not published.delays(records[1], REAL.workload(Stage.RACE, 8.0))
    assert [published.delays(each, fidelity) for each in records] == [True, True, False]
    assert published.freed() == [0, 1]  # now that recall is known, which changes nothing for them
    assert published.delays(records[0], None)  # it may be less behind in the end
    assert published.delays(records[1], fidelity)
    assert published.freed() == []
    records[1] = rule(1, 0.4, 0.1)
    assert published.freed() == [0, 1]


def test_who_is_surely_behind_the_last_of_the_leaders_is_asked_questions_and_decodes_no_more():
    lost = [0.1, 0.2, 0.3, 0.31, 0.6]
    records = [rule(step, 0.4, raced) for step, raced in enumerate(lost)]
    records += [rule(5, 0.4, 0.9, GIVEN), rule(6, 0.4, 0.05)]
    published = Published(records, REAL, num_given=7)
    best = sorted(range(len(lost)), key=lost.__getitem__)[: NUM_LEADERS - 1]  # the last one is even better
    goes_on = [following(each, published) is Stage.FIDELITY for each in records]
    assert goes_on == [step in (*best, 5, 6) for step in range(7)]
    assert following(records[4], published) is Stage.RETRIEVAL
    assert all(following(each, Published(records[:2], REAL, num_given=2)) is Stage.FIDELITY for each in records)


def test_a_race_that_came_to_no_number_is_nothing_to_beat():
    records = [rule(step, 0.4, raced) for step, raced in enumerate([float("nan"), 0.1, 0.2, 0.6])]
    published = Published(records, REAL, num_given=4)
    assert all(following(each, published) is Stage.FIDELITY for each in records)  # two are too few to be behind
