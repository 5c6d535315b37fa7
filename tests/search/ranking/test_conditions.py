"""What `--where` and `--sort` may say, and the sentence for what they may not."""

import pytest

from search.ranking.conditions import KINDS, ConditionError, order_of, parse


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spedup > 1", "no 'spedup'; did you mean 'speedup'?"),
        ("qqqq > 1", "no 'qqqq'; there are accuracy"),
        ("kl", "'kl' neither compares anything nor can be true or false; write for example"),
        ("kl = 1", "no condition"),
        ("kl <", "no condition"),
        ("", "no condition"),
        ("kl < '1'", "'kl' is a number, \"'1'\" is a text"),
        ("name < 1", "compares different things"),
        ("kl in (1, 2)", "only <, <="),
        ("kl is None", "only <, <="),
        ("kl < None", "neither a field, a number nor a text"),
        ("kl + 1 < 2", "neither a field, a number nor a text"),
        ("__import__('os').system('true') == 0", "neither a field, a number nor a text"),
        ("(lambda: 1)() > 0", "neither a field"),
        ("kl.real < 1", "neither a field"),
        ("kl < 1e999", "neither a field"),
        ("parents == 'a'", "no 'parents'"),
        ("(" * 300 + "kl < 1" + ")" * 300, "no condition"),
        ("kl < 1 or " * 200 + "kl < 1", "2,006 characters"),
        ("kl < \0", "no condition"),
        (r"name == '\0'", "no row can have"),
        (r"name == '\ud800'", "no row can have"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(text, said):
    with pytest.raises(ConditionError) as refused:
        parse(text)
    assert said in str(refused.value)
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize(
    "text", ["kl < .1", " kl<.1 and not (confirmed or name == 'A')", "-1 < kl != 1", "not " * 200 + "kl < 1"]
)
def test_what_can_be_asked_is_read(text):
    parse(text)


def test_arithmetic_is_refused():
    with pytest.raises(ConditionError, match="'-speedup_low' is neither"):
        parse("kl < -speedup_low")


def test_best_comes_first_whatever_is_sorted_by():
    assert order_of("kl") == ("kl", False)
    assert order_of("speedup_low") == ("speedup_low", True)
    assert order_of("-speedup") == ("speedup", False)
    assert order_of("confirmed_accuracy") == ("confirmed_accuracy", True)
    assert order_of("bytes_per_page") == ("bytes_per_page", False)
    with pytest.raises(ConditionError, match=r"--sort: .*did you mean 'kl_low'"):
        order_of("kl_lo")


def test_every_field_that_is_promised_can_be_asked_for():
    assert {"ratio", "kl", "speedup_low", "name", "device", "reason", "confirmed", "cost_ratio"} <= KINDS.keys()
