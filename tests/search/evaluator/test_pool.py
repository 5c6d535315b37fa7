"""Tasks on Ray come back exactly once, whatever dies. One private Ray for all tests here."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from search.evaluator.arms import TimeLimits, WorkerSettings
from search.evaluator.cluster import Placement, PoolError
from search.evaluator.engine import EngineSettings
from search.evaluator.identity import EVALUATOR_VERSION, environment
from search.evaluator.models import ModelError
from search.evaluator.pool import RayPool
from search.evaluator.supervisor import descendants
from search.records import EvaluationKey, EvaluationTask, Stage, Status, Workload

FAKE_HOST = (sys.executable, str(Path(__file__).with_name("fake_host.py")))
WORKLOAD = Workload(Stage.PROBE, num_tokens=64, num_sequences=2)

PROGRAM = '''from vortex_dsl import Program, reserved_only


class Told(Program):
    """{told} pages."""

    def select(self, q, page):
        return reserved_only()
'''


def task(told="good", seed=0, stage=Stage.PROBE):
    key = EvaluationKey("p", stage, WORKLOAD.digest, "m", "e", "1", seed)
    return EvaluationTask(key, PROGRAM.format(told=told), (), WORKLOAD)


def worker_settings(folder):
    model = folder / "model"
    model.mkdir(exist_ok=True)
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 128}
    (model / "config.json").write_text(json.dumps(config))
    limits = TimeLimits(start_s=2, oracle_s=0.5, recall_s=2, probe_s=2, serve_round_s=2)
    return WorkerSettings(
        EngineSettings(str(model), True, 2048), folder / "scratch", (2, 32), 4 << 30, limits, FAKE_HOST
    )


@pytest.fixture(scope="module")
def steps():
    """What the pool said while it started: (step, "begins" or "is done")."""
    return []


@pytest.fixture(scope="module")
def pool(tmp_path_factory, steps):
    @contextmanager
    def said(step):
        steps.append((step, "begins"))
        yield
        steps.append((step, "is done"))

    pool = RayPool(worker_settings(tmp_path_factory.mktemp("pool")), Placement(num_workers=2), said)
    yield pool
    pool.close()


def all_completed(pool, num, patience_s=30.0):
    found, end = [], time.monotonic() + patience_s
    while len(found) < num and time.monotonic() < end:
        found += pool.completed(1.0)
    return found


def commands_below(pid):
    """Give {process id: command line} of everything this process started."""
    found = {}
    for each in descendants(pid):
        try:
            found[each] = Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def running(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in _status(pid)]


def _status(pid):
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "\nState:\tZ"


def wait_until_gone(pids, patience_s=10.0):
    end = time.monotonic() + patience_s
    while running(pids) and time.monotonic() < end:
        time.sleep(0.02)
    return not running(pids)


def test_the_pool_says_what_it_measures_with(pool):
    assert pool.environment.digest == environment("float32").digest
    assert (pool.num_workers, pool.version) == (2, EVALUATOR_VERSION)
    assert len(pool.model_digest) == 16


@pytest.mark.usefixtures("pool")
def test_the_pool_says_what_it_starts(steps):
    told = ("starting Ray (local)", "starting 2 workers")
    assert steps == [(step, what) for step in told for what in ("begins", "is done")]


def test_twenty_tasks_over_two_workers_come_back_exactly_once(pool):
    for seed in range(20):
        pool.submit(task(seed=seed))
    found = all_completed(pool, 20)
    assert sorted(e.key.seed for e in found) == list(range(20))
    assert {e.status for e in found} == {Status.OK}
    assert pool.completed(5.0) == []


def test_two_workers_work_at_the_same_time(pool):
    start = time.monotonic()
    for seed in range(4):
        pool.submit(task("slow", seed=seed))
    assert len(all_completed(pool, 4)) == 4
    assert time.monotonic() - start < 4 * 0.5


def test_a_program_comes_to_the_worker_that_has_served_it(pool):
    """Its fields are in that worker's engine, whoever else is free too."""
    for told in ("slow", "slow too"):
        pool.submit(task(told))
    assert len(all_completed(pool, 2)) == 2
    served = {slot.served: slot.place for slot in pool._slots}
    for told in ("slow", "slow too", "slow too", "slow"):
        pool.submit(task(told, seed=1))
        assert [slot.place for slot in pool._slots if slot.task] == [served[task(told).text]]
        assert len(all_completed(pool, 1)) == 1


def test_waiting_ends_in_time(pool):
    pool.submit(task("slow"))
    start = time.monotonic()
    assert pool.completed(0.05) == []
    assert time.monotonic() - start < 0.3
    assert len(all_completed(pool, 1)) == 1


