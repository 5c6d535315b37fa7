"""The zoo: published rules, each a short file that loads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vortex_dsl import zoo
from vortex_dsl.frontend.load import load_program
from vortex_dsl.frontend.trace import trace
from vortex_dsl.values import Shape
from vortex_dsl.zoo import names, path, text

MIN_NAMES = 38
# Stored results are found by digest: where one of these changes, everything measured of that program is lost.
DIGESTS = Path(__file__).with_name("digests.json")
WITHOUT_ARXIV = ("ball", "dense", "diverse", "ema", "mass_lse", "oracle_mass", "oracle_max", "random_pages")


def test_the_zoo_has_the_published_programs() -> None:
    assert len(names()) >= MIN_NAMES


@pytest.mark.parametrize("name", names())
def test_a_program_is_short_loads_and_traces_for_any_group(name: str) -> None:
    lines = text(name).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120
    program = load_program(path(name))
    assert program.doc
    assert program.name.lower() == name.replace("_", "")
    graphs = [trace(program, Shape(group, dim)) for group, dim in ((1, 64), (4, 128), (8, 80), (128, 576))]
    assert len({graph.digest for graph in graphs}) == 1


def test_published_programs_name_their_paper() -> None:
    unnamed = [name for name in names() if not re.search(r"arXiv:\d{4}\.\d{5}", load_program(path(name)).doc)]
    assert unnamed == list(WITHOUT_ARXIV)


def test_no_two_programs_mean_the_same() -> None:
    digests = [trace(load_program(text(name)), Shape(4, 64)).digest for name in names()]
    assert len(set(digests)) == len(digests)


def test_no_program_has_another_digest_than_when_it_was_published() -> None:
    recorded = json.loads(DIGESTS.read_text())
    now = {name: trace(load_program(text(name)), Shape(4, 128)).digest for name in recorded}
    assert now == recorded


def test_an_unknown_name_is_refused_by_a_sentence() -> None:
    with pytest.raises(LookupError, match="no program 'qest' in the zoo; it has ball, "):
        path("qest")


def test_the_zoo_offers_nothing_else() -> None:
    assert {name for name in vars(zoo) if name.islower() and not name.startswith("_")} <= {
        "annotations", "names", "path", "text",
    }  # fmt: skip
