"""The screen is recall on its part; what it objects to is worth nothing; its signature is what was attended to."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from search.behaviour import likeness, sketch
from search.evaluator.arms import HOST, WorkerSettings
from search.evaluator.engine import EngineSettings
from search.evaluator.identity import EVALUATOR_VERSION
from search.evaluator.outcomes import plain
from search.evaluator.recall.figures import Asking, measure, rows
from search.evaluator.recall.parts import SCREENED, Part, screened, whole
from search.evaluator.recall.recordings import Model, Recordings, save
from search.evaluator.recall.screening import screen
from search.evaluator.recall.stage import file_of
from search.evaluator.worker import Worker
from search.records import EvaluationKey, EvaluationTask, Stage, Status, Workload
from vortex_dsl import Shape, load_program, trace, zoo

SCALE, LAYERS = 0.5, 30
MASS = '(q * page.k * self.scale).sum("dim").logsumexp("token").mean("head")'
RULE = '''from vortex_dsl import Choice, Int, Program, above, every_page, hash, reserved_only, topk, union


class Told(Program):
    """A rule."""

    pages = Int(2, 0, 64)

    def select(self, q, page):
        return {choice}
'''
BEST = f"topk({MASS}, self.pages)"
WORST = f"topk(0 - {MASS}, self.pages)"
WORST_ABOVE = f"above(0 - {MASS}, -1000000, limit=self.pages)"


def graph_of(choice, **values):
    text = zoo.text(choice) if choice in zoo.names() else RULE.format(choice=choice)
    return trace(load_program(text).with_values(**{"dense_layers": 0, **values}), Shape(2, 8))


@pytest.fixture
def recordings(drawn):
    """Two lengths, the longer of two texts, and more layers than are screened after one of them."""
    groups = (drawn(160, ("a",), LAYERS, steps=8), drawn(300, ("b", "c"), LAYERS, steps=8, seed=1))
    return Recordings(Model(tuple(range(LAYERS)), LAYERS, SCALE), groups)


@pytest.fixture
def asking(recordings):
    return Asking(recordings.model, screened(recordings))


CASES = {
    "a plain rule": ("quest", {"pages": 2}),
    "dense layers": ("centroid", {"pages": 2, "dense_layers": 5}),
    "layers that share": ("quest", {"pages": 2, "share_layers": 4, "dense_layers": 1}),
    "a choice kept for steps": ("centroid", {"pages": 2, "refresh_steps": 3}),
    "states": ("ema", {"pages": 2}),
    "states by page, kept and shared": ("h2o", {"pages": 2, "refresh_steps": 2, "share_layers": 4}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_screen_is_recall_on_its_part(case, recordings, asking):
    """Layers that are not judged may choose for those that are, and earlier steps be remembered."""
    rule, values = CASES[case]
    graph, model = graph_of(rule, **values), recordings.model
    for dense, full in zip(asking.dense, Asking(model, whole(recordings)).dense, strict=True):
        found, everything = rows(graph, model, dense), rows(graph, model, full)
        for name, figures in everything.figures.items():
            wanted = figures[list(dense.layers)][:, :, :1]
            assert torch.allclose(found.figures[name], wanted, atol=1e-6, equal_nan=True), name
    told = screen(graph, asking).measurements
    assert plain(told) == plain(measure(graph, asking))
    assert {
        "mass",
        "oracle_mass",
        "random_mass",
        "recall",
        "mass_layer_0",
        "error_layer_0",
        "mass_160",
        "mass_300",
    } <= {each.name for each in told}


def test_every_layer_is_screened_once_and_after_each_text_as_many(recordings, asking):
    assert [dense.names for dense in asking.dense] == [("a",), ("b",)]
    short, long = (dense.layers for dense in asking.dense)
    assert sorted((*short, *long)) == list(range(LAYERS))
    assert abs(len(short) - len(long)) <= 1


def test_of_a_deep_model_layers_are_screened_evenly_over_its_depth(recordings):
    depth = 3 * SCREENED + 5
    deep = replace(recordings, model=Model(tuple(range(depth)), depth, SCALE))
    places = sorted(place for part in screened(deep) for place in part.places)
    assert len(places) == SCREENED
    assert set(np.diff((*places, depth))) <= {3, 4}


def test_one_length_is_screened_after_two_texts_and_a_model_of_one_layer_in_it(recordings):
    short, long = recordings.by_length
    (part,) = screened(replace(recordings, by_length=(long,)))
    assert part.recording.names == ("b", "c")
    model = Model((3,), 4, SCALE)
    shallow = Recordings(model, (replace(short, q=short.q[:, :1], k=short.k[:1], v=short.v[:1]),))
    assert [part.places for part in screened(shallow)] == [(0,)]
    measured = screen(graph_of(BEST), Asking(model, screened(shallow))).measurements
    assert [each.name for each in measured if each.name.startswith("mass_layer")] == ["mass_layer_3"]


def test_the_signature_is_of_what_layers_that_choose_attend_to(recordings):
    """Row by row, over the parts one after the other, in units of the smallest page."""
    graph, model = graph_of(BEST, dense_layers=1, page_size=32), recordings.model
    asking = Asking(model, [Part(each, (0, 2), (1, 7)) for each in recordings.by_length])
    pairs, before = [], 0
    for dense in asking.dense:
        attended = rows(graph, model, dense).attended
        for layer, step, row, page in attended.nonzero().tolist():
            place = before + (layer * attended.shape[1] + step) * attended.shape[2] + row
            pairs += [(place, 2 * page), (place, 2 * page + 1)] if layer == 1 else []
        before += attended[..., 0].numel()
    assert screen(graph, asking).signature == sketch(*np.array(pairs).T)


def test_rules_in_other_words_have_one_signature_and_others_do_not(asking):
    def signature(choice, **values):
        return screen(graph_of(choice, **values), asking).signature

    assert signature(BEST) == signature(f"topk(3 * {MASS} + 1, self.pages)")
    assert signature("reserved_only()") != signature("reserved_only()", window=4)
    assert likeness(signature(BEST), signature(BEST, pages=3)) > likeness(signature(BEST), signature(WORST))
    assert likeness(signature(BEST, pages=8), signature(BEST, pages=4, page_size=32)) > 0.4


@pytest.mark.parametrize(
    ("choice", "objection"),
    [
        (BEST, ""),
        ("every_page()", ""),
        ("reserved_only()", "it chooses no page"),
        (WORST, "its order is reversed: with the score negated it would keep 0."),
        (WORST_ABOVE, "drawn by lot would keep 0."),
    ],
)
def test_junk_is_told_from_rules(choice, objection, asking):
    found = screen(graph_of(choice), asking)
    assert objection in found.objection
    assert bool(objection) == bool(found.objection)
    assert ("reversed" in objection) == ("reversed" in found.objection)


def test_what_the_negated_score_would_keep_is_measured(asking):
    told = screen(graph_of(WORST), asking).objection
    kept = {each.name: each.value for each in screen(graph_of(BEST), asking).measurements}
    assert told.endswith(f"it would keep {kept['mass']:.3f}")


@pytest.fixture
def worker(tmp_path):
    (tmp_path / "model").mkdir()
    engine = EngineSettings(model=str(tmp_path / "model"), sparse=True, max_tokens=512)
    settings = WorkerSettings(engine, tmp_path / "scratch", (2, 8))
    worker = Worker(settings)
    yield worker, settings
    worker.close()


def test_a_process_without_an_engine_screens_what_is_recorded(worker, recordings, asking):
    """The real one, from what stands in the file; its figures are those of this process."""
    assert HOST[0] == sys.executable
    run, settings = worker[0].run, worker[1]
    workload = Workload(Stage.SCREEN, 300, 3, ratio=8.0)

    def asked(choice):
        key = EvaluationKey("p", Stage.SCREEN, workload.digest, "m", "e", "1", 0)
        return EvaluationTask(key, RULE.format(choice=choice), (("dense_layers", 0),), workload)

    made_by = ("m", "e", EVALUATOR_VERSION, settings.engine.dtype)
    save(recordings, file_of(settings.scratch, made_by, workload, 0))
    good, junk = run(asked(BEST)), run(asked(WORST))
    here = screen(graph_of(BEST), asking)
    assert (good.status, good.message, good.answers) == (Status.OK, "", here.signature)
    assert good.measurements == pytest.approx(here.measurements)
    assert junk.status is Status.BELOW_GATE
    assert "reversed" in junk.message
    assert junk.value("mass") < junk.value("random_mass")
