"""`vortex eval --gpu CPU --gpu H100` on two real Ray nodes of this machine, one of which passes for an H100's.

Engines are made up. Both nodes are one device, so that their environments differ by what engines compute in alone.
"""

import json
import os
import subprocess
import sys

import pytest

from search.cli import main
from search.commands.exits import ExitCode
from search.store.ledger import SqlLedger
from tests.search.evaluator.cluster.conftest import ROOT, alive, until

FAKED = [sys.executable, str(ROOT / "tests" / "search" / "commands" / "faked_run.py")]
WITH_A_GPU = """
import sys
from search.cli import main
from search.evaluator.cluster import node
given = node._given
def with_a_gpu(*asked):
    words = [each for each in given(*asked) if not each.startswith("--labels")]
    return [*words, "--num-gpus=1", "--labels=ray.io/accelerator-type=H100"]
node._given = with_a_gpu
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def cluster(head, nodes):
    """Give the address of a head with a node of each kind."""
    nodes.start("cpu", "--ray", head, "--cpus", "1")
    until(lambda: len(alive(head)) == 2)
    nodes.start("gpu", "--ray", head, "--cpus", "1", command=[sys.executable, "-c", WITH_A_GPU])
    until(lambda: len(alive(head)) == 3)
    return head


def evaluate(folder, *words):
    asked = [*FAKED, "eval", "quest", "--model", "probe", "--ratio", "2", *words]
    given = os.environ | {"FAKED_CACHE": str(folder / "cache")}
    return subprocess.run(asked, cwd=ROOT, env=given, capture_output=True, text=True, timeout=300, check=False)


def test_a_kind_that_no_node_has_is_answered_at_once(cluster, tmp_path):
    asked = evaluate(tmp_path, "--ray", cluster, "--gpu", "H100", "--gpu", "H200=2", "--db", str(tmp_path / "c.db"))
    assert asked.returncode == ExitCode.INFRASTRUCTURE
    assert "2 workers need as many GPUs of kind H200, each with a CPU core, but Ray at" in asked.stderr
    assert "1 of kind H100 with 1 GPUs and 1 CPUs" in asked.stderr
    assert "2 of kind CPU with 1 CPUs" in asked.stderr


def test_each_kind_has_rows_of_its_own(cluster, tmp_path, capsys):
    db = str(tmp_path / "c.db")
    asked = evaluate(tmp_path, "--ray", cluster, "--gpu", "CPU", "--gpu", "H100", "--db", db)
    assert asked.returncode == ExitCode.DONE, asked.stderr
    ledger = SqlLedger(f"sqlite:///{db}")
    campaign = ledger.campaigns()[-1]
    found = ledger.standings(campaign.id)
    ledger.close()
    rows = [row for row in found if row.speedup is not None]
    timed = {dtype: {(row.id, row.ratio) for row in rows if row.dtype == dtype} for dtype in ("float32", "bfloat16")}
    assert timed["float32"] == timed["bfloat16"] != set()
    assert {row.dtype for row in found if row.confirmed} == {"float32", "bfloat16"}  # what leads on a kind, there
    assert main(["show", str(rows[0].id), "--db", db]) == ExitCode.DONE
    assert "machine" in capsys.readouterr().out
    assert main(["leaderboard", "--db", db, "--json"]) == ExitCode.DONE
    listed = json.loads(capsys.readouterr().out)
    assert {row["dtype"] for row in listed if row["speedup"] is not None} == {"float32", "bfloat16"}
