"""Each line of the pages that starts vLLM's server, or times it, is one that vLLM takes."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.docs.shell import DOCS, lines

STARTS = re.compile(r"(python -m vllm\.entrypoints\.openai\.api_server|vllm serve) ")
TIMES = re.compile(r"vllm (?=bench serve )")
TIMERS = [line for path in sorted(DOCS.glob("*.md")) for line in lines(path.name) if TIMES.match(line)]
SERVERS = [line for path in sorted(DOCS.glob("*.md")) for line in lines(path.name) if STARTS.match(line)]
PLACES = re.compile(r"vortex_dsl\.[\w.]+")


@pytest.mark.vllm
def test_vllm_parses_every_line_that_serves_or_times(warm, tmp_path):
    """The words are given to the parser that the server has, in a process that has imported vLLM already."""
    asked = tmp_path / "lines.json"
    timed = [shlex.split(TIMES.sub("", line)) for line in TIMERS]
    asked.write_text(json.dumps([*timed, *(shlex.split(STARTS.sub("", line)) for line in SERVERS)]))
    done = warm.run(Path(__file__).with_name("parse_serving.py"), asked)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == len(SERVERS) > 4
    assert timed
    served = [each for line, each in zip(SERVERS, found, strict=True) if "CUSTOM" in line]
    assert {each["backend"] for each in served} == {"CUSTOM"}
    assert {"program": "mine.py", "values": {"pages": 8}} in [each["additional"].get("vortex") for each in served]


def test_settings_that_are_shown_are_taken():
    from vortex_dsl.serving.config import from_mapping

    shown = re.findall(r"""--additional-config '(\{.*?\})'""", "\n".join(SERVERS))
    exported = {"text": "the program of a wheel", "values": {}}
    taken = [from_mapping(json.loads(each)["vortex"], exported) for each in shown]
    assert {each.program for each in taken} == {"mine.py", exported["text"]}
    assert all(each.values for each in taken)


def test_what_is_shown_is_served_to_this_machine_alone():
    """vLLM listens at every address unless it is told one: who copies a line opens nothing."""
    spans = re.findall(r"`(vllm serve MODEL [^`]+)`", (DOCS.parent / "README.md").read_text())
    assert spans
    assert [line for line in (*SERVERS, *spans) if "--host 127.0.0.1" not in line] == []


def test_classes_that_are_named_exist():
    """Without importing vLLM: the file has the class."""
    named = {name for line in SERVERS for name in PLACES.findall(line)}
    assert named == {"vortex_dsl.serving.scheduler.PromptCacheScheduler"}
    for name in named:
        module, _, title = name.rpartition(".")
        assert f"class {title}(" in (DOCS.parent / f"{module.replace('.', '/')}.py").read_text()
