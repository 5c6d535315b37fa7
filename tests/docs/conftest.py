"""What runs the commands of pages: workers that draw their figures, a tiny random model, and parsers for the rest."""

import hashlib
import json
import re
import runpy
import shutil
import sys
from argparse import ArgumentParser
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace

import pytest

from benchmarks.loop import Drawn
from search.behaviour.signatures import SIZE
from search.campaigns import machines
from search.cli import commands, main
from search.commands.exits import ExitCode
from search.records import Stage
from tests.docs.shell import ROOT, Shell, blocks, lay_out

COMMANDS = ("vortex", "python", "pip", "git", "curl", "ray", "vllm", "lm_eval")
# What is only parsed, options and values as the real command would, and why. The rest is run.
ONLY_PARSED = {
    "vortex verify": "starts an engine in a fresh environment, as tests/campaign/test_campaign.py does",
    "vortex dash": "serves until it is stopped, as tests/search/dash does",
    "vortex worker": "is a node for as long as it lives, as tests/search/evaluator/cluster/test_nodes.py starts some",
    "vortex cluster": "asks the head of a cluster, as the same tests do",
    "vortex … postgresql:": "needs a PostgreSQL server, which tests/search/store starts where it can",
    "ray": "would start a cluster that outlives the test",
    "vllm": "starts a server, or asks one; tests/docs/test_serving.py gives the words to vLLM's own parsers",
    "python … benchmarks": "takes minutes, or a GPU",
    "python … check": "needs the wheel of the example; tests/search/plugin runs one",
    "lm_eval": "needs a task's questions from the network; its own parser reads the options, and vLLM's the arguments",
    "pip uninstall": "takes off nothing from a folder that it was given as a target; the name is looked for there",
    "curl": "nothing is served; what it asks for is looked at",
}


class Answering(Drawn):
    """Draws figures, and answers: what an export is verified by, and signatures as long as those of recordings."""

    def completed(self, timeout_s):
        long = {Stage.SERVE: 16, Stage.SCREEN: 2 * SIZE}
        done = super().completed(timeout_s)
        return [replace(e, answers=_hexadecimal(e)[: long.get(e.key.stage, 0)]) for e in done]


def _hexadecimal(evaluation):
    return hashlib.sha512(evaluation.key.program_digest.encode()).hexdigest() * 2


class ParsedAlready(BaseException):
    """The arguments were good, and that is all that is asked."""


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """Give the folder of a tiny random model that says it takes long texts."""
    from tiny_llama import write

    config = write(tmp_path_factory.mktemp("model")) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 40_000}))
    return config.parent


class Answerer:
    """Does what the commands of one page ask for, and keeps what was called."""

    def __init__(self, model, is_tutorial, timed=None):
        self.calls, self.parsed = [], []
        self._model, self._is_tutorial, self._timed = model, is_tutorial, timed

    def __call__(self, call):
        self.calls.append(call)
        return getattr(self, f"_{call.name}")(call)

    def _vortex(self, call):
        words = [self._timed if word == "12" and self._timed else word for word in call.words]  # the id of an example
        if words[0] in ("verify", "dash", "worker", "cluster"):
            return self._only(f"vortex {words[0]}", words)
        if any(word.startswith("postgresql:") for word in words):
            return self._only("vortex … postgresql:", words)
        if words[0] == "run" and not self._is_tutorial and "--dry-run" not in words:
            words.append("--dry-run")  # a campaign is planned; the tutorial's alone is run
        if "examples/cluster.toml" in words:
            words += ["--db", "sqlite:///results.db"]  # its own is PostgreSQL, on a machine of the example
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(words)
        told = (0, ExitCode.INFRASTRUCTURE) if words[0] == "doctor" else (0,)  # what it finds is this machine's
        assert code in told, f"vortex {' '.join(words)}\n{err.getvalue()}"
        return 0, out.getvalue()

    def _only(self, why, words):
        self.parsed.append(why)
        name = next(name for name in (" ".join(words[:2]), words[0]) if name in commands())
        commands()[name].make_context(name, words[len(name.split()) :])
        return 0, ""

    def _python(self, call):
        if call.words[0] == "-c":
            return [sys.executable, *call.words]
        if call.words[:2] == ["-m", "vllm.entrypoints.openai.api_server"]:
            return self._vllm(call)
        if call.words[0] == "-m" and re.fullmatch(r"vortex_[0-9a-f]{12}\.check", call.words[1]):
            return self._check(call)
        place = call.words[1] if call.words[0] == "-m" else call.words[0]
        assert place.split(".")[0].split("/")[0] == "benchmarks", place
        self.parsed.append("python … benchmarks")
        _parse_only(call.words)
        return 0, ""

    def _check(self, call):
        from search.plugin import check

        self.parsed.append("python … check")
        _parse_only([check.__file__, *call.words[2:]])
        return 0, ""

    def _lm_eval(self, call):
        from lm_eval._cli.harness import HarnessCLI
        from vllm import EngineArgs

        self.parsed.append("lm_eval")
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(sys, "argv", ["lm_eval", *call.words])
            given = HarnessCLI().parse_args().model_args
        given = json.loads(given) if isinstance(given, str) else given
        unknown = {name for name in given if name not in ("pretrained", *EngineArgs.__dataclass_fields__)}
        assert not unknown, unknown
        return 0, ""

    def _vllm(self, _call):
        self.parsed.append("vllm")
        return 0, ""

    def _pip(self, call):
        if call.words[0] == "uninstall":
            return self._uninstall(call.folder / ".installed", *call.words[1:])
        target = ["--target", str(call.folder / ".installed"), "--no-index"]
        return [sys.executable, "-m", "pip", "--disable-pip-version-check", *call.words, *target]

    def _uninstall(self, folder, yes, name):
        """See that it is what was installed, which stays for tests to look at: pip takes off nothing from a target."""
        assert yes == "-y"
        self.parsed.append("pip uninstall")
        (_,) = folder.glob(f"{name.replace('-', '_')}-*.dist-info")
        return 0, ""

    def _git(self, call):
        return [shutil.which("git"), "-c", "safe.directory=*", *call.words]

    def _ray(self, call):
        from ray.scripts.scripts import cli

        self.parsed.append("ray")
        name, *words = call.words
        cli.commands[name].make_context(name, words)
        return 0, ""

    def _curl(self, call):
        """Answer as a server would: metrics by the plugin's own collector, an answer to what is asked as JSON."""
        self.parsed.append("curl")
        url = next(word for word in call.words if word.startswith("http://localhost:8000/"))
        if url.endswith("/metrics"):
            return 0, _exported(call.folder)
        assert url.endswith("/v1/completions")
        given = call.words[call.words.index("-d") + 1]
        asked = json.loads((call.folder / given[1:]).read_text() if given.startswith("@") else given)
        return 0, json.dumps({"model": asked["model"], "choices": [{"text": ""}]})


