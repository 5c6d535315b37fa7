"""Who is told to be behind in a race, and how often wrongly."""

import numpy as np

from search.archive.racing import Field, is_behind

TEXTS = (0.02, 0.3, 0.1, 0.05, 0.2, 0.08)


def test_a_factor_that_shows_in_every_text_is_sure_and_one_that_does_not_is_not():
    assert is_behind(tuple(1.5 * each for each in TEXTS), TEXTS)
    assert not is_behind(tuple(each / 1.5 for each in TEXTS), TEXTS)
    assert not is_behind((0.2, *TEXTS[1:]), TEXTS)  # one text that lies far out
    assert not is_behind(TEXTS, TEXTS)


def test_nothing_is_told_of_other_texts_of_one_or_of_none():
    assert not is_behind((9.0,) * 5, TEXTS)
    assert not is_behind((9.0,), (1.0,))
    assert not is_behind((), ())


def test_what_loses_nothing_is_compared_as_what_cannot_be_told_from_it():
    assert not is_behind((1e-9,) * 6, (0.0,) * 6)
    assert is_behind((1e-3,) * 6, (0.0,) * 6)


def test_one_in_forty_that_loses_as_much_is_stopped():
    rng = np.random.default_rng(1)
    pairs = rng.lognormal(size=(4000, 2, 6))
    stopped = np.mean([is_behind(tuple(mine), tuple(theirs)) for mine, theirs in pairs])
    assert 0.018 < stopped < 0.032


def test_the_last_of_the_leaders_is_to_beat_once_there_are_so_many():
    field, bars = Field(2), []
    for step, lost in enumerate((0.5, 0.1, 0.3, 0.4, 0.2)):
        field.add(lost, step, (lost,))
        bars.append(field.bar)
    assert bars == [(), (0.5,), (0.3,), (0.3,), (0.2,)]
