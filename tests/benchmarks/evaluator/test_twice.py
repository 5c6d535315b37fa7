"""Two evaluation seeds: the orders are compared, the texts have no document in common, and real engines judge."""

from dataclasses import replace

import pytest

from benchmarks.evaluator import page, results
from benchmarks.evaluator.twice import Rule, Texts, Wanted, compared, concluded, judge
from search.evaluator.fidelity.texts import Text
from search.records import Evaluation, EvaluationKey, Measurement, Stage, Status

RULES = ("quest", "centroid", "mass_lse", "ball", "streaming", "two_stage")
WANTED = Wanted(RULES)
TEXTS = Texts((("prose 1",), ("prose 2",)), (1, 1), 0.0)


def evaluation(kl, status=Status.OK):
    key = EvaluationKey("program", Stage.FIDELITY, "workload", "model", "environment", "2", 0)
    return Evaluation(key, status, "it broke", (Measurement("kl", kl, 0.9 * kl, 1.1 * kl, 576),))


def told(second):
    done = {name: [evaluation(0.1 * (i + 1)), evaluation(second[i])] for i, name in enumerate(RULES)}
    return concluded(WANTED, "model", done, TEXTS)


def test_the_same_order_is_one_and_the_reverse_minus_one():
    assert told([0.2, 0.3, 0.5, 0.8, 0.9, 1.2]).kendall.value == pytest.approx(1.0)
    assert told([1.2, 0.9, 0.8, 0.5, 0.3, 0.2]).kendall.value == pytest.approx(-1.0)
    swapped = told([0.2, 0.3, 0.8, 0.5, 0.9, 1.2])  # one pair of fifteen
    assert "tau of the two orders: 0.87" in " ".join(page.of_twice(results.of_twice(swapped)))
    assert (swapped.kendall.value, swapped.num_rules) == (pytest.approx(13 / 15), 6)


def test_a_rule_that_failed_with_one_seed_is_told_and_not_ranked():
    done = {name: [evaluation(0.1 * (i + 1))] * 2 for i, name in enumerate(reversed(RULES))}
    done["ball"] = [evaluation(0.7), evaluation(0.7, Status.TIMED_OUT)]
    found = concluded(WANTED, "model", done, TEXTS)
    assert found.num_rules == 5
    assert found.rules[-1] == Rule("ball", message="timed_out: it broke")
    assert [rule.kl[0].value for rule in found.rules[:-1]] == sorted(rule.kl[0].value for rule in found.rules[:-1])


def text(name, first, num=60):
    return Text(name, "prose", tuple(range(first, first + num)), tuple(range(first + num, first + num + 4)))


def test_texts_of_two_seeds_share_no_document_and_quotes_are_counted():
    found = compared([text("prose 1", 0), text("prose 2", 100)], [text("prose 3", 200)])
    assert found == Texts((("prose 1", "prose 2"), ("prose 3",)), (2, 1), 0.0)
    half = compared([text("prose 1", 0)], [text("prose 2", 16)])  # 33 windows each, 16 of the first are not there
    assert half.shared_share == pytest.approx(17 / 33)
    with pytest.raises(ValueError, match="both seeds were judged on prose 1"):
        compared([text("prose 1", 0)], [text("prose 1", 200)])


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"rules": (*RULES, "oracle_mass", "random_pages")}, "oracle_mass, random_pages: only there to compare with"),
        ({"rules": RULES[:4]}, "at least 5 rules, each once"),
        ({"rules": (*RULES, "quest")}, "at least 5 rules, each once"),
        ({"seeds": (3, 3)}, "seed 3 twice draws the same texts"),
    ],
)
def test_what_could_tell_nothing_is_refused_before_an_engine_starts(more, sentence):
    with pytest.raises(ValueError, match=sentence):
        judge(replace(WANTED, **more))


@pytest.mark.vllm
@pytest.mark.slow
def test_real_engines_judge_rules_on_texts_that_two_seeds_draw(tiny_llama, tmp_path, monkeypatch, home_with_loops):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    home_with_loops(tmp_path / "vortex-search" / "engines")
    rules = ("streaming", "centroid", "ball", "value_gated", "two_stage")
    found = judge(Wanted(rules, (0, 1), 2.0, str(tiny_llama), 400))
    assert {rule.name for rule in found.rules} == set(rules)
    for rule in found.rules:
        assert rule.message == ""
        assert [kl.low < kl.value < kl.high for kl in rule.kl] == [True, True]
        assert rule.kl[0].value != rule.kl[1].value
    first, second = found.texts.documents
    assert not set(first) & set(second)
    assert found.texts.num_texts == (24, 24)
    assert -1 <= found.kendall.value <= 1
    assert "no document is in both" in page.of_twice(results.of_twice(found))[0]
