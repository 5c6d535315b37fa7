"""What is read of a campaign: whose programs these are, on which split, when, and nothing of another machine."""

import pytest

from benchmarks.evaluator.campaign import Origin, read
from search.commands.exits import CommandError
from search.records import Stage, Status


def test_programs_are_told_by_whom_they_are_by(handmade):
    found = handmade.candidate("Mine", "grammar", "mutate")
    cheap, dear = handmade.candidate("Quest"), handmade.candidate("Dear")
    others = handmade.reference("Dense"), handmade.candidate("RandomPages")
    for each in (found, cheap, *others):
        handmade.evaluation(each, Stage.RECALL, mass=0.5)
    handmade.evaluation(dear, Stage.CHECK, cost_ratio=1.5)
    by_name = {entry.name: entry.origin for entry in read(handmade.url).entries}
    references = dict.fromkeys(("Dear", "Dense", "RandomPages"), Origin.REFERENCE)
    assert by_name == {"Mine": Origin.FOUND, "Quest": Origin.PUBLISHED} | references


def test_rows_of_another_machine_are_left_out_and_counted(handmade):
    quest = handmade.candidate("Quest")
    handmade.evaluation(quest, Stage.FIDELITY, kl=9.0, where=handmade.THERE)
    for ratio in (4.0, 8.0):
        handmade.evaluation(quest, Stage.RECALL, ratio, mass=0.5)
    told = read(handmade.url)
    assert [(entry.stage, entry.ratio) for entry in told.entries] == [(Stage.RECALL, 4.0), (Stage.RECALL, 8.0)]
    assert (told.num_elsewhere, told.environment, told.ratios) == (1, handmade.HERE, [4.0, 8.0])


def test_an_evaluation_begins_its_seconds_before_it_ends_and_keeps_its_split(handmade):
    quest = handmade.candidate("Quest")
    handmade.evaluation(quest, Stage.FIDELITY, ended=100, elapsed_s=40, kl=0.1)
    handmade.evaluation(quest, Stage.FIDELITY, ended=160, elapsed_s=50, kl=0.2, split="held_out")
    told = read(handmade.url)
    begun = {entry.split: entry.begun_s - handmade.START for entry in told.entries}
    assert begun == {"search": 60, "held_out": 110}
    assert [entry.evaluation.value("kl") for entry in told.searched] == [0.1]


def test_a_refused_candidate_is_one_and_a_failed_evaluation_too(handmade):
    handmade.candidate("", "grammar", "random", Status.PROGRAM_ERROR)
    handmade.evaluation(handmade.candidate("Quest"), Stage.FIDELITY, status=Status.TIMED_OUT)
    told = read(handmade.url)
    assert len(told.candidates) == 2
    assert [entry.is_measured for entry in told.entries] == [False]


def test_what_is_not_there_is_one_sentence(handmade, tmp_path):
    with pytest.raises(CommandError, match="there is no database"):
        read(f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(LookupError, match="nothing of this campaign has been measured yet"):
        read(handmade.url)
    with pytest.raises(CommandError, match="no campaign 7"):
        read(handmade.url, 7)
