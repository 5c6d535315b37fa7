"""The gates, one by one."""

from dataclasses import replace

import pytest

from search.archive.archivist import LEAST_GOING_ON, NUM_TIMED, archive_of
from search.config import CampaignConfig
from search.foresight.outlook import LEAST_RECENT
from search.parents import REFERENCE, SEED
from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status
from search.stages import course, next_workload
from search.workloads import workloads_for

AS_WRITTEN = CampaignConfig(serve_floor=0.5, ratios=())
REAL = CampaignConfig(ratios=(8, 16), workloads=workloads_for(0), num_layers=30, recall_share=0.2)
GOOD = {
    Stage.SCREEN: {"mass": 0.5, "random_mass": 0.1, "recall": 0.5},
    Stage.RECALL: {"mass": 0.5, "random_mass": 0.1, "recall": 0.5},
    Stage.FIDELITY: {"kl": 0.1},
    Stage.PROBE: {"accuracy": 1.0},
}


def evaluation(stage, ratio=0.0, status=Status.OK, **figures):
    measurements = tuple(Measurement(name, value) for name, value in (figures or GOOD.get(stage, {})).items())
    return Evaluation(EvaluationKey("p", stage, "w", "m", "e", "1", 0), status, "", measurements, ratio=ratio)


def record(*evaluations, operator="mutate", status=Status.OK, step=0):
    return Record(Candidate(1, step, Proposal("", "x", operator), status, program_digest="p"), evaluations)


def asked(record, config, visible=()):
    """The next stage and ratio, None where there is none."""
    workload = next_workload(record, archive_of(visible, config), config)
    return workload and (workload.stage, workload.ratio)


def walk(config, operator="mutate", visible=(), **odd):
    """All that a candidate goes through where each stage is passed; `odd`: what comes of one, its figures or status."""
    done = []
    while found := asked(record(*done, operator=operator), config, visible):
        given = odd.get(f"{found[0]}_{found[1]:g}", {})
        done.append(evaluation(*found, **given if isinstance(given, dict) else {"status": given}))
    return [(each.key.stage, each.ratio) for each in done]


def through(last, status=Status.OK, **figures):
    """All stages up to one, the last with these results."""
    stages = AS_WRITTEN.stages
    before = [evaluation(stage) for stage in stages[: stages.index(last)]]
    return [*before, evaluation(last, 0.0, status, **figures)]


@pytest.mark.parametrize("status", [Status.PROGRAM_ERROR, Status.DUPLICATE, Status.INFRASTRUCTURE])
def test_refused_candidates_have_no_stage(status):
    assert asked(record(status=status), AS_WRITTEN) is None


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ([], Stage.CHECK),
        (through(Stage.CHECK), Stage.RECALL),
        (through(Stage.RECALL, mass=0.5, random_mass=0.4, recall=0.5), Stage.ORACLE),
        (through(Stage.ORACLE), Stage.PROBE),
        (through(Stage.RECALL, mass=0.4, random_mass=0.4, recall=0.5), None),
        (through(Stage.PROBE, accuracy=0.5), Stage.SERVE),
        (through(Stage.PROBE, accuracy=0.49), None),
        (through(Stage.SERVE), None),
    ],
)
def test_the_next_stage_as_written(done, expected):
    assert asked(record(*done), AS_WRITTEN) == (expected and (expected, 0.0))


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK])
def test_what_fails_stops(status):
    assert asked(record(*through(Stage.ORACLE, status)), AS_WRITTEN) is None


def test_seeds_pass_every_gate_and_no_failure():
    seed = {"operator": SEED}
    assert asked(record(*through(Stage.RECALL, mass=0.1, random_mass=0.4), **seed), AS_WRITTEN)[0] is Stage.ORACLE
    assert asked(record(*through(Stage.PROBE, accuracy=0.0), **seed), AS_WRITTEN)[0] is Stage.SERVE
    assert asked(record(*through(Stage.RECALL, Status.BELOW_GATE), **seed), AS_WRITTEN)[0] is Stage.ORACLE
    assert asked(record(*through(Stage.PROBE, Status.CRASHED), **seed), AS_WRITTEN) is None


