"""Campaign files: what they say is checked key by key, and options stand above them."""

import pytest

from search.campaigns.reading import read_setup
from search.campaigns.setup import Setup, round_of
from search.config import PROPOSERS, ConfigError

WHOLE = """
model = "smollm2"
tokens = 2000
text = "words.txt"
ratios = [8, 16.5]
target = "B200"
seed = -3
lag = 32
candidates = 7
max_seconds = 60
max_dollars = 1.5
stop_at = "kl < 0.05 at 8"
patience = 20
seed_programs = ["a.py", "deeper/b.py"]
workers = 2
ray = "head:6379"
gpus = ["any"]
db = "sqlite:///x.db"

[proposers]
grammar = 3
big = 1

[endpoints.big]
llm = "m"
base_url = "http://localhost:8000/v1"
price = [1, 2.5]
api_key_env = "BIG_KEY"
"""


@pytest.fixture
def file(tmp_path):
    """Give a function that writes a campaign file."""

    def written(text):
        path = tmp_path / "campaign.toml"
        path.write_text(text)
        return path

    return written


@pytest.fixture
def named(tmp_path):
    """Put there the files that `WHOLE` names."""
    tmp_path.joinpath("deeper").mkdir()
    for name in ("words.txt", "a.py", "deeper/b.py"):
        tmp_path.joinpath(name).touch()


@pytest.mark.usefixtures("named")
def test_a_file_says_everything(file, tmp_path):
    setup = read_setup(file(WHOLE))
    assert (setup.model, setup.tokens, setup.seed, setup.lag, setup.patience) == ("smollm2", 2000, -3, 32, 20)
    assert setup.ratios == (8.0, 16.5)
    assert setup.round == ("grammar", "grammar", "big", "grammar")
    assert setup.text == tmp_path / "words.txt"
    assert setup.seed_programs == (tmp_path / "a.py", tmp_path / "deeper" / "b.py")
    assert (setup.workers, setup.ray, setup.gpus, setup.db) == (2, "head:6379", ("any",), "sqlite:///x.db")
    endpoint = setup.agents()["big"]
    assert (endpoint.model, endpoint.api_key_env, endpoint.prompt_price, endpoint.completion_price) == (
        "m", "BIG_KEY", 1.0, 2.5,
    )  # fmt: skip


def test_without_a_file_everything_has_its_default():
    setup = read_setup()
    assert setup == Setup()
    assert (setup.model, setup.candidates, setup.workers, setup.round) == ("probe", 100, 1, PROPOSERS)


@pytest.mark.usefixtures("named")
def test_options_stand_above_the_file_and_the_file_above_what_is_usual(file):
    setup = read_setup(file(WHOLE), {"candidates": 9, "ratios": [4.0], "proposers": ["random"]})
    assert (setup.candidates, setup.ratios, setup.round) == (9, (4.0,), ("random",))
    assert (setup.tokens, setup.seed) == (2000, -3)


