"""Parts of a recording have nothing in common, and only a part's own layers count."""

from statistics import fmean

import pytest

from benchmarks.search.kept import Kept
from benchmarks.search.problems import SEARCH, Found, from_file, split
from search.evaluator.recall import figures, parts, recordings
from search.fit import traced
from search.workloads import HELD_OUT
from tests.benchmarks.search.conftest import recorded
from vortex_dsl import zoo


def graph_of(selection, name, **values):
    return traced(zoo.text(name), tuple(values.items()), selection.terms.shape)[1]


def test_parts_share_neither_documents_nor_layers():
    found = split("recorded", "a digest", recorded(documents=tuple("abcdef"), num_layers=20)).parts
    seen, other = found[SEARCH], found[HELD_OUT]
    assert (seen.documents, other.documents) == (("a", "e"), ("b", "c", "d", "f"))
    assert seen.layers == (1, 4, 7, 10, 13, 16, 19)
    assert set(other.layers) == set(range(20)) - set(seen.layers)
    assert [each.names for each in seen.asking.dense] == [("a", "e")]
    assert [each.names for each in other.asking.dense] == [("b", "c", "d", "f")]
    assert (seen.asking.layers, other.asking.layers) == (seen.layers, other.layers)


def test_a_part_measures_its_own_documents_and_layers():
    whole = recorded(documents=("one", "two"))
    selection = split("recorded", "a digest", whole)
    graph = graph_of(selection, "centroid", pages=4, dense_layers=0)
    everything = {m.name: m.value for m in figures.measure(graph, figures.Asking(whole.model, parts.whole(whole)))}
    found = selection.measured(graph, HELD_OUT)
    layers = [name for name in found.figures if name.startswith("mass_layer_")]
    assert layers == [f"mass_layer_{layer}" for layer in (0, 2, 3, 5, 6)]
    assert found.figures["mass"] == pytest.approx(fmean(found.figures[name] for name in layers), abs=1e-6)
    assert found.figures["mass"] != pytest.approx(fmean(everything[name] for name in layers), abs=1e-4)  # of both texts
    assert found.signature
    assert found.signature != selection.measured(graph, SEARCH).signature


def test_layers_of_a_part_may_use_the_choice_of_one_that_does_not_count(selection):
    alone, shared = (
        selection.measured(graph_of(selection, "centroid", pages=4, dense_layers=0, share_layers=n), SEARCH).figures
        for n in (1, 2)
    )
    assert shared["mass_layer_1"] < alone["mass_layer_1"]  # layer 0, whose choice it uses, asks for other pages
    assert shared["mass_layer_4"] == alone["mass_layer_4"]


@pytest.mark.parametrize(("documents", "layers"), [(("one",), 8), (("one", "two"), 1)])
def test_what_cannot_be_cut_is_refused(documents, layers):
    with pytest.raises(ValueError, match="cannot be cut into two parts"):
        split("recorded", "", recorded(documents=documents, num_layers=layers))


def test_a_file_is_known_by_what_is_in_it(tmp_path):
    for i in range(2):
        recordings.save(recorded(seed=i), tmp_path / f"{i}.safetensors")
    (tmp_path / "again.safetensors").write_bytes((tmp_path / "0.safetensors").read_bytes())
    one, other, again = (from_file(tmp_path / f"{name}.safetensors").digest for name in ("0", "1", "again"))
    assert one == again != other


class Counting:
    """A problem that counts how often it is asked."""

    name, digest = "counting", "a digest"

    def __init__(self, selection):
        self.terms, self.asked = selection.terms, []

    def measured(self, graph, split):
        self.asked.append(split)
        if graph.share_layers == 3:
            raise LookupError("not so")
        return Found({"mass": 0.5}, "a signature")


def test_figures_are_kept_by_program_and_part(selection, tmp_path):
    problem = Counting(selection)
    graph, same = (graph_of(selection, "centroid", pages=4), graph_of(selection, "centroid", pages=4))
    for kept in (Kept(problem, tmp_path / "new" / "figures.db"), Kept(problem, tmp_path / "new" / "figures.db")):
        assert kept.measured(graph, SEARCH) == kept.measured(same, SEARCH) == Found({"mass": 0.5}, "a signature")
        assert kept.measured(graph, HELD_OUT).figures == {"mass": 0.5}
    assert problem.asked == [SEARCH, HELD_OUT]
    for _ in range(2):
        with pytest.raises(LookupError, match="not so"):
            kept.measured(graph_of(selection, "centroid", share_layers=3), SEARCH)
    assert len(problem.asked) == 3
