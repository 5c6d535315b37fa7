"""Recordings come back from their file as they were, are never seen in part, and do not heap up."""

from types import SimpleNamespace

import pytest
import torch

from search.evaluator.host import answer
from search.evaluator.recall import hosted
from search.evaluator.recall.recordings import MAX_FILES, Model, Recorder, Recordings, load, save
from search.evaluator.recall.texts import Asked
from search.evaluator.session import Session
from search.records import Status

SCALE = 0.5


def seen(q, k, v, length, layer=0, scale=SCALE):
    """Give what an engine records of one step; k and v go on behind the length."""
    return {"layer": layer, "num_layers": 2, "scale": scale, "q": q, "k": k, "v": v, "lengths": torch.tensor([length])}


def recorded(recorder, recording, text, scale=SCALE):
    layers = [
        [
            seen(recording.q[i, layer, text], *(_padded(x[layer, text]) for x in (recording.k, recording.v)),
                 recording.num_tokens + i + 1, layer, scale * (1 + layer * (scale != SCALE)))
            for i in range(recording.num_steps)
        ]
        for layer in range(2)
    ]  # fmt: skip
    recorder.add(layers)


def _padded(x):
    return torch.nn.functional.pad(x, (0, 0, 0, 3), value=7.0)


def test_what_the_engine_recorded_is_kept_in_sixteen_bits(drawn):
    wanted, recorder = drawn(40, ("a", "b"), layers=2), Recorder(40, ("a", "b"))
    for text in range(2):
        recorded(recorder, wanted, text)
    found = recorder.recording()
    assert torch.equal(found.q, wanted.q)
    assert (found.k.dtype, found.num_tokens, found.names) == (torch.float16, 40, ("a", "b"))
    assert torch.equal(found.k, wanted.k.half())
    assert torch.equal(found.v, wanted.v.half())
    assert recorder.model == Model((0, 1), 2, SCALE)


def test_a_model_in_bfloat16_is_kept_exactly(drawn):
    wanted, recorder = drawn(40, layers=2), Recorder(40, ("a",))
    for x in (wanted.k, wanted.v):
        x *= 1e6
        x.copy_(x.bfloat16())
    recorded(recorder, wanted, 0)
    assert torch.equal(recorder.recording().k.float(), wanted.k)


def test_numbers_that_do_not_fit_and_unlike_layers_are_refused(drawn):
    big = drawn(40, layers=2)
    big.k.mul_(1e6)
    with pytest.raises(OverflowError, match=r"layer 0 has values in k that torch\.float16 cannot hold"):
        recorded(Recorder(40, ("a",)), big, 0)
    with pytest.raises(ValueError, match="layers differ"):
        recorded(Recorder(40, ("a",)), drawn(40, layers=2), 0, scale=2.0)


def test_a_file_gives_back_what_was_saved(tmp_path, drawn):
    groups = (drawn(40, ("a", "b")), drawn(60, ("a",)))
    save(Recordings(Model((0, 1, 2), 5, SCALE), groups), tmp_path / "new" / "x.safetensors")
    found = load(tmp_path / "new" / "x.safetensors")
    assert found.model == Model((0, 1, 2), 5, SCALE)
    for got, wanted in zip(found.by_length, groups, strict=True):
        assert (got.num_tokens, got.names) == (wanted.num_tokens, wanted.names)
        assert all(torch.equal(getattr(got, name), getattr(wanted, name)) for name in "qkv")


def test_a_file_is_whole_or_not_there_and_old_ones_go(tmp_path, monkeypatch, drawn):
    recordings = Recordings(Model((0, 1, 2), 3, SCALE), (drawn(20),))
    for i in range(MAX_FILES + 2):
        save(recordings, tmp_path / f"{i}.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{i}.safetensors" for i in range(2, MAX_FILES + 2)]

    def half(_tensors, part, _told):
        with open(part, "wb") as file:  # noqa: PTH123
            file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.torch.save_file", half)
    with pytest.raises(OSError, match="no space left"):
        save(recordings, tmp_path / "late.safetensors")
    assert len(list(tmp_path.iterdir())) == MAX_FILES


@pytest.mark.parametrize("content", [b"recorded", b"", b"x" * 4096])
@pytest.mark.parametrize("call", ["recall", "screen", "look", "picture", "describe"])
def test_a_damaged_file_is_removed_so_that_it_is_recorded_anew(tmp_path, call, content):
    file = tmp_path / "damaged.safetensors"
    file.write_bytes(content)
    told = answer(Session("light"), {"call": call, "args": {"file": str(file)}})
    assert (told["status"], "is damaged" in told["message"]) == (Status.INFRASTRUCTURE, True)
    assert not file.exists()


@pytest.mark.parametrize(("memory", "kept"), [(8, ["a"]), (16, ["a", "b"]), (1024, ["a", "b"])])
def test_as_many_texts_are_recorded_as_a_machine_has_room_for(monkeypatch, memory, kept):
    """Two texts of 16,000 tokens of a model with 28 layers and 8 KV heads of 128: 1.8 GB each."""
    asked = [Asked(name, (0,) * 16_000) for name in ("a", "b")]
    monkeypatch.setattr(hosted, "machine_bytes", lambda: memory << 30)
    monkeypatch.setattr(hosted, "MACHINE_SHARE", 0.25)
    assert [text.name for text in hosted._that_fit(session_of(28), asked)] == kept


def test_a_text_that_a_machine_has_no_room_for_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setattr(hosted, "machine_bytes", lambda: 1 << 30)
    with pytest.raises(ValueError, match=r"take 1,836,843,008 bytes, and at most 1,073,741,824 are kept on this mach"):
        hosted._that_fit(session_of(28), [Asked("a", (0,) * 16_000)])


def session_of(num_layers):
    config = SimpleNamespace(get_total_num_hidden_layers=lambda: num_layers)
    llm = SimpleNamespace(llm_engine=SimpleNamespace(vllm_config=SimpleNamespace(model_config=config)))
    return SimpleNamespace(shape=SimpleNamespace(num_kv_heads=8, head_dim=128), engine=SimpleNamespace(llm=llm))
