"""What races took and spared."""

import pytest

from search.archive.spared import Raced, Spared, spared


def test_whoever_does_not_go_on_spares_what_going_on_takes():
    raced = [Raced(10, 20.0, 4, 9.0), Raced(5, 5.0, 5, 8.0)]
    assert spared(raced) == Spared(num_raced=15, num_stopped=6, raced_s=25.0, spared_s=54.0)


def test_who_decodes_without_a_race_spares_nothing():
    assert spared([Raced(0, 0.0, 7, 9.0), Raced(2, 1.0, 3, 9.0)]) == Spared(2, 0, 1.0, 0.0)


def test_share_is_of_the_time_without_races():
    """100 s were spent, and 60 spared: without races it would have been 160."""
    assert Spared(4, 3, 10.0, 60.0).share(100.0) == pytest.approx(60 / 160)


def test_races_that_stop_nobody_save_nothing():
    assert Spared(4, 0, 10.0, 0.0).share(100.0) == 0.0


def test_nothing_spent_is_nothing_saved():
    assert Spared(0, 0, 0.0, 0.0).share(0.0) == 0.0