def _parse_only(words):
    """Start a script of ours as `python` would, up to where its arguments are parsed."""
    parse = ArgumentParser.parse_args

    def parsed(self, args=None, namespace=None):
        parse(self, args, namespace)
        raise ParsedAlready

    with pytest.MonkeyPatch.context() as monkeypatch, redirect_stdout(StringIO()):
        monkeypatch.setattr(ArgumentParser, "parse_args", parsed)
        monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
        module = words[0] == "-m"
        monkeypatch.setattr(sys, "argv", words[1:] if module else [str(ROOT / words[0]), *words[1:]])
        run = runpy.run_module if module else runpy.run_path
        with pytest.raises((ParsedAlready, SystemExit)) as ended:
            run(sys.argv[0], run_name="__main__")
    assert ended.type is ParsedAlready or (ended.value.code == 0 and "--help" in words), words


def _exported(folder):
    """Give the text of a metrics endpoint on which one layer of one engine has counted something."""
    from prometheus_client import CollectorRegistry, generate_latest

    from vortex_dsl.serving import metrics

    registry = CollectorRegistry()
    (counts := folder / ".metrics").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv(metrics.FOLDER, str(counts))
        metrics.Meter().add("layers.0", metrics.Counters(sparse_tokens=1, pages_attended=3, pages_dense=60))
    registry.register(metrics._Collector(counts))
    return generate_latest(registry).decode()


@pytest.fixture(scope="module")
def where_pages_run(small_model):
    """Let campaigns of this process run on workers that draw their figures, and every model be the small one."""

    @contextmanager
    def pool(_machines):
        yield Answering()

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(machines.Machines, "pool", pool)
        monkeypatch.setattr("search.evaluator.models.model_folder", lambda name: small_model)
        monkeypatch.setattr("search.evaluator.models.smollm2.is_converted", lambda: True)
        monkeypatch.setattr("search.evaluator.models.smollm2.place", lambda: small_model)
        monkeypatch.setattr("search.evaluator.compiling.compile_ahead", lambda scratch: None)
        yield


@pytest.fixture(scope="module")
def shell_of(where_pages_run, small_model):
    """Give what makes a shell in a folder: `shell_of(folder, tutorial, timed)` gives it and its answerer."""

    def made(folder, is_tutorial=False, timed=None):
        answerer = Answerer(small_model, is_tutorial, timed)
        return Shell(folder, COMMANDS, answerer), answerer

    return made


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory, shell_of):
    """Run the tutorial, word for word, in a clone of this repository; give what came of it."""
    folder = tmp_path_factory.mktemp("tutorial")
    shell, answerer = shell_of(folder, is_tutorial=True)
    first, *others = blocks("tutorial.md", "sh")
    # What installing leaves behind: an environment that can be entered.
    stub = "printf 'mkdir -p .venv/bin; touch .venv/bin/activate\\n' >vortex-search/.ci/install"
    clone, rest = first.split("\n", 1)
    code, said = shell.run(f"{clone}\n{stub}\n{rest}", REPOSITORY=str(ROOT))
    assert code == 0, said
    inside = folder / "vortex-search"
    (inside / "examples").exists() or pytest.fail("the clone has no examples")
    lay_out("tutorial.md", inside)
    code, said = shell.run("\n".join(["cd vortex-search", *others]))
    assert code == 0, said
    return SimpleNamespace(folder=inside, said=said, calls=answerer.calls, parsed=answerer.parsed)
