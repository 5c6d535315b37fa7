"""Parts of a recording have nothing in common, and only a part's own layers count."""

from statistics import fmean

import pytest

from benchmarks.search.kept import Kept
from benchmarks.search.problems import SEARCH, from_file, split
from search.evaluator.recall import figures, recordings
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
    assert seen.layers == (0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19)
    assert other.layers == (4, 5, 6, 7, 12, 13, 14, 15)
    assert [each.recording.names for each in seen.asking.dense] == [("a", "e")]
    assert [each.recording.names for each in other.asking.dense] == [("b", "c", "d", "f")]


def test_a_part_measures_its_own_documents_and_layers():
    selection = split("recorded", "a digest", recorded(documents=("one", "two")))
    graph = graph_of(selection, "centroid", pages=4, dense_layers=0)
    by_layer = {m.name: m.value for m in figures.measure(graph, selection.parts[HELD_OUT].asking)}
    expected = fmean(by_layer[f"mass_layer_{layer}"] for layer in (4, 5, 6, 7))
    assert selection.measured(graph, HELD_OUT)["mass"] == pytest.approx(expected)
    assert selection.measured(graph, SEARCH)["mass"] != pytest.approx(expected, abs=1e-4)


def test_layers_of_one_part_may_use_the_choice_of_a_layer_that_does_not_count(selection):
    shared = graph_of(selection, "centroid", pages=4, dense_layers=0, share_layers=8)
    assert 0 < selection.measured(shared, HELD_OUT)["mass"] < 1


def test_layers_that_share_beyond_a_block_are_told(selection):
    with pytest.raises(LookupError, match="share_layers"):
        split("recorded", "", recorded(num_layers=20)).measured(
            graph_of(selection, "centroid", pages=4, dense_layers=0, share_layers=3), SEARCH
        )


@pytest.mark.parametrize(("documents", "layers"), [(("one",), 8), (("one", "two"), 4)])
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
        return {"mass": 0.5}


def test_figures_are_kept_by_program_and_part(selection, tmp_path):
    problem = Counting(selection)
    graph, same = (graph_of(selection, "centroid", pages=4), graph_of(selection, "centroid", pages=4))
    for kept in (Kept(problem, tmp_path / "new" / "figures.db"), Kept(problem, tmp_path / "new" / "figures.db")):
        assert kept.measured(graph, SEARCH) == kept.measured(same, SEARCH) == {"mass": 0.5}
        assert kept.measured(graph, HELD_OUT) == {"mass": 0.5}
    assert problem.asked == [SEARCH, HELD_OUT]
    for _ in range(2):
        with pytest.raises(LookupError, match="not so"):
            kept.measured(graph_of(selection, "centroid", share_layers=3), SEARCH)
    assert len(problem.asked) == 3
