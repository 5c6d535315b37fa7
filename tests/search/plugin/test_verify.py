"""Verification without an engine: what a wheel is asked, what its answer must be, and what its code cannot do."""

import socket
import zipfile
from dataclasses import replace

import pytest

from search.evaluator.probe import MODEL_FOLDER
from search.evaluator.sandbox import bubblewrap
from search.plugin import verify
from search.plugin.said import Finding, Told
from search.records import Stage
from tests.search.plugin.conftest import PACKAGE, WORKLOAD

REQUEST = {"model": str(MODEL_FOLDER), "engine": {}, "prompts": [[1]], "num_tokens": 1}
# Stands in the place of a wheel's check: does what harm it can, and says what it could.
HOSTILE = """
import json, socket, sys
from pathlib import Path

outside, secret, port = Path({outside!r}), Path({secret!r}), {port}
sys.stdin.readline()


def tried(name, harm):
    try:
        return f"{{name}}: {{harm()}}"
    except OSError:
        return ""


tried("wrote outside", lambda: (outside / "evil").write_text("here I was"))  # in a /tmp of the box's own
done = [
    tried("wrote into vLLM", lambda: (Path(sys.path[-1]) / "vllm" / "evil.py").write_text("")),
    tried("wrote beside Python", lambda: Path(sys.base_prefix, "evil").write_text("")),
    tried("read a secret", secret.read_text),
    tried("reached the network", lambda: socket.create_connection(("127.0.0.1", port), 5)),
]
found = {{"what": "harm", "seen": "; ".join(filter(None, done)) or "none", "is_right": False}}
print(json.dumps({{"result": {{"findings": [found], "tokens": [], "pages_attended": 0, "pages_dense": 0}}}}))
"""


def told(attended, dense):
    return Told(findings=[], tokens=[], pages_attended=attended, pages_dense=dense)


@pytest.mark.skipif(bubblewrap() is None, reason="needs bubblewrap that works")
def test_the_code_of_a_wheel_reaches_nothing_outside_its_folder(wheel, tmp_path):
    (secret := tmp_path / "secret").write_text("my key")
    (folder := tmp_path / "installed").mkdir()
    forged = tmp_path / wheel.name
    with socket.create_server(("127.0.0.1", 0)) as server:
        hostile = HOSTILE.format(outside=str(tmp_path), secret=str(secret), port=server.getsockname()[1])
        with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(forged, "w") as target:
            for item in source.infolist():
                is_check = item.filename == f"{PACKAGE}/check.py"
                target.writestr(item, hostile if is_check else source.read(item))
        python = verify.fresh_environment(folder, forged)
        with pytest.raises(verify.VerifyError, match=r"fails its own check: harm: none$"):
            verify._check(python, PACKAGE, REQUEST)
    assert not (tmp_path / "evil").exists()


def test_a_wheel_is_checked_by_itself_in_the_sandbox(wheel, tmp_path, monkeypatch):
    """Its own check runs, finds the program right, and what it finds wrong is told: here, who was chosen to serve."""
    python = verify.fresh_environment(tmp_path, wheel)
    monkeypatch.setitem(verify.VARIABLES, "VORTEX_PLUGIN", "vortex-other")
    with pytest.raises(
        verify.VerifyError, match=r"fails its own check: plugin: VORTEX_PLUGIN names vortex-other; set it to"
    ):
        verify._check(python, PACKAGE, REQUEST)


def test_what_pip_refuses_is_one_sentence(tmp_path):
    (broken := tmp_path / "broken-1-py3-none-any.whl").write_bytes(b"none")
    with pytest.raises(verify.VerifyError, match=r"broken-1-py3-none-any\.whl does not install: '.*'") as refused:
        verify.fresh_environment(tmp_path, broken)
    assert str(refused.value).isprintable()


def test_what_a_wheel_says_of_itself_is_told_as_one_line_of_text():
    said = verify._sentence(Finding(what="layers", seen="\x1b[2Jall\nis well" + "." * 1000, is_right=True))
    assert said.startswith("layers: \\u001b[2Jall\\u000ais well")
    assert len(said) < 350


def test_verification_fails_where_another_share_of_pages_is_read(wheel):
    """Right answers alone prove nothing: dense attention gives them too."""
    recorded = verify.read_wheel(wheel).card.evaluations[0]
    verify._check_pages(recorded, told(220, 2200))
    for reads in (told(2200, 2200), told(0, 0)):
        with pytest.raises(verify.VerifyError, match=r"where its evaluation recorded 10\.00%"):
            verify._check_pages(recorded, reads)


def test_verification_serves_as_the_evaluation_did(wheel):
    engine = verify._engine(verify.read_wheel(wheel).card, WORKLOAD, MODEL_FOLDER)
    assert engine["block_size"] == 32
    assert engine["max_model_len"] >= WORKLOAD.num_tokens


def test_a_wheel_of_another_model_is_refused(wheel):
    with pytest.raises(verify.VerifyError, match=r"was measured on 'probe', which .* is not: name it with --model"):
        verify._asked(verify.read_wheel(wheel), MODEL_FOLDER)  # whose digest is none that the record's figures are of


def test_a_wheel_with_answers_to_other_prompts_is_refused(wheel, monkeypatch):
    """Another evaluator's prompts are other ones, which a right program answers otherwise."""
    read = verify.read_wheel(wheel)
    first = read.card.evaluations[0]
    timed = first.model_copy(update={"key": first.key.model_copy(update={"stage": Stage.SERVE})})
    workload = read.card.workload.model_copy(update={"stage": Stage.SERVE})
    read = replace(read, card=read.card.model_copy(update={"evaluations": (timed,), "workload": workload}))
    monkeypatch.setattr(verify, "model_digest", lambda _: first.key.model_digest)
    with pytest.raises(verify.VerifyError, match="has answers to what evaluator '1' asked"):
        verify._asked(read, MODEL_FOLDER)


def test_a_wheel_without_answers_is_refused(wheel):
    read = verify.read_wheel(wheel)
    silent = tuple(each.model_copy(update={"answers": ""}) for each in read.card.evaluations)
    read = replace(read, card=read.card.model_copy(update={"evaluations": silent}))
    with pytest.raises(verify.VerifyError, match="records no answers; export the candidate again"):
        verify._asked(read, MODEL_FOLDER)
