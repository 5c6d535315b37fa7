"""A campaign from seeds to a verified plugin, on a real vLLM, with everything killed on the way."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.config import CampaignConfig
from search.evaluator.probe import MODEL_FOLDER
from search.fit import at_ratio
from search.plugin import verify
from search.plugin.card import Circumstances
from search.plugin.export import ExportError, export_wheel
from search.plugin.verify import fresh_environment, verify_wheel
from search.plugin.wheel import read_wheel
from search.records import Stage, Status
from search.store.ledger import SqlLedger

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(560)]

SCRIPT = Path(__file__).with_name("campaign_script.py")
RATIO = 2.5  # of its campaign


def start(url, scratch):
    command = [sys.executable, str(SCRIPT), url, str(scratch)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(url):
    """Give every finished evaluation as (candidate, key) -> evaluation."""
    ledger = SqlLedger(url)
    try:
        campaigns = ledger.campaigns()
        records = ledger.records(campaigns[-1].id) if campaigns else []
        return {(r.candidate.step, e.key): e for r in records for e in r.evaluations}
    finally:
        ledger.close()


def hosts(scratch):
    """Give the pids of engine hosts whose home is this test's scratch folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"search.evaluator.host" in command and str(scratch).encode() in environment + command:
            found.append(int(entry.name))
    return found


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.3)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory, home_with_loops):
    """Run the campaign with its driver killed once and an engine killed once; gives the story."""
    folder = tmp_path_factory.mktemp("campaign")
    url, scratch = f"sqlite:///{folder}/results.db", home_with_loops(folder / "scratch")
    driver = start(url, scratch)
    wait_for(lambda: sum(k.stage is Stage.PROBE for _, k in finished(url)) >= 1, 180, "the first probe")
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = finished(url)
    wait_for(lambda: not hosts(scratch), 30, "the engines to follow their driver")
    driver = start(url, scratch)
    wait_for(lambda: len(finished(url)) > len(before), 180, "the resumed campaign to measure something")
    killed = wait_for(lambda: hosts(scratch), 60, "an engine")[0]
    os.kill(killed, signal.SIGKILL)
    out, err = driver.communicate(timeout=400)
    assert driver.returncode == 0, err[-3000:]
    return {"url": url, "scratch": scratch, "before": before, "after": finished(url), "out": out}


def test_nothing_finished_is_lost_or_repeated(campaign):
    """What was measured before the driver's death stands unchanged, and each stage of each step stands once."""
    before, after = campaign["before"], campaign["after"]
    assert before.items() <= after.items()
    places = [(step, key.stage, key.seed) for step, key in after]
    assert len(places) == len(set(places))


def test_the_campaign_goes_on_to_its_end(campaign):
    """Three seeds and three inventions went through; an engine's death cost no candidate its result."""
    assert campaign["out"].split()[:2] == ["done", "7"] or campaign["out"].split()[:2] == ["done", "6"]
    statuses = {e.status for e in campaign["after"].values()}
    assert statuses <= {Status.OK, Status.BELOW_GATE}
    served = [step for step, key in campaign["after"] if key.stage is Stage.SERVE]
    assert len(served) >= 3


def test_no_engine_outlives_the_campaign(campaign):
    wait_for(lambda: not hosts(campaign["scratch"]), 30, "the engines to end")


def test_a_second_resume_measures_nothing(campaign):
    driver = start(campaign["url"], campaign["scratch"])
    driver.communicate(timeout=120)
    assert finished(campaign["url"]) == campaign["after"]


@pytest.fixture(scope="module")
def quest(campaign):
    """The record of Quest, and where its probe was answered."""
    ledger = SqlLedger(campaign["url"])
    try:
        campaign = ledger.campaigns()[-1]
        records = ledger.records(campaign.id)
        records = [at_ratio(r, RATIO) for r in records if r.evaluation(Stage.PROBE, RATIO)]
        record = next(r for r in records if r.candidate.name == "Quest")
        probe = record.evaluation(Stage.PROBE)
        where = Circumstances(
            ledger.workload(probe.key.workload_digest),
            str(MODEL_FOLDER),
            ledger.environment(probe.key.environment_digest),
            CampaignConfig.from_json(campaign.settings).terms,
            {e.key.workload_digest: ledger.workload(e.key.workload_digest) for r in records for e in r.evaluations},
        )
        return record, where, records
    finally:
        ledger.close()


@pytest.fixture(scope="module")
def wheel(quest, tmp_path_factory):
    record, where, _ = quest
    return export_wheel(record, where, tmp_path_factory.mktemp("wheels"))


def test_the_wheel_says_what_it_is(wheel, quest):
    read = read_wheel(wheel)
    assert read.package == f"vortex_{quest[0].candidate.program_digest[:12]}"
    assert read.card.values["pages"] == 7  # what the campaign's cost ratio buys
    assert {each.key.stage for each in read.card.evaluations} >= {Stage.PROBE, Stage.SERVE}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Install the wheel once: its loops are compiled anew, for half a minute, wherever it is installed."""
    return fresh_environment(tmp_path_factory.mktemp("installed"), wheel)


def test_the_wheel_serves_the_recorded_answers_without_this_project(wheel, installed, monkeypatch):
    """Installed beside vLLM alone, the plugin generates every token of the recorded evaluation."""
    monkeypatch.setattr(verify, "fresh_environment", lambda *_: installed)
    verification = verify_wheel(read_wheel(wheel), MODEL_FOLDER)
    assert verification.same, verification
    assert 0 < verification.pages_attended < verification.pages_dense
    assert any(line.startswith("layers: served by") for line in verification.findings)


def test_two_exports_installed_together_need_a_choice(wheel, quest, tmp_path):
    """Neither is active unless it is named; asking for CUSTOM without a choice is an error that names both."""
    _, where, records = quest
    other = next(r for r in records if r.candidate.name == "RandomPages")
    second = export_wheel(other, where, tmp_path)
    python = fresh_environment(tmp_path, wheel)
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        str(second),
    ]
    subprocess.run(install, check=True)
    code = "import vllm; vllm.LLM(MODEL, attention_backend='CUSTOM', kv_cache_memory_bytes=64 << 20, max_model_len=512)"
    code = code.replace("MODEL", repr(str(MODEL_FOLDER)))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert all(read_wheel(w).package.replace("_", "-") in done.stderr for w in (wheel, second))
    assert "VORTEX_PLUGIN" in done.stderr


def test_only_what_answered_the_probe_is_exported(quest, tmp_path):
    from dataclasses import replace

    record, where, _ = quest
    with pytest.raises(ExportError, match="only a program that has answered the probe or was served"):
        export_wheel(replace(record, evaluations=()), where, tmp_path)
    assert not list(tmp_path.iterdir())
    shutil.rmtree(tmp_path)