@pytest.mark.usefixtures("named")
def test_an_option_changes_one_key_of_an_endpoint(file):
    text = WHOLE.replace("big", "llm")
    endpoint = read_setup(file(text), {"endpoints": {"llm": {"price": (3.0, 4.0)}}}).endpoints["llm"]
    assert (endpoint.price, endpoint.base_url) == ((3.0, 4.0), "http://localhost:8000/v1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raitos = [8]", "there is no key 'raitos'; did you mean 'ratios'?"),
        ("zzz = 1", "there is no key 'zzz'; there are model, tokens,"),
        ("[endpoints.llm]\nllm = 'm'\nbase_ulr = 'x'", "no key 'endpoints.llm.base_ulr'; did you mean 'base_url'?"),
        ("workers = 0", "workers must be greater than or equal to 1, but is 0"),
        ("workers = 2000", "workers must be less than or equal to 1024, but is 2000"),
        ("workers = '2'", "workers must be a whole number, but is '2'"),
        ("workers = 1.5", "workers must be a whole number, but is 1.5"),
        ("workers = true", "workers must be a whole number, but is True"),
        ("tokens = 5", "tokens must be greater than or equal to 256"),
        ("ratios = 8", "ratios must be a list, but is 8"),
        ("ratios = ['8']", "ratios.0 must be a number, but is '8'"),
        ("ratios = [1,2,3,4,5,6,7,8,9]", "ratios"),
        ("model = ''", "model must have at least 1 character, but is ''"),
        ("model = 3", "model must be a text, but is 3"),
        ("seed_programs = [3]", "seed_programs.0 must be a path, but is 3"),
        ("seed_programs = ['none.py']", "none.py cannot be read: No such file or directory; give the path of a file"),
        ("[endpoints]\nllm = 3", "endpoints.llm must be a"),
        ("seed = 9223372036854775808", "seed must be less than or equal to"),
        ("max_seconds = nan", "max_seconds must be a finite number"),
        ("max_seconds = 0", "max_seconds must be greater than 0"),
        ("candidates = -1", "candidates must be greater than or equal to 0"),
        ("patience = 0", "patience must be greater than or equal to 1"),
        ("[proposers]\ngrammar = 0", "proposers 'grammar' must have a whole number of turns from 1 to 64, but has 0"),
        ("[proposers]\ngrammar = 0.5", "but has 0.5"),
        ("[proposers]\ngrammar = 60\nrandom = 59", "weights come to 119 turns"),
        ("[proposers]\ngramar = 1", "there is no proposer 'gramar'; did you mean 'grammar'?"),
        ("proposers = ['llm']", "the proposer llm has nobody to ask"),
        ("max_dollars = 3", "max_dollars needs what a model costs"),
        ("task = 'gsm8k'", "task says what a real model is judged on, and the probe has its own; name a model"),
        ("model = 'probe'\ntokens = 4000", "tokens says what a real model is judged on"),
        ("[endpoints.llm]\nbase_url = 'http://x'", "endpoints.llm does not say which model to ask"),
        ("[endpoints.llm]\nllm = 'm'\nbase_url = 'x'", "endpoints.llm.base_url is no URL, but 'x'"),
        ("[endpoints.llm]\nllm = 'm'\nprice = [1, -1]", "endpoints.llm.price is no price"),
        ("[endpoints.llm]\nllm = 'm'\nprice = [1]", "endpoints.llm.price"),
        ("[endpoints.greedy]\nllm = 'm'", "another proposer's name"),
        ("[endpoints.'A b']\nllm = 'm'", "cannot be called 'A b'"),
        ("endpoints = 3", "endpoints must be a table, but is 3"),
        ("model = ", "is no TOML"),
        ("", "has no setting"),
        ("# model = 'probe'", "has no setting"),
        ("a = 1\na = 2", "is no TOML"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_file_and_key(file, text, says):
    path = file(text)
    with pytest.raises(ConfigError) as refused:
        read_setup(path)
    assert str(refused.value).startswith(str(path))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_key_is_never_repeated(file):
    """Who writes the key itself where its variable is asked for finds it in no log."""
    with pytest.raises(ConfigError) as refused:
        read_setup(file("[endpoints.llm]\nllm = 'm'\napi_key_env = 'sk-very-secret'"))
    assert "never the key itself" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_what_an_option_says_is_not_blamed_on_the_file(file):
    path = file("workers = 2")
    with pytest.raises(ConfigError) as refused:
        read_setup(path, {"workers": 0})
    assert str(path) not in str(refused.value)


def test_several_mistakes_are_counted(file):
    with pytest.raises(ConfigError, match=r"\(and 1 more\)"):
        read_setup(file("workers = 0\nseed = 'x'"))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (1 << 21)])
def test_what_is_no_text_or_too_much_of_it_is_refused(tmp_path, content):
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.toml"):
        read_setup(tmp_path / "c.toml")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_setup(tmp_path / "nowhere.toml")
    (tmp_path / "small.toml").write_text("")
    with pytest.raises(ConfigError, match=r"did you mean 'small\.toml'\?"):
        read_setup(tmp_path / "smal.toml")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"target": "H20"}, "^target is 'H20'; give one of .*; did you mean 'H200'"),
        ({"steer_by": "modeled"}, "^steer_by is 'modeled'; give .*; did you mean 'modelled'"),
        ({"ratios": (0.5,)}, "^ratios are 0.5; give numbers from 1 to 1024"),
        ({"stop_at": "kll < 0.05 at 8"}, "^stop_at 'kll < 0.05 at 8' is no target: .*; did you mean 'kl'"),
    ],
)
def test_what_no_model_could_mend_is_refused_before_one_is_read(given, says):
    with pytest.raises(ConfigError, match=says):
        read_setup(None, given)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"a": 1}, "a"),
        ({"a": 2, "b": 2}, "ab"),
        ({"a": 3, "b": 1}, "aaba"),
        ({"a": 5, "b": 1, "c": 1}, "aabacaa"),
        ({}, ""),
    ],
)
def test_turns_are_spread_evenly(weights, expected):
    assert "".join(round_of(weights)) == expected


def test_every_share_of_a_round_is_kept_anywhere_within_one_turn():
    weights = {"a": 7, "b": 5, "c": 3, "d": 1}
    found, total = round_of(weights), sum(weights.values())
    for name, weight in weights.items():
        for end in range(1, total + 1):
            assert abs(found[:end].count(name) - weight * end / total) < 1.01


def test_endpoints_bring_agents_into_the_usual_round():
    both = {"endpoints": {name: {"llm": "m", "base_url": "http://x"} for name in ("one", "two")}}
    turns = read_setup(None, both).round
    assert (turns.count("one"), turns.count("two"), "llm" in turns) == (2, 1, False)


def test_openais_own_endpoint_needs_a_key(monkeypatch):
    asked = {"endpoints": {"llm": {"llm": "m", "api_key_env": "NOT_SET_ANYWHERE"}}}
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        read_setup(None, asked).agents()
    monkeypatch.setenv("NOT_SET_ANYWHERE", "k")
    assert read_setup(None, asked).agents()["llm"].base_url == ""
