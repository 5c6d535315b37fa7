"""`vortex run --model FOLDER` and `vortex eval` from options to the leaderboard: Ray, vLLM and SQLite are real.

The model is tiny and random, with a tokenizer of its own, a group of 3 and a limit of 2,048 tokens: its figures mean
nothing, but every one that is promised has to be there.
"""

import json
from contextlib import closing

import pytest

from search.campaigns import machines
from search.cli import main
from search.config import CampaignConfig
from search.records import Stage, Status
from search.store.ledger import SqlLedger
from vortex_dsl import zoo

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(560)]

RATIO, TOKENS = 2.0, 768
SEEDS = ("dense", "quest", "random_pages")  # of the published rules, all of which are seeds
CENTROID = zoo.text("centroid")


@pytest.fixture(scope="module")
def place(tmp_path_factory, write_task, home_with_loops):
    """Keep caches, documents and the database of this test in a folder of its own, with few seeds."""
    folder = tmp_path_factory.mktemp("real-model")
    rows = [{"question": f"{i} ships came into the quiet harbour. " * 8, "answer": "43"} for i in range(4)]
    write_task(folder, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("HF_HOME", str(folder / "hf"))
        patch.setattr(zoo, "names", lambda: SEEDS)
        patch.setattr(machines, "MOST_THREADS", 1)  # so one dense engine does for references and for timing
        home_with_loops(folder / "cache" / "vortex-search" / "engines")
        yield folder


@pytest.fixture(scope="module")
def ran(place, tiny_llama):
    """Give the exit code of a campaign of one invention, its settings, records, rows and environment."""
    db = f"sqlite:///{place}/results.db"
    asked = ["--model", str(tiny_llama), "--ratio", str(RATIO), "--tokens", str(TOKENS), "--db", db]
    code = main(["run", "-n", "1", "--proposer", "grammar", "--task", str(place / "own.yaml"), *asked])
    with closing(SqlLedger(db)) as ledger:
        campaign = ledger.campaigns()[-1]
        config = CampaignConfig.from_json(campaign.settings)
        return code, config, ledger.records(campaign.id), ledger.standings(campaign.id), asked


def named(records, name):
    return next(record for record in records if record.candidate.name == name)


def test_the_campaign_takes_the_models_shape_and_judges_the_same_lengths_everywhere(ran):
    code, config, *_ = ran
    assert code == 0
    assert (config.group, config.head_dim, config.num_layers, config.ratios) == (3, 32, 3, (RATIO,))
    compared = (Stage.CHECK, Stage.RECALL, Stage.FIDELITY, Stage.SERVE)
    assert len({config.workload(stage).lengths for stage in compared}) == 1
    assert len(config.workload(Stage.SERVE).lengths) > 1
    assert max(config.workload(Stage.SERVE).lengths) <= TOKENS


@pytest.mark.parametrize("name", ["Quest", "RandomPages"])
def test_a_rule_has_every_figure_at_the_ratio(ran, name):
    record = named(ran[2], name)
    assert {e.status for e in record.evaluations if e.key.stage is not Stage.SCREEN} == {Status.OK}
    screened = record.evaluation(Stage.SCREEN, RATIO).status  # chance may keep no more than chance
    assert screened is Status.OK or (name, screened) == ("RandomPages", Status.BELOW_GATE)
    assert record.value(Stage.CHECK, "cost_ratio", RATIO) >= RATIO
    assert 0 < record.value(Stage.RECALL, "mass", RATIO) < 1
    assert record.value(Stage.FIDELITY, "kl", RATIO) > 1e-9
    assert record.value(Stage.TASK, "dense_exact_match", RATIO) is not None
    assert record.evaluation(Stage.ORACLE, 0.0).ratio == 0.0


def test_the_best_are_timed_in_the_end(ran):
    timed = [record for record in ran[2] if record.evaluation(Stage.SERVE, RATIO)]
    assert min(ran[2][1:3], key=lambda record: record.value(Stage.FIDELITY, "kl", RATIO)) in timed
    for record in timed:
        assert record.value(Stage.SERVE, "speedup", RATIO) > 0
        assert 0 < record.value(Stage.SERVE, "pages_attended", RATIO) < record.value(Stage.SERVE, "pages_dense", RATIO)


def test_questions_that_the_model_cannot_answer_or_be_asked_are_told_and_stop_nobody(ran):
    asked = named(ran[2], "Quest").evaluation(Stage.RETRIEVAL, RATIO)
    assert (asked.status, asked.value("accuracy")) == (Status.OK, None)
    assert "less than 80% of every kind at every length: words at 192 (0%)" in asked.message
    assert "left out, as no passage fits: needle at 192 (takes about" in asked.message


def test_dense_attention_is_a_reference_and_never_a_result(ran):
    row = next(row for row in ran[3] if row.name == "Dense")
    assert (row.reference, row.ratio) == (True, 0.0)
    assert row.kl == pytest.approx(0.0, abs=1e-6)
    assert named(ran[2], "Dense").evaluation(Stage.SERVE, 0.0) is None


def test_the_leaderboard_has_a_row_with_figures_or_a_reason_for_each(ran):
    rows = {row.name: row for row in ran[3]}
    assert {"Dense", "Quest", "RandomPages"} < set(rows), "and one that was invented"
    assert all(row.reason or row.kl is not None for row in ran[3])
    lengths = tuple(sorted(ran[1].workload(Stage.SERVE).lengths))
    for name in ("Quest", "RandomPages"):
        row = rows[name]
        assert (row.ratio, row.mixed_lengths, tuple(sorted(row.lengths))) == (RATIO, False, lengths)
        assert None not in (row.kl, row.recall, row.cost_ratio)
    assert any(row.speedup is not None for row in ran[3])


def test_eval_takes_another_program_through_the_same_stages(ran, capsys, tmp_path):
    (tmp_path / "own.py").write_text(CENTROID)
    code = main(["eval", str(tmp_path / "own.py"), "--set", "dense_layers=0", *ran[-1], "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    stages = {e["key"]["stage"] for e in told["evaluations"] if e["status"] == "ok" and e["ratio"] == RATIO}
    assert {"check", "recall", "fidelity", "retrieval", "serve"} <= stages
