"""The archive, record by record, against what its words mean for a whole list of records."""

import itertools
import math
import random
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.archive.archive import SECONDS_OF_A_DOLLAR, Archive, Earned, Point
from search.archive.archivist import LEAST_GOING_ON, NUM_TIMED, TYPICAL_S, Archivist, archive_of
from search.archive.fronts import front_of, hypervolume
from search.archive.speeds import fit_speed, speedup
from search.config import CampaignConfig
from search.parents import REFERENCE, front, is_sparse, leaders, loss
from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status

CONFIG = CampaignConfig(screen_share=0.3, recall_share=0.5)
RATIOS = (8.0, 16.0)
NAMES = {
    Stage.CHECK: "cost_ratio",
    Stage.SCREEN: "recall",
    Stage.RECALL: "recall",
    Stage.RACE: "kl",  # of an older ledger
    Stage.FIDELITY: "kl",
    Stage.SERVE: "speedup",
}
# Few values, so that there are ties.
VALUES = {
    Stage.CHECK: (1.5, 8.0, 8.5, 9.0, 17.0),
    Stage.SCREEN: (0.1, 0.2, 0.3, 0.5, 0.9, math.nan),
    Stage.RECALL: (0.1, 0.2, 0.3, 0.5, 0.9),
    Stage.RACE: (0.01, 0.02, 0.05),
    Stage.FIDELITY: (0.01, 0.02, 0.05, 0.1, 0.7, 1.5),
    Stage.SERVE: (0.8, 2.0, 2.1, 5.0),
}


@st.composite
def evaluations(draw):
    found = []
    for ratio in RATIOS:
        for stage in draw(st.sets(st.sampled_from(tuple(NAMES)))):
            value = draw(st.sampled_from(VALUES[stage]))
            status = draw(st.sampled_from((Status.OK,) * 6 + (Status.BELOW_GATE, Status.CRASHED)))
            key = EvaluationKey("p", stage, "w", "m", "e", "1", 0)
            signature = draw(st.sampled_from(("", "aa", "bb", "cc"))) if stage is Stage.SCREEN else ""
            figures = (Measurement(NAMES[stage], value, value * 0.9),)
            found.append(Evaluation(key, status, "", figures, answers=signature, elapsed_s=1.0, ratio=ratio))
    return tuple(found)


@st.composite
def histories(draw):
    """Draw records in step order, of a few operators and proposers."""
    records = []
    for step in range(draw(st.integers(0, 14))):
        operator = draw(st.sampled_from((REFERENCE, "seed", "random", "gate", "restore+gate", "gate+gate")))
        proposal = Proposal("", draw(st.sampled_from(("grammar", "greedy"))), operator)
        records.append(Record(Candidate(1, step, proposal, Status.OK, program_digest=f"p{step}"), draw(evaluations())))
    return records


def points(found):
    return [(point.step, point.loss) for point in found]


@settings(max_examples=60, deadline=None)
@given(histories())
def test_it_is_what_a_list_of_records_says_after_every_step(records):
    archivist = Archivist(CONFIG)
    for number in range(len(records) + 1):
        archive = archivist.archive
        seen = records[:number]
        assert archive.num_records == number
        for ratio in RATIOS:
            sparse = [r for r in seen if is_sparse(r, ratio)]
            # The fit is over all that was served, the front over what is sparse.
            expected = expected_front(sparse, ratio, fit_speed([r for r in seen if not is_reference(r)]))
            assert points(archive.fronts.get(ratio, ())) == points(expected)
            assert_bars(archive, seen, ratio)
            for signature in ("", "aa", "bb", "cc"):
                assert archive.twin(ratio, signature) == first_to_behave(seen, ratio, signature)
        if number < len(records):
            archivist.add(records[number])


def is_reference(record):
    return record.candidate.proposal.operator == REFERENCE


def failed(record):
    return any(e.status is Status.CRASHED for e in record.evaluations)


def expected_front(records, ratio, speed):
    """Those that no other one beats, by comparing each with each."""
    judged = [r for r in records if not is_reference(r) and not failed(r) and loss(r, ratio) is not None]

    def worth(record):
        cost = record.value(Stage.CHECK, "cost_ratio", ratio) or 0.0
        fast = speedup(record, ratio)
        return loss(record, ratio), speed(cost) if fast is None else fast, cost, record.candidate.step

    def beats(one, other):
        (lost, fast, cost, step), (their_loss, their_speed, their_cost, their_step) = one, other
        if lost > their_loss or fast < their_speed or one == other:
            return False
        return (lost, -fast, -cost, step) < (their_loss, -their_speed, -their_cost, their_step)

    all_of_them = [worth(r) for r in judged]
    kept = [one for one in all_of_them if not any(beats(other, one) for other in all_of_them)]
    return [Point(step, lost, cost, fast) for lost, fast, cost, step in sorted(kept)]


