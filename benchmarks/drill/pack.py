"""Pack vLLM for a machine that downloads nothing, in parts small enough to carry: `python3 -m benchmarks.drill.pack`.

Needs git, and pip with a package index; takes some minutes. Writes build/drill/1 to build/drill/3, each with one file
`part`. In them, as one archive: the official vLLM without what decoding a dense model on Hopper never loads, the wheels
that a machine lacks which has PyTorch and transformers, and a wheel of this checkout, by whose metadata vLLM finds the
plugin.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHEELS = Path(__file__).with_name("wheels.txt")
VLLM = "vllm==0.32.0"
PYTHON = "3.12"
GLIBCS = (35, 34, 31, 28, 27, 26, 24, 17)  # pip matches each tag exactly
NUM_PARTS = 3  # as many as the README's calls that carry one
LIMIT_BYTES = 64 * 2**20  # of what travels with one call: the checkout and a part
# Other chips' kernels, FlashAttention 2 (Hopper runs 3), experts, other attention's kernels, and the Rust front end.
LEFT_OUT = re.compile(
    r"_vllm_fa2_C|_flashmla_C|_flashmla_extension_C|_moe_C|_qutlass_C|third_party/(deep_gemm|fmha_sm100)"
    r"|vllm-rs$|vllm/_rust_"
)


def download(folder: Path, *wanted: str) -> None:
    """Fetch wheels for the other machine: named ones, without what they need."""
    platforms = [*(f"manylinux_2_{minor}_x86_64" for minor in GLIBCS), "manylinux2014_x86_64", "manylinux1_x86_64"]
    chosen = [word for platform in platforms for word in ("--platform", platform)]
    chosen += [word for abi in ("cp312", "abi3", "none") for word in ("--abi", abi)]
    python = ["--python-version", PYTHON, "--implementation", "cp"]
    _pip("download", "--no-deps", "--only-binary=:all:", *python, *chosen, "-d", str(folder), *wanted)


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True)


def lighten(wheel: Path, target: Path) -> list[str]:
    """Copy a wheel's files without those that are left out, compressed as well as may be; give what was left out."""
    out = []
    with zipfile.ZipFile(wheel) as given, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for info in given.infolist():
            if LEFT_OUT.search(info.filename):
                out.append(info.filename)
            else:
                made.writestr(info, given.read(info), zipfile.ZIP_DEFLATED, 9)
    return out


def tree_bytes(root: Path = ROOT) -> int:
    """Give the bytes of a checkout's files that travel: tracked ones, and those that git would track."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    named = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    paths = {root / name for name in named if name}
    return sum(path.stat().st_size for path in paths if path.is_file())


def divided(num_bytes: int, num: int) -> list[int]:
    """Give the sizes of so many parts, alike but for the last."""
    size = -(-num_bytes // num)
    return [max(min(size, num_bytes - size * number), 0) for number in range(num)]


def too_large(part_bytes: list[int], checkout_bytes: int, limit_bytes: int = LIMIT_BYTES) -> str:
    """Say which part cannot travel beside the checkout, nothing where all can."""
    largest = max(part_bytes)
    if checkout_bytes + largest <= limit_bytes:
        return ""
    return (
        f"a part of {largest / 2**20:.1f} MiB beside a checkout of {checkout_bytes / 2**20:.1f} MiB is more than the "
        f"{limit_bytes / 2**20:.0f} MiB that may travel with one call; leave more out, or carry more parts"
    )


def split(archive: Path, folder: Path, sizes: list[int]) -> None:
    """Write an archive's parts: FOLDER/1/part and so on."""
    with archive.open("rb") as source:
        for number, size in enumerate(sizes, 1):
            target = folder / str(number)
            target.mkdir(parents=True, exist_ok=True)
            (target / "part").write_bytes(source.read(size))


def gather(folder: Path, vllm: Path | None) -> None:
    """Put everything into a folder: vLLM's files as vllm.zip, all else as wheels. vllm: its wheel, if it is here."""
    with tempfile.TemporaryDirectory() as apart:
        if vllm is None:
            download(Path(apart), VLLM)
            (vllm,) = Path(apart).glob("vllm-*.whl")
        out = lighten(vllm, folder / "vllm.zip")
    print(f"left out of {vllm.name}: {len(out)} files")
    download(folder, "-r", str(WHEELS))
    _pip("wheel", "--no-deps", "-w", str(folder), str(ROOT))


def pack(folder: Path, vllm: Path | None) -> None:
    """Write the parts, or end with a sentence where one would be too large."""
    with tempfile.TemporaryDirectory() as work:
        (everything := Path(work) / "all").mkdir()
        gather(everything, vllm)
        with tarfile.open(Path(work) / "all.tar", "w") as archive:
            archive.add(everything, ".")
        for path in sorted(everything.iterdir()):
            print(f"{path.stat().st_size / 2**20:7.1f} MiB  {path.name}")
        sizes, checkout = divided((Path(work) / "all.tar").stat().st_size, NUM_PARTS), tree_bytes()
        if why := too_large(sizes, checkout):
            sys.exit(why)
        split(Path(work) / "all.tar", folder, sizes)
    mib = ", ".join(f"{size / 2**20:.1f}" for size in sizes)
    print(f"{folder}: parts of {mib} MiB beside a checkout of {checkout / 2**20:.1f} MiB")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.drill.pack", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "drill", help="where the parts go")
    parser.add_argument("--vllm", type=Path, help="a wheel of vLLM that is here already")
    given = parser.parse_args()
    pack(given.folder, given.vllm)
    return 0


if __name__ == "__main__":
    sys.exit(main())