def test_the_course_of_a_real_models_campaign():
    """Cheap stages first, at every cost ratio; what serves is judged once; what is dear comes last."""
    both = [(stage, ratio) for stage in (Stage.CHECK, Stage.SCREEN, Stage.RECALL) for ratio in (8.0, 16.0)]
    engines = [(stage, ratio) for ratio in (8.0, 16.0) for stage in (Stage.FIDELITY, Stage.RETRIEVAL)]
    whole = [*both, (Stage.ORACLE, 0.0), *engines, (Stage.SERVE, 8.0), (Stage.SERVE, 16.0)]
    later = (record(step=50),)  # an invented one, so that all seeds are seen
    assert walk(REAL, visible=later) == walk(REAL, SEED, later) == list(course(record().candidate, REAL)) == whole


def test_races_of_older_campaigns_are_run_no_more():
    race = replace(REAL.workload(Stage.FIDELITY), stage=Stage.RACE)
    older = CampaignConfig.from_json(replace(REAL, workloads=(*REAL.workloads, race)).to_json())
    assert older.stages == REAL.stages
    assert list(course(record().candidate, older)) == list(course(record().candidate, REAL))
    before = record(evaluation(Stage.CHECK, 8.0), evaluation(Stage.RACE, 8.0, kl=0.1))
    assert archive_of([before], older).num_records == 1


def test_nobody_is_timed_before_all_seeds_are_seen():
    """The first would be the best so far; the loop times leaders in the end."""
    assert Stage.SERVE not in {stage for stage, _ in walk(REAL)}
    assert Stage.SERVE not in {stage for stage, _ in walk(REAL, visible=(record(operator=SEED),))}
    assert Stage.SERVE in {stage for stage, _ in walk(replace(REAL, seeds=()))}


def test_a_ratio_that_is_not_reached_costs_nothing_more():
    found = walk(REAL, SEED, (record(step=50),), check_16=Status.BELOW_GATE)
    assert [each for each in found if each[1] == 16.0] == [(Stage.CHECK, 16.0)]
    assert (Stage.SERVE, 8.0) in found
    neither = walk(REAL, SEED, check_8=Status.BELOW_GATE, check_16=Status.BELOW_GATE)
    assert neither == [(Stage.CHECK, 8.0), (Stage.CHECK, 16.0)]


def test_yardsticks_are_judged_as_written_and_not_timed():
    stages = (Stage.CHECK, Stage.SCREEN, Stage.RECALL, Stage.ORACLE, Stage.FIDELITY, Stage.RETRIEVAL)
    assert walk(REAL, REFERENCE) == [(stage, 0.0) for stage in stages]


def recalled(step, mass, ratio=8.0, operator="mutate"):
    found = evaluation(Stage.RECALL, ratio, mass=mass, random_mass=0.1, recall=mass)
    return record(evaluation(Stage.CHECK, ratio), found, step=step, operator=operator)


def entered(config, visible, mass, step=0):
    """Whether a candidate goes on from recall at a ratio of 8."""
    return enters(evaluation(Stage.RECALL, 8.0, mass=mass, random_mass=0.1, recall=mass), config, visible, step)


def enters(recall, config, visible, step=0):
    """Whether a candidate that recall measured so at a ratio of 8 goes on."""
    cheap = [evaluation(Stage.CHECK, 8.0), evaluation(Stage.CHECK, 16.0, Status.BELOW_GATE)]
    mine = record(*cheap, evaluation(Stage.SCREEN, 8.0), recall, step=step)
    return asked(mine, config, visible) == (Stage.ORACLE, 0.0)


def test_the_best_by_recall_enter_an_engine():
    config = replace(REAL, seed=1)
    visible = [recalled(step, 0.3 + step / 100) for step in range(50)]
    assert entered(config, visible, 0.3 + 0.405)  # nine of fifty are better
    assert not entered(config, visible, 0.3 + 0.375)
    assert entered(config, visible[: LEAST_GOING_ON - 1], 0.2)  # while few are known
    assert entered(replace(config, recall_share=1.0), visible, 0.11)
    assert not entered(replace(config, recall_share=1.0), visible, 0.1)  # no better than by chance
    oracles = [recalled(50 + i, 0.99, operator=REFERENCE) for i in range(50)]
    assert entered(config, [*visible, *oracles], 0.3 + 0.405)
    elsewhere = [recalled(step, 0.99, ratio=16.0) for step in range(50)]
    assert entered(config, elsewhere, 0.2)


