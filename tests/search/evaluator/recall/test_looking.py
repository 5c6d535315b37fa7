"""A quick look: recall's figures at one step, by layer and by kind of text, in a process of its own."""

from dataclasses import replace

import pytest

from search.contracts import LookError
from search.evaluator.recall.figures import Asking, measure
from search.evaluator.recall.looker import RecordedLooker
from search.evaluator.recall.looking import look
from search.evaluator.recall.parts import Part, glanced
from search.evaluator.recall.picturing import picture
from search.evaluator.recall.recordings import Model, Recordings, load, save
from vortex_dsl import Shape, load_program, trace, zoo

LAYERS = 4
VALUES = (("dense_layers", 0), ("pages", 3))


@pytest.fixture
def recordings(drawn):
    """Three documents of two kinds, of which one is recorded at both lengths."""
    short = drawn(160, ("prose 1", "code 7"), layers=LAYERS, seed=1)
    long = drawn(240, ("prose 1", "prose 2"), layers=LAYERS, seed=2)
    return Recordings(Model(tuple(range(LAYERS)), LAYERS, 0.5), (short, long))


def graph_of(name="quest", values=VALUES):
    return trace(load_program(zoo.text(name)).with_values(**dict(values)), Shape(2, 8))


def told(asking, **of):
    return {each.name: each.value for each in look(graph_of(**of), asking)}


def test_all_layers_are_seen_at_the_last_step_each_after_some_text(recordings):
    parts = glanced(recordings)
    assert all(part.steps == (5,) for part in parts)
    assert sorted(place for part in parts for place in part.places) == list(range(LAYERS))


def test_a_look_is_recall_on_its_part_with_what_the_best_pages_hold(recordings):
    asking = Asking(recordings.model, glanced(recordings))
    seen = told(asking)
    whole = {each.name: each.value for each in measure(graph_of(), asking)}
    assert {name: seen[name] for name in whole if name != "output_error"} == pytest.approx(
        {name: value for name, value in whole.items() if name != "output_error"}
    )
    for layer in range(LAYERS):
        assert seen[f"mass_layer_{layer}"] <= seen[f"oracle_mass_layer_{layer}"] + 1e-6


def test_kinds_are_the_names_of_texts_without_their_numbers(recordings):
    asking = Asking(recordings.model, glanced(recordings))
    seen = told(asking)
    kinds = {name for name in seen if name.startswith("mass_kind_")}
    assert kinds == {"mass_kind_prose", "mass_kind_code"}
    short = recordings.by_length[0]
    (part,) = (each for each in glanced(recordings) if each.recording is short)
    code = replace(short, names=("code 7",), q=short.q[:, :, 1:], k=short.k[:, 1:], v=short.v[:, 1:])
    alone = Asking(recordings.model, [Part(code, part.places, part.steps)])
    assert seen["mass_kind_code"] == pytest.approx(told(alone)["mass"])
    assert seen["oracle_mass_kind_code"] == pytest.approx(told(alone)["oracle_mass"])


@pytest.fixture
def looker(tmp_path):
    made = RecordedLooker(lambda: tmp_path / "recorded.safetensors", tmp_path)
    yield made
    made.close()


def test_a_process_of_its_own_looks_at_what_was_recorded_meanwhile(looker, recordings, tmp_path):
    with pytest.raises(LookError, match="has not been recorded on this machine"):
        looker.look(zoo.text("quest"), VALUES)
    save(recordings, tmp_path / "recorded.safetensors")
    here = told(Asking(recordings.model, glanced(recordings)))
    assert {each.name: each.value for each in looker.look(zoo.text("quest"), VALUES)} == pytest.approx(here)
    assert looker.look(zoo.text("quest"), VALUES) is looker.look(zoo.text("quest"), VALUES)
    with pytest.raises(LookError, match=r"the look came to nothing: .*no tunable 'nothing'"):
        looker.look(zoo.text("quest"), (("nothing", 1),))
    assert looker.look(zoo.text("centroid"), VALUES) != looker.look(zoo.text("quest"), VALUES)
    graph, kept = graph_of(), load(tmp_path / "recorded.safetensors")
    assert looker.picture(zoo.text("quest"), VALUES, (1,)) == picture(graph, kept, "Quest", (1,))
    with pytest.raises(LookError, match="layer 9 is not recorded"):
        looker.picture(zoo.text("quest"), VALUES, (9,))
    looker.close()
    looker.close()


def test_reasons_of_the_place_are_passed_on(tmp_path):
    def nowhere():
        raise LookError("recall is none of the stages")

    looker = RecordedLooker(nowhere, tmp_path)
    with pytest.raises(LookError, match="none of the stages"):
        looker.look(zoo.text("quest"), VALUES)
