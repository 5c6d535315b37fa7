"""Who is promoted hangs on what is visible alone, and costs little to ask."""

import math
import random
import time

import numpy as np
import pytest

from search.archive.archivist import Archivist
from search.config import CampaignConfig
from search.foresight.foresight import Foresight, log_errors
from search.foresight.outlook import LEAST_ENTERING, Outlook, by_chance
from search.records import Record, Stage

RATIO = 8.0


def looked_at(records):
    outlook = Outlook(RATIO)
    for step, record in enumerate(records):
        outlook.add(record, step)
    return outlook


def unmeasured(record):
    return Record(record.candidate, record.evaluations[:1])


def test_it_foretells_as_a_model_of_the_visible_records_does(make):
    records, _ = make.drawn(40)
    outlook = looked_at(records)
    for number in (40, 12, 25, 3):
        alone = Foresight.fit(records[:number], RATIO)
        assert outlook.foresight(number).foretell(records[0]) == alone.foretell(records[0])


def test_what_promises_most_is_promoted(make):
    records, truth = make.drawn(200)
    measured = records[:40] + [unmeasured(each) for each in records[40:]]
    outlook = looked_at(measured)
    promoted = [step for step in range(40, 200) if outlook.promotes(measured[step], 200, 0.1)]
    assert 10 <= len(promoted) <= 24
    best = sorted(range(40, 200), key=truth.__getitem__)[:24]
    assert len(set(promoted) & set(best)) >= 0.8 * len(promoted)


def test_the_answer_is_the_same_whatever_was_asked_or_added_before(make):
    records = [each if i % 3 else unmeasured(each) for i, each in enumerate(make.drawn(60)[0])]
    whole = looked_at(records)
    for number in (60, 20, 45, 20):
        asked = [whole.promotes(each, number, 0.2) for each in records]
        assert asked == [looked_at(records[:number]).promotes(each, number, 0.2) for each in records]


@pytest.mark.parametrize("lag", [0, 30])
def test_as_many_go_on_of_a_search_that_gets_better_all_the_time(make, lag):
    """Each next one is better than most before it; a fifth of them go on all the same, and these are the best."""
    stray = random.Random(1)
    quality = [-0.01 * step + stray.gauss(0, 0.5) for step in range(400)]
    records = [make.candidate(step, [0.1 * math.exp(each)] * 12, each) for step, each in enumerate(quality)]
    outlook, promoted = Outlook(RATIO, num_unseen=lag), []
    for step, record in enumerate(records):
        if step >= 200 and outlook.promotes(record, step - lag, 0.2):
            promoted.append(step)
        outlook.add(record, step)
    best = {step for step in range(200, 400) if quality[step] + 0.01 * step < -0.2}
    assert 25 <= len(promoted) <= 80
    assert len(set(promoted) & best) > 0.6 * len(promoted)
    uncorrected = sum(
        sum(q < quality[step] for q in quality[: step - lag]) < 0.2 * (step - lag) for step in range(200, 400)
    )
    assert uncorrected > 1.6 * len(promoted)


def test_in_a_campaign_the_bar_is_told_by_what_each_step_saw(make):
    """Step s sees the records up to s - lag: by how much each promised more than the best of these."""
    config, stray = CampaignConfig(ratios=(RATIO,), lag=5), random.Random(2)
    quality = [-0.01 * step + stray.gauss(0, 0.5) for step in range(90)]
    records = [make.candidate(step, [0.1 * math.exp(each)] * 12, each) for step, each in enumerate(quality)]
    asked = [each for seed in range(8) for each in make.drawn(40, seed)[0]]

    def told(record, fitted):
        return fitted.promises(np.array([log_errors(record, RATIO, Stage.RECALL, fitted.layers)]))[0]

    archivist = Archivist(config)
    for num, record in enumerate(records, 1):
        archive = archivist.add(record)
        if num >= 30:
            fitted = Foresight.fit(records[:num], RATIO)
            promises = [told(each, fitted) for each in records[:num]]
            seen = {step: promises[: step - config.lag + 1] for step in range(config.lag, num)}
            bar = np.quantile([promises[step] - max(each) for step, each in seen.items()], 0.75)
            expected = [told(each, fitted) - max(promises) >= bar - 1e-9 for each in asked]
            assert [archive.promotes(Stage.RECALL, RATIO, each, 0.25) for each in asked] == expected


