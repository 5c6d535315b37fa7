"""The drill for a card, on a machine without one: its code runs, its commands parse, its parts are small enough."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.drill import __main__ as command
from benchmarks.drill import correct, pack, serving, timed
from benchmarks.drill.rows import Rows
from benchmarks.drill.served import Case, Served

ROOT = Path(__file__).parents[2]
DRILL = ROOT / "benchmarks" / "drill"
README = (DRILL / "README.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
MAX_COMMAND = 2000
GIB = 2**30

SMALL = Case("quest", 2, 400, 4, 2, lengths=(400, 17), attended=128)
INTERPRETED = pytest.mark.skipif(
    not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1", reason="Triton's interpreter is off"
)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("path", sorted(DRILL.glob("*.py")), ids=lambda path: path.stem)
def test_every_module_imports(path):
    importlib.import_module(f"benchmarks.drill.{path.stem}")


@pytest.mark.parametrize("text", COMMANDS, ids=range(len(COMMANDS)))
def test_a_command_of_the_readme_is_short_and_parses(text):
    assert len(text) <= MAX_COMMAND
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for arguments in re.findall(r"(?:python3 -m benchmarks\.drill|\$D) (.*?)\s*(?:\d?>|[|;\n])", text):
        command.parser().parse_args(shlex.split(arguments))


def test_the_readme_runs_every_mode():
    modes = re.findall(r"(?:python3 -m benchmarks\.drill|\$D) (\w+)", "".join(COMMANDS))
    assert set(modes) == set(command.MODES)


def test_the_readme_carries_every_part():
    carried = re.findall(r"build/drill/(\d)", "".join(COMMANDS))
    assert sorted(carried) == [str(number) for number in range(1, pack.NUM_PARTS + 1)]


def test_parts_are_the_whole_and_go_together_again(tmp_path):
    whole = tmp_path / "whole"
    whole.write_bytes(bytes(range(250)) * 4 + b"!")
    sizes = pack.divided(whole.stat().st_size, 3)
    pack.split(whole, tmp_path, sizes)
    parts = [(tmp_path / str(number) / "part").read_bytes() for number in (1, 2, 3)]
    assert b"".join(parts) == whole.read_bytes()
    assert [len(part) for part in parts] == sizes == [334, 334, 333]


def test_a_part_that_cannot_travel_beside_the_checkout_is_refused():
    assert pack.too_large([40 * 2**20] * 3, 20 * 2**20) == ""
    assert "a part of 50.0 MiB beside a checkout of 20.0 MiB" in pack.too_large([50 * 2**20, 1, 1], 20 * 2**20)


def test_the_checkout_leaves_room_for_a_part():
    assert 0 < pack.tree_bytes(ROOT) < 16 * 2**20  # parts were 43 MiB


@pytest.mark.parametrize("card", [79, 140])
def test_two_engines_fit_on_a_card(card):
    size = serving.size_for(card * GIB)
    weights, cached = serving.layer_bytes(serving.CASES)
    assert size.kv_cache_bytes == size.model.layers * cached
    assert 5 <= size.model.layers <= 28
    assert 2 * (size.model.layers * (weights + cached) + serving.ARM_BYTES) < card * GIB


def test_a_card_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="no room for two engines"):
        serving.size_for(12 * GIB)


def test_a_profiler_sees_both_kinds_of_cache():
    assert [(case.batch, case.tokens, case.latents > 0) for case in timed.PROFILED] == [
        (32, 32768, False),
        (32, 32768, True),
    ]


def test_figures_are_ratios_within_rounds():
    times = {"dense": [10.0, 20.0, 40.0], "attend": [1.0, 2.0, 4.0]}
    first, second = timed.figures(times, {"dense": 3000, "attend": 100}, 1000.0)
    assert (first["us"], first["faster"], first["of_bound"]) == (20.0, 1.0, 6.67)
    assert (second["us"], second["us_p10"], second["us_p90"]) == (2.0, 1.0, 4.0)
    assert (second["faster"], second["faster_p10"], second["faster_p90"]) == (10.0, 10.0, 10.0)


@INTERPRETED
@pytest.mark.parametrize(
    "case",
    [
        SMALL,
        replace(SMALL, kv_heads=1, heads=5, dim=80, latents=64),
        replace(SMALL, program="refined_union", dependent=True),
    ],
    ids=str,
)
def test_what_serves_is_right_and_chooses(case):
    torch.manual_seed(0)
    found = correct.examine(case, DEVICE)
    assert found["right"]
    assert found["pages"] < sum(-(-length // case.page_size) for length in case.lengths) * case.kv_heads


@INTERPRETED
def test_a_wrong_page_and_a_wrong_number_are_seen():
    torch.manual_seed(0)
    served = Served(SMALL, DEVICE)
    lists = served.whole()
    assert correct.wrong_pages(served, lists)[0] == 0
    lists.blocks[0, 0] = lists.blocks[0, 1]
    assert correct.wrong_pages(served, lists)[0] > 0
    assert correct.worst_error(served, lists) > correct.TOLERANCE
    lists = served.whole()
    assert correct.worst_error(served, lists) <= correct.TOLERANCE
    served.out[0, 0, 0] = float("nan")
    assert correct.worst_error(served, lists) == float("inf")


def late(attend):
    """Attend as a kernel that combines parts before they are there: by those that the call before has left."""
    left = []

    def attended(self, lists):
        out = attend(self, lists)
        if lists.arrived is not None:
            left.append(out.clone())
            out.copy_(left[-2] if len(left) > 1 else out)
        return out

    return attended


def uncounted(attend):
    """Attend as a kernel that leaves counts where they are: who attends next finds no last program of a row."""

    def attended(self, lists):
        if lists.arrived is not None and lists.arrived.any():
            return self.out
        out = attend(self, lists)
        if lists.arrived is not None:
            lists.arrived.fill_(1)
        return out

    return attended


@INTERPRETED
@pytest.mark.parametrize(
    "wrong",
    [{}, {"attend": late(Served.attend)}, {"attend": uncounted(Served.attend)}],
    ids=["nothing", "sums of the replay before", "counters that stay"],
)
def test_replays_that_leave_something_for_the_next_are_counted(monkeypatch, wrong):
    torch.manual_seed(0)
    served = [Served(replace(SMALL, attended=256), DEVICE) for _ in range(2)]
    for each in served:
        each.whole()
    for name, method in wrong.items():
        monkeypatch.setattr(Served, name, method)
    found = correct.races(served, 3, on_a_card=False)
    assert found["replays_differ"] == (3 if wrong else 0)
    assert (found["launches_differ"] > 0) == bool(wrong)


@INTERPRETED
def test_a_case_that_fails_and_one_left_out_are_bad_rows(tmp_path):
    rows = Rows("check", tmp_path, budget_s=60)
    correct.check(rows, DEVICE, [replace(SMALL, program="no such program")], together=())
    rows.budget_s = 0
    correct.check(rows, DEVICE, [SMALL], together=())
    assert [list(row)[-1] for row in rows.kept] == ["failed", "skipped"]
    assert rows.close() == 1
    assert len((tmp_path / "check.jsonl").read_text().splitlines()) == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it would run")
@pytest.mark.parametrize("mode", ["time", "step", "check", "tiny"])
def test_without_cuda_a_mode_says_so_in_one_sentence(mode, capsys):
    assert command.main([mode]) == 2
    assert "needs a CUDA device, and torch sees none here" in capsys.readouterr().err


COMPILE = """
from pathlib import Path
from benchmarks.drill import precompile
from benchmarks.drill.rows import Rows
from benchmarks.drill.served import Case

if __name__ == "__main__":
    rows = Rows("precompile", Path(), 60)
    precompile.precompile(rows, 2, cases=(Case("centroid", 2, 1500, 4, 2),))
    raise SystemExit(rows.close())
"""


@pytest.mark.slow
def test_kernels_compile_beforehand_for_a_card_that_is_not_there(tmp_path):
    script = tmp_path / "compile.py"
    script.write_text(COMPILE)
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    given = kept | {"PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=given, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    compiled = {path.stem for path in tmp_path.rglob("*.cubin")}
    assert {"_write", "map_0", "_select", "_attend", "summarize_0"} <= compiled
