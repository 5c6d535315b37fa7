"""An own task end to end: lm-eval asks and scores here, and real engines of a small random model answer."""

from types import SimpleNamespace

import pytest

from search.evaluator.arms import TimeLimits, WorkerSettings
from search.evaluator.engine import EngineSettings
from search.evaluator.outcomes import DenseFailedError
from search.evaluator.sandbox import ChildRefusalError
from search.evaluator.tasks import stage
from search.evaluator.tasks.named import source_of
from search.records import EvaluationKey, EvaluationTask, Stage, Status, Workload
from vortex_dsl import zoo

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

MAX_TOKENS, NUM_ASKED, REPEATED = 512, 3, 12
COVERING, FEW = (("pages", 64), ("dense_layers", 0)), (("pages", 2), ("dense_layers", 0))


class Arms:
    """What a stage asks of a worker's engines, answered by engines that run already."""

    def __init__(self, settings, hosts):
        self.settings, self.limits, self.hosts = settings, TimeLimits(), hosts

    def ask_dense(self, call, args, _limit_s):
        try:
            return self._ask("dense", call, args)
        except ChildRefusalError as error:
            raise DenseFailedError(str(error), error.status) from error

    def sparse(self, _task):
        return SimpleNamespace(call=lambda call, args, _limit_s: self._ask("sparse", call, args))

    def _ask(self, role, call, args):
        reply = self.hosts[role].call(call, **args)
        if "result" not in reply:
            raise ChildRefusalError(Status(reply["status"]), reply["message"])
        return reply["result"]


@pytest.fixture(scope="module")
def hosts(start_host, tiny_llama):
    return {role: start_host(role, tiny_llama, max_tokens=MAX_TOKENS) for role in ("dense", "sparse")}


@pytest.fixture
def asked(hosts, tiny_llama, write_task, tmp_path, monkeypatch):
    """Write an own task of documents and give what runs it with a program: `asked(answers, program, values)`."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    arms = Arms(WorkerSettings(EngineSettings(str(tiny_llama), True, MAX_TOKENS), tmp_path / "scratch", (3, 32)), hosts)

    def run(program, values, answers=("43",) * 6, repeated=REPEATED):
        rows = [
            {"question": f"{i} ships came into the quiet harbour. " * repeated, "answer": answer}
            for i, answer in enumerate(answers)
        ]
        source = source_of(str(write_task(tmp_path, rows)), tiny_llama, (MAX_TOKENS,), arms.settings.scratch)
        workload = Workload(Stage.TASK, num_tokens=MAX_TOKENS, num_sequences=NUM_ASKED, source=source)
        key = EvaluationKey(program, Stage.TASK, workload.digest, "m", "e", "1", 0)
        outcome = stage.run(arms, EvaluationTask(key, zoo.text(program), values, workload))
        return outcome, {m.name: m.value for m in outcome.measurements}

    run.hosts = hosts
    return run


def num_asked(host):
    return host.calls.count("task")


def test_every_decoded_token_had_a_sparse_read_and_dense_is_asked_once(asked):
    before = num_asked(asked.hosts["dense"])
    outcome, figures = asked("quest", FEW)
    assert outcome.status is Status.OK
    assert outcome.message == f"{NUM_ASKED} documents, answered greedily, without a chat template"
    assert (figures["exact_match"], figures["dense_exact_match"], figures["loss"]) == (0.0, 0.0, 0.0)
    assert len(outcome.correct) == NUM_ASKED
    assert figures["sparse_layers"] == 3
    assert 2 <= figures["pages_attended"] <= 5 < 9 < figures["pages_dense"]
    asked("random_pages", FEW)
    assert num_asked(asked.hosts["dense"]) == before + 1


def test_a_covering_budget_answers_as_dense_does(asked):
    own, _ = asked("dense", ())
    covering, figures = asked("quest", COVERING)
    assert own.answers == covering.answers
    assert figures["loss"] == 0.0
    assert figures["pages_attended"] == figures["pages_dense"]


def test_what_the_model_says_is_scored_as_right_where_it_is_expected(asked):
    """The document expects what this model happens to say, so that both arms are wholly right."""
    host = asked.hosts["dense"]
    prompts = [f"{i} ships came into the quiet harbour. " * REPEATED for i in range(6)]
    sampling = {"until": ["\n\n"], "max_gen_toks": 6, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": 0}
    said = host.call("task", text="", values=[], prompts=prompts, samplings=[sampling] * 6, special_tokens=True)
    outcome, figures = asked("dense", (), answers=said["result"]["texts"])
    assert (figures["exact_match"], figures["dense_exact_match"], outcome.correct) == (1.0, 1.0, "1" * NUM_ASKED)


def test_answers_without_a_sparse_read_do_not_count(asked):
    with pytest.raises(ChildRefusalError, match="lower dense_layers") as caught:
        asked("quest", (("dense_layers", 3),))
    assert caught.value.status is Status.NOT_SPARSE


def test_a_prompt_that_the_engine_does_not_take_is_one_sentence(asked):
    with pytest.raises(DenseFailedError, match=r"of the task has \d+ tokens, and the engine takes 512") as told:
        asked("quest", FEW, repeated=40)
    assert told.value.status is Status.UNSUPPORTED
