"""The static gate: machine code is read, broken rules are seen, and what serves breaks none. No card is needed."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.drill.served import Case, Served
from benchmarks.static import goals, measured, rules, sass
from benchmarks.static.launched import DIGITS_READ, Launch, work_of
from benchmarks.static.model import CARDS, estimate, resident
from benchmarks.static.step import Step

ROOT = Path(__file__).parents[2]
CASE = Case("quest_int4", 2, 1500, 4, 2)
H200 = CARDS[0]


def instruction(at, text, sets=(), waits=(), stall=1):
    return sass.Instruction(at, text, stall, sets, waits)


def code(*texts, registers=32, stack=0):
    made = [each if isinstance(each, sass.Instruction) else instruction(16 * i, each) for i, each in enumerate(texts)]
    return sass.Code(registers, stack, tuple(made))


def launch(*texts, name="map_0", **given):
    given = {"warps": 4, "shared": 0, "programs": 132, "live": 132, "repeats": 1} | given
    return Launch("index", name, code(*texts), **given)


def test_a_warp_waits_for_what_it_loads_and_loops_as_often_as_told():
    load = instruction(0, "LDG.E.128 R4, desc[UR4][R2.64]", sets=(0,))
    use = instruction(16, "FADD R4, R4, R5", waits=(0,))
    back = instruction(32, "@P0 BRA 0x0")
    whole = code(load, use, back, instruction(48, "EXIT"))
    (once, issued), (thrice, more) = sass.cycles(whole, 1), sass.cycles(whole, 3)
    assert (issued, more) == (4, 10)
    assert once >= 700
    assert thrice >= 3 * 700


def test_only_who_counts_last_is_charged_for_what_it_does_then():
    """Of four programs on a processor, one at a time, one merges: three end where they have counted."""
    counts = [instruction(0, "ATOMG.E.ADD R1", sets=(0,)), instruction(16, "@P0 EXIT", waits=(0,))]
    merges = [instruction(32, "LDG.E.128 R4", sets=(1,)), instruction(48, "FADD R4, R4, R4", waits=(1,))]
    made = launch(*counts, *merges, instruction(64, "EXIT"), shared=200 * 1024, programs=528, live=528, rows=132)
    warp = sass.walked(made.code, 1)
    assert 0 < warp.counted < warp.now - 700
    expected = 4 * warp.counted + (warp.now - warp.counted)
    assert estimate(made, H200).us == pytest.approx(2 + expected / H200.clock_hz * 1e6)
    assert sass.walked(code(*merges, "@P0 EXIT", "EXIT"), 1).counted == 0


@pytest.mark.parametrize("jump", ["@P1 BRA 0x30", "BRA.U !UP1, 0x30", "BRA P1, 0x30"])
def test_conditional_returns_and_jumps_ahead_are_not_taken(jump):
    texts = ("@P0 EXIT", jump, "FADD R1, R1, R1", "BRA 0x50", "BAR.SYNC 0x0", "EXIT")
    assert sass.cycles(code(*texts), 1)[1] == 5


def test_widths_of_loads_are_read():
    texts = ("LDG.E.128 R4", "LDGSTS.E.BYPASS.128 [R3]", "LDG.E.U8 R4", "LDG.E R4", "LDS.128 R4", "EXIT")
    assert code(*texts).load_bits == Counter({128: 2, 8: 1, 32: 1})


@pytest.mark.parametrize(
    ("texts", "given", "words"),
    [
        (("STL [R1], R2", "EXIT"), {}, "spills 1 times"),
        (("DADD R2, R2, R4", "EXIT"), {}, "1 instructions in float64"),
        (("F2F.F64.F32 R2, R4", "EXIT"), {}, "1 instructions in float64"),
        (("LDG.E.U8 R4", "LDG.E.128 R4", "LDG.E.64 R4", "LDG.E.64 R4", "LDG.E R4", "EXIT"), {}, "loads 43% of its"),
        (("SHFL.BFLY PT, R5, R4, 0x8, 0x1f", "FFMA R6, R2, R3.reuse, R5", "EXIT"), {}, "fuses 1 products into sums"),
        (("FFMA R4, R4, R4, R4", "EXIT"), {"name": "_attend"}, "without tensor cores"),
        (("EXIT",), {"shared": 113 * 1024}, "115712 bytes of shared memory"),
        (("PREEXIT", "EXIT"), {"dependent": True}, "does not wait for that first"),
        (("@P0 EXIT", "ACQBULK", "EXIT"), {"dependent": True}, "does not wait for that first"),
        (("CALL.REL.NOINC 0x20", "ACQBULK", "EXIT"), {"dependent": True}, "does not wait for that first"),
        (("LDG.E R4, desc[UR4][R2.64]", "ACQBULK", "EXIT"), {"dependent": True, "name": "_select"}, "does not wait"),
    ],
)  # fmt: skip
def test_a_kernel_that_breaks_a_rule_is_named(texts, given, words):
    (found,) = rules.broken(launch(*texts, **given), CASE, H200)
    assert words in found
    assert "quest_int4" in found


STORE, BARRIER, FENCE = "STG.E.128 desc[UR4][R2.64], R4", "BAR.SYNC.DEFER_BLOCKING 0x0", "@P1 MEMBAR.ALL.GPU"
COUNT, READ = "@P1 ATOMG.E.ADD.STRONG.GPU PT, R5, desc[UR4][R8.64], R5", "LDG.E.STRONG.GPU R54, desc[UR4][R54.64]"
IN_ORDER = (STORE, BARRIER, FENCE, COUNT, "@P1 CCTL.IVALL", BARRIER, "@P1 EXIT", STORE, READ, STORE, "EXIT")


@pytest.mark.parametrize(
    "texts",
    [
        (STORE, FENCE, COUNT, BARRIER, READ, "EXIT"),  # other threads may still store
        (BARRIER, STORE, FENCE, COUNT, BARRIER, READ, "EXIT"),
        (STORE, BARRIER, COUNT, BARRIER, READ, "EXIT"),  # what they stored may still be on its way
        (STORE, FENCE, BARRIER, COUNT, BARRIER, READ, "EXIT"),
        (STORE, BARRIER, FENCE, COUNT, READ, "EXIT"),  # other threads may not know yet
        (STORE, BARRIER, FENCE, COUNT, READ, BARRIER, READ, "EXIT"),
        (STORE, BARRIER, FENCE, COUNT, BARRIER, "LDG.E R54, desc[UR4][R54.64]", "EXIT"),
    ],
)
def test_who_counts_programs_before_all_have_stored_or_reads_before_all_know_is_named(texts):
    assert rules.broken(launch(*IN_ORDER, name="_select"), CASE, H200) == []
    (found,) = rules.broken(launch(*texts, name="_select"), CASE, H200)
    assert "counts its programs without a fence, or reads what others stored before it may" in found


def test_a_kernel_that_waits_first_may_begin_early_and_costs_less():
    waiting = launch("LDC R1, c[0x0][0x28]", "ACQBULK", "PREEXIT", "LDG.E.128 R4", "EXIT", dependent=True)
    assert rules.broken(waiting, CASE, H200) == []
    assert estimate(waiting, H200).us == pytest.approx(estimate(replace(waiting, dependent=False), H200).us - 1)
    assert estimate(waiting, H200, first=True) == estimate(replace(waiting, dependent=False), H200)


def test_a_refinement_is_charged_for_its_own_pages_alone():
    """Of 2,048 pages a row, the 244 that the first stage takes: all programs but those of the last twelve have work."""
    case = Case("two_stage", 32, 32768, 16, 8)
    served = Served(replace(case, batch=1, tokens=4160), "cpu")
    served.case = case
    coarse, fine = served.compiled.plan.stages
    grid = fine.grid(256, case.max_pages)
    live, read = work_of(fine.name, served, grid, {})
    assert (live, *grid) == (256 * 244 // fine.block_pages, 256 * 256 // fine.block_pages)
    assert read == 256 * 4 * 61 * 16 * (64 + 4)  # the candidates of a budget of 64 pages, 3 of which are reserved
    assert work_of(coarse.name, served, coarse.grid(256, case.max_pages), {})[1] == 256 * 2048 * 256


def test_only_sums_with_what_another_thread_holds_are_fused_across_threads():
    shuffle = "SHFL.BFLY PT, R5, R4, 0x8, 0x1f"
    assert code(shuffle, "FFMA R6, R5, R5, R2", "FADD R5, R5, R6", "FFMA R6, R2, R3, R5", "EXIT").fused_shuffles == 0
    assert code(shuffle, "LDG.E.128 R4, desc[UR4][R2.64]", "FFMA R6, R2, R3, R5", "EXIT").fused_shuffles == 0
    assert code(shuffle, "@P1 FFMA.FTZ R5, R2, R3, -R5", "FFMA R6, R2, R3, R5", "EXIT").fused_shuffles == 1


def test_registers_and_shared_memory_bound_the_programs_of_a_processor():
    assert resident(launch("EXIT"), H200) == 16  # by warps
    assert resident(launch("EXIT", shared=70 * 1024), H200) == 3
    assert resident(Launch("index", "map_0", code("EXIT", registers=255), 8, 0, 1, 1, 1), H200) == 1


def test_a_launch_takes_as_long_as_its_bytes_at_least():
    assert estimate(launch("EXIT", moved=2**30), H200).us > 2**30 / H200.bytes_per_s * 1e6
    assert estimate(launch("EXIT"), H200).us < 4


@pytest.mark.parametrize("part", ["index", "attend"])
@pytest.mark.parametrize("name", ["centroid", "quest"])
def test_bytes_are_those_that_the_drill_counts(name, part):
    """The measured rows tell, in MiB, what the drill had counted."""
    case = Case(name, 32, 32768, 16, 8)
    lines = (measured.RESULTS / "drill_h200_2026-11-28.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row.get("part") == part]
    (told,) = (row["mib"] for row in rows if (row["program"], row["case"]) == (name, str(case)))
    served = Served(replace(case, batch=1, tokens=16), "cpu")
    served.case = case
    kernel, tiles = {"index": "map_0", "attend": "_attend"}[part], {"NUM_TILES": 4, "TILE": 32}
    assert work_of(kernel, served, (256, 8, 1), tiles)[1] / 2**20 == told


@pytest.mark.parametrize("pages", [509, 2045])  # candidates at 8,192 tokens, and at 32,768
def test_as_many_digits_are_modelled_as_scores_take_that_are_spread_as_normal_numbers(pages):
    """A digit is five bits. The last that is read is the first in which the last page taken and the next differ."""
    scores = torch.randn(1000, pages, generator=torch.Generator().manual_seed(0)).sort(1, descending=True).values
    last, following = (scores[:, i].contiguous().view(torch.int32) for i in (60, 61))  # all are above 0
    read = [(32 - (a ^ b).bit_length()) // 5 + 1 for a, b in zip(last.tolist(), following.tolist(), strict=True)]
    assert 3 < sum(read) / len(read) <= DIGITS_READ
    assert sum(digits > DIGITS_READ for digits in read) / len(read) < 0.1


def test_goals_are_told_beside_what_is_modelled():
    case = Case("centroid", 1, 32768, 16, 8)
    index, attend = (replace(launch("EXIT", moved=2**22), part=part) for part in ("index", "attend"))
    step = Step(case, H200, tuple((each, estimate(each, H200)) for each in (index, attend)), ())
    first, second = goals.told(step)
    assert first.endswith(f"index, us                modelled {step.us('index'):5.2f}, goal at most 8: reached")
    assert "end to end, times dense" in second
    assert 1.3 < goals.end_to_end(step) < 2.2
    dense = 28 * (2**27 / H200.bytes_per_s * 1e6 + 4)
    sparse = 28 * step.us("whole")
    rest = goals.rest_us(H200)
    assert goals.end_to_end(step) == pytest.approx((rest + dense) / (rest + sparse))


def test_a_goal_that_is_missed_is_said():
    case = Case("quest", 32, 32768, 20, 1, dim=576, latents=512)
    slow = replace(launch("EXIT", moved=2**29), part="attend")
    lines = list(goals.told(Step(case, H200, ((slow, estimate(slow, H200)),), ())))
    assert [line.rsplit(": ", 1)[1] for line in lines] == ["reached", "missed"]
    assert list(goals.told(Step(case, CARDS[1], (), ()))) == []


def test_measured_rows_are_found():
    assert measured.rows()["H200", "quest", "32 x 32768, 16/8 heads, bf16", "index"] == 357.2


SCRIPT = """
import dataclasses
from benchmarks.drill.served import Case, Served
from benchmarks.static.__main__ import steps_of
from benchmarks.static.step import printed

if __name__ == "__main__":
    (step,) = steps_of([Case("quest_int4", 2, 1500, 4, 2)], 90, 1)
    print(printed(step))
    print("broken:", *step.broken, sep="\\n")
    print("names:", *(launch.name for launch, _ in step.launches))
"""


@pytest.mark.slow
def test_what_serves_compiles_and_breaks_no_rule(tmp_path):
    script = tmp_path / "gate.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.endswith("broken:\nnames: _write map_0 _select _attend\n"), done.stdout


@pytest.mark.parametrize(("name", "width"), [("twilight", 2560), ("refined_union", 632)])
def test_no_kernel_is_compiled_while_sequences_grow(name, width):
    """64 steps of one batch, over bounds as the engine gives them: all kernels are there after the first."""
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("count_kernels.py"), name, str(width)],
        env=kept | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    first, last = map(int, done.stdout.split())
    assert first == last >= 6