def test_bad_programs_are_data_and_the_rest_goes_on(pool):
    for seed, told in enumerate(["crash", "good", "wrong", "good", "good"]):
        pool.submit(task(told, seed))
    pool.submit(task("hang", 5, Stage.ORACLE))
    found = {e.key.seed: e.status for e in all_completed(pool, 6)}
    assert found == {
        0: Status.CRASHED, 1: Status.OK, 2: Status.WRONG_RESULT, 3: Status.OK, 4: Status.OK, 5: Status.TIMED_OUT,
    }  # fmt: skip


def test_a_killed_worker_is_our_fault_and_leaves_nothing_behind(pool):
    pool.submit(task("hang", 1))
    assert pool.completed(1.0) == []
    below = commands_below(os.getpid())
    hosts = [pid for pid, command in below.items() if "fake_host" in command or "sleep 1000" in command]
    busy = [pid for pid, c in below.items() if c.startswith("ray::Worker") and "run" in c]
    assert len(busy) == 1
    theirs = descendants(busy[0])
    assert set(theirs) & set(hosts)
    os.kill(busy[0], signal.SIGKILL)
    (evaluation,) = all_completed(pool, 1)
    assert evaluation.status is Status.INFRASTRUCTURE
    assert "the worker broke" in evaluation.message
    assert wait_until_gone(theirs)
    for seed in range(4):
        pool.submit(task(seed=seed))
    assert [e.status for e in all_completed(pool, 4)] == [Status.OK] * 4


def test_a_worker_that_lets_its_own_limits_pass_is_replaced(pool, monkeypatch):
    monkeypatch.setattr(TimeLimits, "stage_s", lambda *_: 0.5)
    pool.submit(task("hang"))
    (evaluation,) = all_completed(pool, 1)
    assert evaluation.status is Status.TIMED_OUT
    assert "0.5 s" in evaluation.message
    monkeypatch.undo()
    pool.submit(task())
    assert all_completed(pool, 1)[0].status is Status.OK


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_pool import Placement, RayPool, task, worker_settings
pool = RayPool(worker_settings(Path(sys.argv[1])), Placement(num_workers=1))
pool.submit(task("hang"))
pool.completed(1.5)
print("ready", flush=True)
pool.completed(1000)
"""


def test_engines_die_with_a_driver_that_is_killed(tmp_path):
    code = textwrap.dedent(DRIVER).format(folder=str(Path(__file__).parent))
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as driver:
        said = driver.stdout.readline()
        assert said == b"ready\n", driver.stderr.read().decode()
        end = time.monotonic() + 20.0
        while "fake_host" not in str(below := commands_below(driver.pid)):
            assert time.monotonic() < end, f"no engine has started: {below}"
            time.sleep(0.1)
        driver.kill()
    engines = [pid for pid, c in below.items() if "fake_host" in c or "sleep 1000" in c or c.startswith("ray::Worker")]
    assert wait_until_gone(engines, 20.0)


NODES = [
    {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}, "Labels": {"ray.io/accelerator-type": "H100"}},
    {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 4.0}, "Labels": {"ray.io/accelerator-type": "A100"}},
    {"Alive": True, "Resources": {"CPU": 4.0}, "Labels": {}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}, "Labels": {"ray.io/accelerator-type": "H100"}},
]


def test_a_placement_that_fits_is_accepted():
    Placement(20).check(NODES)
    Placement(6, kind="any").check(NODES)
    Placement(2, kind="H100").check(NODES)
    asked = Placement(1, kind="H100").options()
    assert asked["label_selector"] == {"ray.io/accelerator-type": "H100"}
    assert asked["num_gpus"] == 1
    assert "num_gpus" not in Placement(1).options()


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement(21), "21 workers need as many CPU cores, but Ray at local has 20"),
        (Placement(7, kind="any"), "as many GPUs, .* has 6"),
        (
            Placement(3, kind="H100"),
            r"GPUs of kind H100, .* has 2 \(its nodes: 1 of kind A100 with 4 GPUs and 8 CPUs, 1 of kind CPU",
        ),
    ],
)
def test_a_placement_that_nothing_satisfies_says_so(placement, message):
    with pytest.raises(PoolError, match=message):
        placement.check(NODES)


def test_an_address_space_limit_is_refused_where_it_would_break_cuda(tmp_path):
    with pytest.raises(PoolError, match="set memory_bytes to 0"):
        RayPool(worker_settings(tmp_path), Placement(1, kind="any"))


def test_a_missing_model_is_one_sentence(tmp_path):
    settings = worker_settings(tmp_path)
    settings = replace(settings, engine=replace(settings.engine, model=str(tmp_path / "nothing")))
    with pytest.raises(ModelError, match="there is no model folder"):
        RayPool(settings, Placement(1))
