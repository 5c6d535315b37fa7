"""`from search import Campaign`: what a notebook does with it."""

import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from search import Campaign
from search.agents.seeds import seed_proposals
from search.config import ConfigError
from search.outcome import End
from search.records import Status

ROOT = Path(__file__).resolve().parents[3]
FEW = {"candidates": 3, "proposers": ("random", "greedy"), "ratios": (8,), "lag": 2}


@pytest.fixture
def slow(fake):
    """Evaluators that take their time, so that whoever listens can act before the end."""

    class Slow(fake):
        def completed(self, timeout_s):
            time.sleep(0.01)
            return super().completed(timeout_s)

    return Slow


def steps(records):
    return sorted(record.candidate.step for record in records)


def sequence(campaign):
    return [(r.candidate.proposal, r.candidate.status, r.candidate.program_digest) for r in campaign.records()]


def test_records_come_one_by_one_and_end_with_an_outcome(db, fake):
    with Campaign(**FEW, db=db, evaluator=fake(4)) as campaign:
        found = list(campaign)
        assert campaign.outcome.end is End.DONE
        admitted = [r for r in campaign.records() if r.candidate.status is Status.OK]
        assert steps(found) == steps(admitted)
        assert len(found) == len(seed_proposals(campaign.config)) + 3
        assert {row.name for row in campaign.leaderboard()} == {r.candidate.name for r in found}
        assert repr(campaign) == f"<campaign {campaign.id} on probe, done>"


def test_leaving_the_iteration_pauses_and_another_goes_on_as_if_undisturbed(tmp_path, fake, slow):
    with Campaign(**FEW, db=f"sqlite:///{tmp_path}/whole.db", evaluator=fake(2)) as whole:
        assert whole.run().end is End.DONE
        undisturbed = sequence(whole)
    with Campaign(**FEW, db=f"sqlite:///{tmp_path}/paused.db", evaluator=slow(2)) as paused:
        first = []
        for record in paused:
            first.append(record)
            if len(first) == 4:
                break
        assert paused.outcome.end is End.INTERRUPTED
        assert len(paused.records()) < len(undisturbed)
        rest = list(paused)
        assert paused.outcome.end is End.DONE
        assert sequence(paused) == undisturbed
        assert set(steps(first)).isdisjoint(steps(rest))


def test_a_stopped_campaign_is_resumed_by_its_number(db, fake, slow):
    with Campaign(**FEW, db=db, evaluator=slow(2)) as campaign:
        for _ in campaign:
            campaign.stop()
        assert campaign.outcome.end is End.INTERRUPTED
    with Campaign.resume(campaign.id, db=db, evaluator=fake(2)) as again:
        assert again.config == campaign.config
        assert again.run().end is End.DONE
    with Campaign.resume(campaign.id, db=db, evaluator=fake(2)) as finished:
        assert list(finished) == []


def test_a_fault_reaches_whoever_iterates(db, fake):
    with (
        Campaign(**FEW, db=db, evaluator=fake(2, crash_after=5)) as campaign,
        pytest.raises(RuntimeError, match="the driver was killed"),
    ):
        campaign.run()


def test_one_iteration_at_a_time(db, slow):
    with Campaign(**FEW, db=db, evaluator=slow(2)) as campaign:
        first = iter(campaign)
        next(first)
        with pytest.raises(RuntimeError, match="one iteration at a time"):
            next(iter(campaign))
        first.close()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"modle": "probe"}, "did you mean 'model'"),
        ({"workers": 0}, "workers must be greater"),
        ({"candidates": "3"}, "candidates must be a whole number"),
        ({"ratios": (0.5,)}, "numbers from 1 to 1024"),
    ],
)
def test_keys_are_checked_as_those_of_files_are(db, fake, keys, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        Campaign(db=db, evaluator=fake(), **keys)


def test_what_cannot_be_resumed_is_told(db, fake):
    with pytest.raises(ConfigError, match="no campaign 7"):
        Campaign.resume(7, db=db)
    with pytest.raises(ConfigError, match="seed is settled"):
        Campaign.resume(7, db=db, seed=3)


def test_a_file_is_overridden_by_keywords(db, fake, tmp_path):
    (tmp_path / "c.toml").write_text("seed = 5\ncandidates = 9\n")
    with Campaign(tmp_path / "c.toml", candidates=1, db=db, evaluator=fake()) as campaign:
        assert (campaign.config.seed, campaign.config.num_candidates) == (5, 1)


def test_the_example_of_the_page_runs(monkeypatch, tmp_path, fake, capsys):
    """On workers that draw their numbers; closing them is seen."""
    closed = []

    @contextmanager
    def pool(_machines):
        yield fake(2)
        closed.append(True)

    monkeypatch.setattr("search.campaigns.machines.Machines.pool", pool)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "campaigns.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(example, "campaigns.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) > 10
    assert closed == [True]


def test_importing_the_search_stays_light():
    heavy = ("torch", "ray", "sqlalchemy", "openai", "pydantic", "transformers")
    code = f"import sys, search; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