def test_a_branch_goes_on_by_itself(make):
    """What was told of candidates of the one is not told of those of the other."""
    records = [each if i < 20 else unmeasured(each) for i, each in enumerate(make.drawn(60)[0])]
    one = looked_at(records[:40])
    one.promotes(records[0], 40, 0.2)
    other = one.branch()
    worse = [unmeasured(make.candidate(step, [5.0] * 12)) for step in range(20)]
    for step in range(20):
        one.add(worse[step], 40 + step)
        other.add(records[40 + step], 40 + step)
    for outlook, whole in ((one, records[:40] + worse), (other, records)):
        expected = [looked_at(whole).promotes(each, 60, 0.2) for each in records]
        assert [outlook.promotes(each, 60, 0.2) for each in records] == expected


def test_who_came_long_before_is_compared_to_nobody(make, monkeypatch):
    """So a question costs the same however many there are, and is answered alike in whatever order it is asked."""
    monkeypatch.setattr("search.foresight.outlook.LOOKED_BACK", 40)
    measured, others = make.drawn(20)[0], [unmeasured(each) for each in make.drawn(100, 1)[0]]
    perfect = unmeasured(make.candidate(0, [0.0] * 12))
    long_ago, lately = [*measured, perfect, *others], [*measured, *others, perfect]
    asked = [unmeasured(each) for each in make.drawn(30, 2)[0]]

    def told(records, *numbers):
        outlook = looked_at(records)
        return [[outlook.promotes(each, number, 0.2) for each in asked] for number in numbers]

    plain = told([*measured, others[0], *others], 121)[0]
    assert told(long_ago, 121, 61, 21, 121)[::3] == [plain, plain]
    assert told(long_ago, 61, 121)[0] == told(long_ago, 121, 61)[1]
    assert sum(told(lately, 121)[0]) < sum(plain)


def test_a_few_are_promoted_before_a_share_is_more(make):
    records, _ = make.drawn(14)
    outlook = looked_at(records)
    assert sum(outlook.promotes(each, 14, 0.0) for each in records) == LEAST_ENTERING


def test_where_nothing_can_be_foretold_nothing_is_said(make):
    records, _ = make.drawn(20)
    outlook = looked_at(records)
    assert outlook.promotes(records[0], 7, 0.5) is None
    assert outlook.foretell(records[0], 7) is None
    assert outlook.promotes(Record(records[0].candidate), 20, 0.5) is None
    assert outlook.promotes(records[0], 20, 1.0) is True


def test_references_are_no_rivals(make):
    records, _ = make.drawn(30)
    perfect = [make.candidate(i, [0.0] * 12, operator="reference") for i in range(30)]
    outlook = looked_at(perfect + records)
    assert [outlook.promotes(each, 60, 0.2) for each in records] == [
        looked_at(records).promotes(each, 30, 0.2) for each in records
    ]


def test_the_lot_falls_on_its_share_and_always_on_the_same():
    drawn = [by_chance(1, step, Stage.RECALL, RATIO, 0.1) for step in range(2000)]
    assert drawn == [by_chance(1, step, Stage.RECALL, RATIO, 0.1) for step in range(2000)]
    assert 140 < sum(drawn) < 260
    assert drawn != [by_chance(2, step, Stage.RECALL, RATIO, 0.1) for step in range(2000)]


def test_ten_thousand_candidates_are_asked_about_in_milliseconds(make):
    records, _ = make.drawn(50)
    unknown = unmeasured(records[0])
    outlook = looked_at([*records, *[unknown] * 10_000])
    outlook.promotes(unknown, 10_000, 0.1)
    start = time.process_time()
    for step in range(10_000, 10_050):
        outlook.promotes(unknown, step, 0.1)
    assert (time.process_time() - start) / 50 < 0.01
