"""What the end of a campaign says of who leads: by what, and how a plugin is made of it."""

from dataclasses import replace

from search.commands.campaign import leading
from search.parents import Leader
from search.records import Stage
from tests.search.plugin.conftest import record

MADE = "Quest (1) leads at a cost ratio of 4{}; `vortex export 1 --ratio 4` makes a vLLM plugin of it"


def test_who_was_timed_leads_as_the_fastest_that_loses_little_more():
    judged, *others = record().evaluations
    timed = replace(judged, key=replace(judged.key, stage=Stage.SERVE))
    told = leading(Leader(replace(record(), evaluations=(judged, *others, timed)), 4.0))
    assert told == MADE.format(", the fastest that loses little more than the best")


def test_who_was_not_timed_is_not_called_fast():
    assert leading(Leader(record(), 4.0)) == MADE.format("")