def by_layer(mass, told, recall):
    """Recall where one of two layers does so well, and the other, which says nothing about KL, so."""
    layers = {"error_layer_0": 1 - told, "error_layer_1": 1 - mass}
    return evaluation(Stage.RECALL, 8.0, mass=mass, random_mass=0.1, recall=recall, **layers)


def test_once_fidelity_can_be_foretold_its_forecast_decides_and_not_recall():
    visible = []
    for step in range(30):
        told = 0.3 + step / 50
        found = [evaluation(Stage.CHECK, 8.0), by_layer(0.3 + (7 * step % 30) / 50, told, recall=0.9 - step / 50)]
        visible.append(record(*found, evaluation(Stage.FIDELITY, 8.0, kl=1 - told), step=step))
    assert enters(by_layer(0.5, 0.95, recall=0.31), REAL, visible)
    assert not enters(by_layer(0.5, 0.35, recall=0.89), REAL, visible)
    few = visible[:7]
    assert enters(by_layer(0.5, 0.35, recall=0.95), REAL, few)


def test_a_few_of_the_others_enter_by_luck_and_none_below_chance():
    visible = [recalled(step, 0.9) for step in range(50)]
    lucky = [step for step in range(1000) if entered(REAL, visible, 0.2, step)]
    assert 8 <= len(lucky) <= 40
    assert lucky == [step for step in range(1000) if entered(REAL, visible, 0.2, step)]
    assert not any(entered(REAL, visible, 0.05, step) for step in range(1000))
    assert lucky != [step for step in range(1000) if entered(replace(REAL, seed=5), visible, 0.2, step)]


def test_what_was_proposed_before_the_seeds_were_seen_enters_by_luck_alone_where_there_is_time_for_others():
    seeds = [recalled(step, 0.2, operator=SEED) for step in range(10)]
    long = replace(REAL, lag=16, num_candidates=64)
    lucky = [step for step in range(500) if entered(long, seeds, 0.9, step)]
    assert 2 <= len(lucky) <= 25
    assert all(entered(replace(long, num_candidates=63), seeds, 0.9, step) for step in range(20))
    assert entered(long, [*seeds, recalled(10, 0.2)], 0.9)  # the first that was proposed itself is seen with all seeds


def test_of_thousands_none_enters_but_by_luck_before_enough_were_invented_to_tell_who_is_good():
    seeds = [recalled(step, 0.2, operator=SEED) for step in range(10)]
    long = replace(REAL, lag=16, num_candidates=5000, screen_share=0.08)
    few, enough = (
        [*seeds, *(recalled(10 + i, 0.2) for i in range(number))] for number in (LEAST_RECENT - 1, LEAST_RECENT)
    )
    assert sum(entered(long, few, 0.9, step) for step in range(50, 100)) <= 5
    assert all(entered(long, enough, 0.9, step) for step in range(50, 60))
    assert all(entered(replace(long, screen_share=0.02), few, 0.9, step) for step in range(50, 60))  # too few for that


@pytest.mark.parametrize("operator", ["mutate", SEED])
def test_what_is_far_from_the_best_is_not_timed(operator):
    others = [record(evaluation(Stage.FIDELITY, 8.0, kl=0.2), step=step) for step in range(NUM_TIMED)]
    answered = [evaluation(Stage.RETRIEVAL, 8.0, accuracy=0.9)]
    others = [replace(each, evaluations=(*each.evaluations, *answered)) for each in others]
    good, bad = {"accuracy": 0.95}, {"accuracy": 0.5}
    for kl, found, timed in ((0.1, bad, True), (0.3, bad, False), (0.3, good, False), (0.2, good, False)):
        odd = {"fidelity_8": {"kl": kl}, "retrieval_8": found, "check_16": Status.BELOW_GATE}
        assert ((Stage.SERVE, 8.0) in walk(REAL, operator, others, **odd)) == timed, (kl, found)
    fewer = [*others[1:], record(step=50)]
    assert (Stage.SERVE, 8.0) in walk(REAL, operator, fewer, fidelity_8={"kl": 0.3}, retrieval_8=bad)