def assert_bars(archive, records, ratio):
    """A bar is reached by exactly those whom few enough of the records surpass."""
    others = [r for r in records if not is_reference(r)]
    for stage, share in ((Stage.SCREEN, CONFIG.screen_share), (Stage.RECALL, CONFIG.recall_share)):
        found = [x for r in others if (x := r.value(stage, "recall", ratio)) is not None and not math.isnan(x)]
        for value in (0.0, *VALUES[Stage.RECALL], 1.0):
            num_better = sum(other > value for other in found)
            expected = num_better < max(LEAST_GOING_ON, share * (len(found) + 1))
            assert (value >= archive.bar(stage, ratio)) == expected
    losses = [lost for r in others if (lost := loss(r, ratio, Stage.FIDELITY)) is not None]
    for value in (0.0, *VALUES[Stage.FIDELITY], 2.0):
        assert (-value > archive.bar(Stage.FIDELITY, ratio)) == (sum(lost <= value for lost in losses) < NUM_TIMED)


def first_to_behave(records, ratio, signature):
    for record in records:
        screened = record.evaluation(Stage.SCREEN, ratio)
        if is_reference(record) or failed(record) or screened is None or screened.status is not Status.OK:
            continue
        if signature and screened.answers == signature:
            return record.candidate.step
    return None


@settings(max_examples=60, deadline=None)
@given(histories())
def test_leaders_are_those_of_the_records(records):
    """Yardsticks aside, whose speed the list counts too when it fits speed to cost."""
    records = [r for r in records if not is_reference(r)]
    archive = archive_of([renumbered(r, i) for i, r in enumerate(records)], CONFIG)
    told = [(each.record.candidate.step, each.ratio) for each in leaders(records)]
    steps = [r.candidate.step for r in records]
    assert [(steps[p.step], ratio) for ratio in archive.ratios for p in archive.leaders(ratio)] == told


def renumbered(record, step):
    candidate = record.candidate
    return Record(Candidate(1, step, candidate.proposal, candidate.status, program_digest="p"), record.evaluations)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_what_is_earned_adds_up(records):
    """Gains add up to the hypervolume as long as nothing served changes it; seconds to all stages'."""
    records = [Record(r.candidate, tuple(e for e in r.evaluations if e.key.stage is not Stage.SERVE)) for r in records]
    archive = archive_of(records, CONFIG)
    mine = [r for r in records if not is_reference(r)]
    for earned in (archive.operators, archive.proposers, archive.pairs):
        for ratio in RATIOS:
            whole = hypervolume(archive.fronts.get(ratio, ()))
            assert sum(each.gains.get(ratio, 0.0) for each in earned.values()) == pytest.approx(whole)
        seconds = sum(max(0.03, sum(TYPICAL_S[e.key.stage] for e in r.evaluations)) for r in mine)
        assert sum(each.typical_s for each in earned.values()) == pytest.approx(seconds)
        assert all(gain >= -1e-12 for each in earned.values() for gain in each.gains.values())
    for name in ("gate", "restore"):
        made = [r for r in mine if name in r.candidate.proposal.operator.split("+")]
        assert archive.operators.get(name, Earned()).num_candidates == len(made)


def test_operators_are_told_apart_by_who_used_them():
    """What a language model earned by crossing is not what the grammar did, and dollars are the model's."""
    proposals = [
        Proposal("", "grammar", "cross"),
        Proposal("", "llm", "cross", dollars=0.25),
        Proposal("", "llm", "tune"),
    ]
    records = [Record(Candidate(1, i, each, Status.PROGRAM_ERROR)) for i, each in enumerate(proposals)]
    archive = archive_of(records, CONFIG)
    assert archive.operators["cross"].num_candidates == 2
    assert archive.operators_of(("grammar",)) == {"cross": Earned(1, {}, 0.03)}
    assert archive.operators_of(("llm",)) == {"cross": Earned(1, {}, 0.03, 0.25), "tune": Earned(1, {}, 0.03)}
    both = archive.operators_of(("grammar", "llm"))["cross"]
    assert (both.num_candidates, both.dollars) == (2, 0.25)
    assert both.cost_s == pytest.approx(0.06 + 0.25 * SECONDS_OF_A_DOLLAR)


def decoded(step, lost):
    """A rule that was judged at a cost ratio of 8."""
    figures = {"cost_ratio": (Stage.CHECK, 9.0), "kl": (Stage.FIDELITY, lost)}
    done = [of_stage(stage, Measurement(name, value)) for name, (stage, value) in figures.items()]
    proposal = Proposal("", "grammar", "mutate")
    return Record(Candidate(1, step, proposal, Status.OK, program_digest=f"p{step}"), tuple(done))


