"""What an engine decoded stands in its rows, and who reads more than it claims is refused."""

from types import SimpleNamespace

import pytest

from search.evaluator.guards import Decoded, claimed_pages
from search.evaluator.session import RefusedError, Session
from search.records import Status
from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.serving.shapes import ModelShape

SHAPE = ModelShape(num_q_heads=4, num_kv_heads=2, head_dim=64)
RESERVED = 3  # a sink and a window of two


def decoded(*requests):
    found = Decoded()
    for prompt, answer in requests:
        found.add(prompt, answer)
    return found


def test_the_first_token_of_an_answer_is_prefills():
    found = decoded((100, 3), (200, 1), (99, 2))
    assert dict(found.lengths) == {101: 1, 102: 1, 100: 1}
    told = {each.name: (each.value, each.num_samples) for each in found.measurements()}
    assert told == {"shortest_prompt": (99, 2), "longest_prompt": (100, 2), "preemptions": (0, 2)}


def test_claims_are_means_over_tokens_at_their_lengths():
    graph = trace(load_program(zoo.text("quest")).with_values(pages=4), Shape(2, 64))
    assert claimed_pages(graph, decoded((1000, 9)), 3) == 4 + RESERVED
    mixed = decoded((1000, 9), (31, 9))  # of which eight have two or three pages in all
    lengths = range(32, 40)
    assert claimed_pages(graph, mixed, 3) == ((4 + RESERVED) * 8 + sum(-(-each // 16) for each in lengths)) / 16


@pytest.fixture
def session(monkeypatch):
    """Give a session whose engine says that it read so many pages for each token and KV head."""
    monkeypatch.setattr(Session, "shape", SHAPE)

    def session(attended):
        layer = {"sparse_tokens": 8, "pages_attended": int(8 * 2 * attended), "pages_dense": 8 * 2 * 63}
        engine = SimpleNamespace(counters=lambda: [layer], decoded=decoded((1000, 9)), num_layers=3)
        made = Session("sparse")
        made._engine, made._served_program = engine, (zoo.text("quest"), (("pages", 4),))
        return made

    return session


def test_pages_read_stand_beside_those_claimed(session):
    found = {each.name: each.value for each in session(7).pages_read()}
    assert found["pages_attended"] == found["pages_claimed"] == 4 + RESERVED
    assert {"pages_dense", "sparse_layers", "shortest_prompt", "longest_prompt", "preemptions"} < set(found)


def test_who_reads_more_than_it_claims_is_refused(session):
    with pytest.raises(RefusedError, match=r"9\.0 pages were read .* claims 7\.0 at most") as refused:
        session(9).pages_read()
    assert refused.value.status is Status.WRONG_RESULT