def test_a_crash_at_one_ratio_ends_it_at_all():
    assert walk(REAL, SEED, fidelity_8=Status.CRASHED)[-1] == (Stage.FIDELITY, 8.0)


SCREENED = replace(REAL, screen_share=0.2, recall_share=1.0)


def screened(step, found, ratio=8.0, operator="gate", signature=""):
    figures = evaluation(Stage.SCREEN, ratio, mass=found, random_mass=0.1, recall=found)
    return record(replace(figures, answers=signature), step=step, operator=operator)


def goes_on(visible, found, step=0, operator="gate", signature="", config=SCREENED):
    """Whether a candidate goes on from the screen to recall at a ratio of 8."""
    (figures,) = screened(step, found, signature=signature).evaluations
    cheap = [evaluation(Stage.CHECK, 8.0), evaluation(Stage.CHECK, 16.0, Status.BELOW_GATE)]
    found = asked(record(*cheap, figures, operator=operator, step=step), config, visible)
    return found == (Stage.RECALL, 8.0)


def test_a_screen_comes_before_recall_at_all_ratios():
    cheap = [(stage, ratio) for stage in (Stage.CHECK, Stage.SCREEN, Stage.RECALL) for ratio in (8.0, 16.0)]
    assert walk(SCREENED)[:6] == cheap
    assert walk(SCREENED, visible=(record(step=50),)) == list(course(record().candidate, SCREENED))


def test_the_best_of_the_screen_go_on_to_recall():
    visible = [screened(step, 0.3 + step / 100) for step in range(50)]
    assert goes_on(visible, 0.3 + 0.405)  # nine of fifty are better
    assert not goes_on(visible, 0.3 + 0.375)
    assert goes_on(visible[: LEAST_GOING_ON - 1], 0.2)  # while few are known
    assert goes_on(visible, 0.3 + 0.375, config=replace(SCREENED, screen_share=1.0))
    assert not goes_on(visible[:3], 0.1)  # no better than by chance
    elsewhere = [screened(step, 0.99, ratio=16.0) for step in range(50)]
    assert goes_on(elsewhere, 0.2)
    for published in (SEED, REFERENCE):
        assert goes_on(visible, 0.05, operator=published) == (published == SEED)  # yardsticks have no ratio


def test_a_few_of_the_others_go_on_by_luck():
    visible = [screened(step, 0.9) for step in range(50)]
    lucky = [step for step in range(1000) if goes_on(visible, 0.2, step)]
    assert 8 <= len(lucky) <= 40


def test_what_does_not_go_on_enters_no_engine():
    visible = [screened(step, 0.9) for step in range(50)]
    bad = {"mass": 0.2, "random_mass": 0.1, "recall": 0.2}
    stages = {stage for stage, _ in walk(SCREENED, "gate", visible, screen_8=bad, check_16=Status.BELOW_GATE)}
    assert stages <= {Stage.CHECK, Stage.SCREEN}


def test_what_chooses_the_same_pages_as_an_earlier_one_is_not_measured_again():
    visible = [screened(0, 0.5, signature="ab"), screened(1, 0.5, signature="cd", ratio=16.0)]
    assert not goes_on(visible, 0.6, step=9, signature="ab")
    assert goes_on(visible, 0.6, step=9, signature="cd")  # at another ratio
    assert goes_on(visible, 0.6, step=9)  # which tells none
    assert goes_on(visible, 0.6, operator=SEED, signature="ab")
    crashed = replace(visible[0], evaluations=(*visible[0].evaluations, evaluation(Stage.ORACLE, 0, Status.CRASHED)))
    assert goes_on([crashed], 0.6, step=9, signature="ab")
