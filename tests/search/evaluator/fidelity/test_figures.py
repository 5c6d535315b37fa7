"""Figures of a comparison: means, parts, and intervals that draw texts."""

import math

import numpy as np
import pytest

from search.evaluator.fidelity.figures import Compared
from search.evaluator.fidelity.texts import Text

KINDS = ("prose", "own")
FEW_DOCUMENTS = [Text(f"prose {i % 4}", "prose", (0,) * 10, (1,) * 7) for i in range(16)]
TEXTS = [Text(f"prose {i // 2}", KINDS[i % 2], (0,) * (10, 20)[i % 2], (1,) * 7) for i in range(8)]


def compared(kl, agrees=None, dense=None, sparse=None):
    shape = (len(TEXTS), 6)
    kl = np.broadcast_to(kl, shape)
    empty = np.zeros(shape)
    return Compared(TEXTS, kl, *(empty if each is None else each for each in (agrees, dense, sparse)))


def found(made):
    return {each.name: each for each in made.measurements()}


def test_parts_make_up_the_mean():
    kl = np.array([[1.0], [3.0]] * 4) + np.array([0.0, 0.0, 0.2, 0.2, 0.4, 0.4])
    figures = found(compared(kl))
    values = {name: round(each.value, 9) for name, each in figures.items()}
    assert values["kl"] == 2.2
    assert (values["kl_prose"], values["kl_own"]) == (values["kl_10"], values["kl_20"]) == (1.2, 3.2)
    assert [values[f"kl_third_{i}"] for i in (1, 2, 3)] == [2.0, 2.2, 2.4]
    assert figures["kl"].num_samples == 48
    assert figures["kl_own"].num_samples == 24


def test_an_interval_is_as_wide_as_texts_differ():
    within = found(compared(np.array([0.0, 2.0] * 3)))["kl"]
    between = found(compared(np.array([[0.0]] * 4 + [[2.0]] * 4)))["kl"]
    assert within.value == between.value == 1.0
    assert within.low == within.high == 1.0, "every text has the same mean"
    assert between.low < 0.5 < 1.5 < between.high


def test_where_there_are_enough_documents_whole_ones_are_drawn():
    """Texts of a document are alike: eight documents of two texts each say no more than eight texts."""
    texts = [Text(f"prose {i // 2}", KINDS[i % 2], (0,) * 10, (1,) * 7) for i in range(16)]
    kl = np.repeat(np.arange(8.0), 2)[:, None] * np.ones((16, 6))
    zero = np.zeros((16, 6))
    alike, apart = (found(Compared(each, kl, zero, zero, zero))["kl"] for each in (texts, FEW_DOCUMENTS))
    assert alike.value == apart.value == 3.5
    assert alike.high - alike.low > 1.3 * (apart.high - apart.low)


def test_perplexity_is_compared_in_logarithms():
    figures = found(compared(0.1, dense=np.full((8, 6), -1.0), sparse=np.full((8, 6), -1.5)))
    ratio = figures["perplexity_ratio"]
    assert ratio.value == ratio.low == ratio.high == pytest.approx(math.exp(0.5))


def test_perplexity_is_that_of_true_texts():
    """What dense attention says by itself is likely to it by choice: whoever differs looks worse there."""
    sparse = np.array([[-1.5], [-9.0]] * 4) * np.ones((8, 6))
    ratio = found(compared(0.1, dense=np.full((8, 6), -1.0), sparse=sparse))["perplexity_ratio"]
    assert ratio.value == pytest.approx(math.exp(0.5))
    assert ratio.num_samples == 24


def test_the_mean_of_few_texts_is_less_sure_than_their_range():
    """Of two texts of a length, half of all means lie outside of what both reach."""
    kl = np.array([[1.0], [1.0], [3.0], [3.0], [1.0], [1.0], [3.0], [3.0]]) * np.ones((8, 6))
    few = Compared(TEXTS[:4], *(each[:4] for each in (kl, np.zeros((8, 6)), np.zeros((8, 6)), np.zeros((8, 6)))))
    part = found(few)["kl_10"]
    assert (part.value, part.low) == (2.0, 0.0), "and no KL is below 0"
    assert part.high > 10


def test_an_agreement_that_is_perfect_is_not_certain():
    agreement = found(compared(0.0, agrees=np.ones((8, 6))))["agreement"]
    assert (agreement.value, agreement.high) == (1.0, 1.0)
    assert agreement.low < 0.95


def test_agreement_is_a_share_and_a_string():
    agrees = np.zeros((8, 6))
    agrees[0, 1] = agrees[7, 5] = 1.0
    made = compared(0.1, agrees=agrees)
    assert found(made)["agreement"].value == pytest.approx(2 / 48)
    assert made.agreements == "01" + "0" * 45 + "1"


def test_it_says_how_much_there_was():
    assert compared(0.0).extent == "48 positions in 8 texts from 4 documents"


def test_one_text_gives_no_interval():
    made = Compared(TEXTS[:1], *(np.ones((1, 6)) for _ in range(4)))
    assert (found(made)["kl"].low, found(made)["kl"].high) == (None, None)