def of_stage(stage, *figures):
    return Evaluation(EvaluationKey("p", stage, "w", "m", "e", "1", 0), Status.OK, "", figures, ratio=8.0)


@settings(max_examples=30, deadline=None)
@given(histories(), histories())
def test_a_branch_goes_on_by_itself(mine, its):
    """Neither knows what only the other was told."""
    known = [decoded(step, lost) for step, lost in enumerate((0.4, 0.3, 0.5, 0.6))]
    mine, its = ([*each, decoded(0, lost)] for each, lost in ((mine, 0.2), (its, 0.1)))
    mine, its = ([renumbered(r, len(known) + i) for i, r in enumerate(each)] for each in (mine, its))
    archivist = Archivist(CONFIG)
    for record in known:
        archivist.add(record)
    branch = archivist.branch()
    for record in its:
        branch.add(record)
    for record in mine:
        archivist.add(record)
    assert told(branch.archive) == told(archive_of([*known, *its], CONFIG))
    assert told(archivist.archive) == told(archive_of([*known, *mine], CONFIG))


def told(archive):
    """All that an archive says."""
    foretelling = {where: outlook.weights(archive.num_records) for where, outlook in archive.outlooks.items()}
    said = {each.name: getattr(archive, each.name) for each in fields(Archive)}
    return said | {"outlooks": foretelling}


def test_an_archive_does_not_change_when_more_is_found():
    archivist = Archivist(CONFIG)
    first = archivist.add(judged(0, 0.5))
    told = (dict(first.fronts), dict(first.operators), dict(first.bars), first.twin(8.0, "5"))
    archivist.add(judged(1, 0.1))
    assert (dict(first.fronts), dict(first.operators), dict(first.bars), first.twin(8.0, "5")) == told
    assert first.twin(8.0, "1") is None
    assert archivist.archive.twin(8.0, "1") == 1
    assert points(archivist.archive.fronts[8.0]) == [(1, 0.1)]


def judged(step, kl):
    key = EvaluationKey(f"p{step}", Stage.SCREEN, "w", "m", "e", "1", 0)
    screened = Evaluation(key, Status.OK, answers=f"{kl * 10:g}", ratio=8.0)
    decoded = Evaluation(
        EvaluationKey(f"p{step}", Stage.FIDELITY, "w", "m", "e", "1", 0),
        Status.OK,
        measurements=(Measurement("kl", kl),),
        ratio=8.0,
    )
    candidate = Candidate(1, step, Proposal("", "grammar", "gate"), Status.OK, program_digest=f"p{step}")
    return Record(candidate, (screened, decoded))


def test_another_loss_may_be_given():
    """So that what never entered an engine can have one that a model foretells."""
    archivist = Archivist(CONFIG, lambda record, ratio: record.candidate.step / 10 if ratio == 8.0 else None)
    assert points(archivist.add(judged(0, 0.5)).fronts[8.0]) == [(0, 0.0)]


def test_nothing_is_known_at_first():
    archive = Archive()
    assert archive.ratios == archive.leaders(8.0) == archive.parents(8.0) == ()
    assert archive.bar(Stage.RECALL, 8.0) == -math.inf
    assert archive.twin(8.0, "aa") is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 1.0), st.floats(0.1, 30.0)), min_size=1, max_size=12))
def test_the_hypervolume_is_the_area_that_points_dominate(pairs):
    """As the area of a union of rectangles, cut at every corner."""
    front = front_of(Point(step, lost, 0.0, fast) for step, (lost, fast) in enumerate(pairs))
    corners = [(math.log1p(fast), -math.log(lost)) for lost, fast in pairs]
    edges = sorted({0.0, *(x for x, _ in corners)})
    area = sum((right - left) * max(y for x, y in corners if x >= right) for left, right in itertools.pairwise(edges))
    assert hypervolume(front) == pytest.approx(area)


def test_the_order_of_fronts_is_that_of_their_losses():
    rng = random.Random(0)
    found = front_of(Point(i, rng.random(), 0.0, rng.random()) for i in range(50))
    assert [p.loss for p in found] == sorted(p.loss for p in found)
    assert [p.speed for p in found] == sorted(p.speed for p in found)


def test_fronts_of_people_and_of_proposers_agree():
    records = [judged(step, kl) for step, kl in enumerate((0.5, 0.2, 0.3))]
    assert [r.candidate.step for r in front(records)] == [p.step for p in archive_of(records, CONFIG).fronts[8.0]]
