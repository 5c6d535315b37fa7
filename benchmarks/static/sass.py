"""What a compiled kernel is made of, read from its machine code: `cuobjdump` comes with Triton.

Every instruction carries what the scheduler of a processor goes by: how long to stall after it, which of six barriers
it sets and which it waits for. So one warp's way through a kernel can be counted in cycles (`cycles`), given how long
memory takes to answer. Branches are taken as they are in a row that is scored: early returns are not, and loops run as
often as they are told to.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import triton

TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
LINE = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;?\s*/\* 0x[0-9a-f]{16} \*/\s*\n\s*/\* 0x([0-9a-f]{16}) \*/")
RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)")
LOAD = re.compile(r"(LDG|LDGSTS)\.")
FP64 = re.compile(r"D(ADD|MUL|FMA|SETP|MNMX)\b|\w+[.\w]*\.F64")
TENSOR = re.compile(r"(HMMA|IMMA|QMMA|HGMMA|QGMMA|UTC\w*MMA)\b")
SPILL = re.compile(r"(STL|LDL)\b")
SHUFFLE = re.compile(r"SHFL\.BFLY \w+, (R\d+),")
FUSED = re.compile(r"FFMA2?\S* .*, -?\|?(R\d+)[^,]*$")
WRITTEN = re.compile(r"(?:@\S+ )?\S+ (?:U?P\w+, )?R(\d+)\b")
ASKS = re.compile(r"BRA\S* !?U?P\w+,")
MOST_STEPS = 400_000

# Cycles until a result is there, of what sets a barrier; the first that matches. Wide loads come from DRAM under load,
# narrow ones (lengths, tables, scales) mostly from L2.
LATENCIES = (
    (re.compile(r"(LDG|LDGSTS)\S*\.(64|128)\b|UTMALDG"), 700),
    (re.compile(r"LDG|LDGSTS"), 270),
    (re.compile(r"ATOMG|ATOM\.|RED\."), 700),
    (re.compile(r"MEMBAR|CCTL|ERRBAR"), 700),
    (re.compile(r"ATOMS"), 100),
    (re.compile(r"LDS|LDSM|STS|STG|S2R|LDC|R2UR"), 33),
    (re.compile(r"SHFL|REDUX|VOTE|MUFU|I2F|F2I|F2F|POPC|FLO"), 25),
    (re.compile(r""), 20),
)
BARRIER_CYCLES, CALL_CYCLES, READ_CYCLES = 30, 120, 20


@dataclass(frozen=True)
class Instruction:
    """One instruction, with what its control bits say: barriers it sets when its result is there (`sets`), and when its
    operands have been read (`frees`).
    """

    at: int
    text: str
    stall: int
    sets: tuple[int, ...]
    waits: tuple[int, ...]
    frees: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return self.text.split()[1] if self.text.startswith("@") else self.text.split()[0]

    @property
    def is_predicated(self) -> bool:
        return self.text.startswith("@")

    @property
    def may_go_on(self) -> bool:
        """Whether what follows is next, of a branch: it asks a predicate before its name or behind it."""
        return self.is_predicated or ASKS.match(self.text) is not None

    @property
    def target(self) -> int | None:
        """Where a branch goes."""
        found = re.search(r"0x([0-9a-f]+)$", self.text) if self.name.startswith("BRA") else None
        return int(found[1], 16) if found else None


@dataclass(frozen=True)
class Code:
    """A kernel's instructions and what it takes of a processor."""

    registers: int
    stack: int
    instructions: tuple[Instruction, ...] = field(repr=False)

    def count(self, pattern: re.Pattern[str]) -> int:
        return sum(pattern.match(each.name) is not None for each in self.instructions)

    @property
    def spills(self) -> int:
        """Instructions that move registers to memory and back."""
        return self.count(SPILL)

    @property
    def fused_shuffles(self) -> int:
        """Count the products that are fused into a sum with what another thread of the warp holds.

        A thread rounds its own product once, together with the sum, and its neighbour's by itself before: so the two
        hold different sums. Written registers are followed in the order of the code.
        """
        shuffled: set[str] = set()
        num = 0
        for each in self.instructions:
            fused, shuffle, written = FUSED.search(each.text), SHUFFLE.search(each.text), WRITTEN.match(each.text)
            num += fused is not None and fused[1] in shuffled
            if written is not None:
                first = int(written[1])
                count = 4 if TENSOR.match(each.name) else max(width(each.name) // 32, 1)
                shuffled -= {f"R{first + i}" for i in range(count)}
            if shuffle is not None:
                shuffled.add(shuffle[1])
        return num

    @property
    def load_bits(self) -> Counter[int]:
        """Loads from global memory by their width in bits."""
        return Counter(width(each.name) for each in self.instructions if LOAD.match(each.name))

    def wide_share(self, least_bits: int = 128) -> float:
        """The share of what a thread loads that comes at least so many bits at a time."""
        total = sum(bits * num for bits, num in self.load_bits.items())
        wide = sum(bits * num for bits, num in self.load_bits.items() if bits >= least_bits)
        return wide / total if total else 1.0


def width(name: str) -> int:
    """Give the bits of a load or store."""
    for word, bits in ((".128", 128), (".64", 64), (".U8", 8), (".S8", 8), (".U16", 16), (".S16", 16)):
        if word in name:
            return bits
    return 32


def read(cubin: bytes) -> Code:
    """Read a kernel's code. Raises ValueError where the tool prints something else than expected."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [TOOL, "-sass", "-res-usage", file.name]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    taken, lines = RESOURCES.search(printed), LINE.findall(printed)
    if taken is None or not lines:
        raise ValueError(f"{TOOL.name} printed no registers and no instructions: {printed[:200]!r}")
    return Code(int(taken[1]), int(taken[2]), tuple(_instruction(*line) for line in lines))


def _instruction(at: str, text: str, high: str) -> Instruction:
    control = int(high, 16) >> 41
    sets, frees = ((b,) if b != 7 else () for b in ((control >> 5) & 7, (control >> 8) & 7))
    waits = tuple(b for b in range(6) if control >> (11 + b) & 1)
    return Instruction(int(at, 16), text, max(control & 15, 1), sets, waits, frees)


@dataclass
class Warp:
    """One warp alone on its way: the cycle it is at, and when its barriers and copies to shared memory are done.

    counted: the cycle at which it has counted itself in memory and may end, 0 where it does not count. Only who counts
    last goes on.
    """

    now: int = 0
    issued: int = 0
    counting: bool = False
    counted: int = 0
    barriers: list[int] = field(default_factory=lambda: [0] * 6)
    copying: int = 0
    groups: list[int] = field(default_factory=list)

    def issue(self, what: Instruction) -> None:
        self.now = max([self.now, *(self.barriers[b] for b in what.waits)])
        self.issued += 1
        done = self.now + next(cycles for pattern, cycles in LATENCIES if pattern.match(what.name))
        for barriers, at in ((what.sets, done), (what.frees, self.now + READ_CYCLES)):
            for barrier in barriers:
                self.barriers[barrier] = max(self.barriers[barrier], at)
        if what.name.startswith("LDGSTS"):
            self.copying = max(self.copying, done)
        elif what.name.startswith("LDGDEPBAR"):
            self.groups.append(self.copying)
        elif what.name.startswith("DEPBAR.LE"):
            left = int(re.findall(r"0x([0-9a-f]+)", what.text)[-1], 16)
            self.now = max([self.now, *self.groups[: len(self.groups) - left]])
        elif what.name.startswith("BAR"):
            self.now += BARRIER_CYCLES
        elif what.name.startswith("CALL"):
            self.now += CALL_CYCLES
        self.now += what.stall
        self.counting = self.counting or what.name.startswith("ATOMG")
        if self.counting and not self.counted and what.name == "EXIT":
            self.counted = self.now


def cycles(code: Code, repeats: int) -> tuple[int, int]:
    """Give the cycles of one warp that goes alone through a kernel, and the instructions that it issues (`walked`)."""
    warp = walked(code, repeats)
    return warp.now, warp.issued


def walked(code: Code, repeats: int) -> Warp:
    """Walk through a kernel with one warp that is alone.

    repeats: how many times each loop's body runs; where some have tensor instructions, those alone, all others once.
    """
    place = {each.at: i for i, each in enumerate(code.instructions)}
    repeated = _repeated(code, place)
    left, warp, i = {}, Warp(), 0
    while i < len(code.instructions) and warp.issued < MOST_STEPS:
        what = code.instructions[i]
        warp.issue(what)
        if what.name == "EXIT" and not what.is_predicated:
            break
        i = _following(what, i, place, left, repeats if i in repeated else 1)
    return warp


def _repeated(code: Code, place: dict[int, int]) -> set[int]:
    """Give the branches back of the loops that are repeated: the innermost with tensor instructions, or all."""
    back = {i: place[each.target] for i, each in enumerate(code.instructions) if place.get(each.target, i + 1) <= i}
    tensor = [i for i, each in enumerate(code.instructions) if TENSOR.match(each.name)]
    holding = {end for end, start in back.items() if any(start <= i <= end for i in tensor)}
    inner = {end for end in holding if not any(back[end] <= back[other] and other < end for other in holding)}
    return inner or set(back)


def _following(what: Instruction, i: int, place: dict[int, int], left: dict[int, int], repeats: int) -> int:
    """Say which instruction is next: loops go back as often as told, other conditional branches are not taken."""
    target = None if what.target is None else place.get(what.target)
    if target is None:
        return i + 1
    if target > i:
        return i + 1 if what.may_go_on else target
    left[i] = left.get(i, repeats) - 1
    if left[i] > 0:
        return target
    del left[i]
    return i + 1
