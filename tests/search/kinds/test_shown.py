"""What people see of a campaign on two kinds of machines: each figure with the one that it was measured on."""

import json
import zipfile
from contextlib import closing
from dataclasses import replace

import pytest

from search.cli import main
from search.commands.exits import ExitCode
from search.store.ledger import SqlLedger
from tests.search.kinds.test_elsewhere import HERE, THERE, Both, FakeEvaluator, search


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Give a database with a campaign on two kinds, and the two best of those that were timed at a cost ratio of 4."""
    db, measured = f"sqlite:///{tmp_path_factory.mktemp('kinds') / 'results.db'}", FakeEvaluator._run
    with closing(SqlLedger(db)) as ledger, pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeEvaluator, "_run", lambda *asked: replace(measured(*asked), answers="ab" * 128))
        _, campaign = search(ledger, Both(2))
        rows = [row for row in ledger.standings(campaign.id) if row.ratio == 4 and row.device == THERE.device]
    timed = sorted((row for row in rows if row.speedup is not None), key=lambda row: row.kl)
    return db, [str(row.id) for row in timed[:2]]


def told(capsys, *words):
    assert main(list(words)) == ExitCode.DONE
    return capsys.readouterr().out


def test_show_names_the_machine_of_each_stage(searched, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    db, (one, _) = searched
    lines = told(capsys, "show", one, "--db", db).splitlines()
    served = [line for line in lines if " serve " in line and "speedup" in line]
    assert [name for line in served for name in (HERE.device, THERE.device) if name in line][:2] == [
        HERE.device,
        THERE.device,
    ]


def test_compare_names_it_too_and_compares_each_within_itself(searched, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    db, pair = searched
    assert THERE.device in told(capsys, "compare", *pair, "--db", db)
    found = json.loads(told(capsys, "compare", *pair, "--db", db, "--json"))
    speeds = {each["machine"]: each for each in found if each["figure"] == "speedup" and each["ratio"] == 4}
    assert len(speeds) == 2
    for each in speeds.values():
        is_there = each["machine"].startswith(THERE.device)
        assert (each["value_a"] > 10, each["value_b"] > 10) == (is_there, is_there)


def test_a_leaderboard_has_a_section_for_each(searched, capsys):
    db, _ = searched
    rows = json.loads(told(capsys, "leaderboard", "--db", db, "--json"))
    for row in rows:
        if row["kl"] is not None:
            assert (row["kl"] > 10) == (row["device"] == THERE.device)
    assert {row["device"] for row in rows} == {HERE.device, THERE.device}


def test_a_report_has_a_chapter_for_each(searched, capsys, tmp_path):
    db, _ = searched
    told(capsys, "report", "--db", db, "--out", str(tmp_path))
    text = (tmp_path / "report.md").read_text()
    for place in (HERE, THERE):
        assert f"Measured on {place.device}, {place.dtype or 'unknown dtype'}" in text


def test_what_leaves_as_a_plugin_has_the_figures_of_one_machine(searched, capsys, tmp_path):
    db, (one, _) = searched
    wheel = json.loads(told(capsys, "export", one, "--db", db, "-o", str(tmp_path), "--json"))["wheel"]
    with zipfile.ZipFile(wheel) as opened:
        (card,) = (json.loads(opened.read(name)) for name in opened.namelist() if name.endswith("exported.json"))
    assert {each["key"]["environment_digest"] for each in card["evaluations"]} == {HERE.digest}


def test_an_export_at_another_ratio_names_those_at_which_there_are_answers(searched, capsys, tmp_path):
    db, (one, _) = searched
    assert main(["export", one, "--ratio", "64", "--db", db, "-o", str(tmp_path)]) == ExitCode.REFUSED
    assert "at a cost ratio of 64; give --ratio 4" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
