"""Settings that must stand before anything is imported, and what tests of kernels share."""

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

# Triton reads this when it is first imported. Without an NVIDIA driver its kernels run in the interpreter.
if not Path("/proc/driver/nvidia/version").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# Whoever runs tests by `nohup` would have all that they start ignore this.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Loops that Numba compiles take a minute: all runs of tests, and the engines they start, find them here.
ENGINES = Path(sys.prefix) / "engines-of-tests"
os.environ["NUMBA_CACHE_DIR"] = str(ENGINES / ".cache" / "numba")


OWN_TASK = """
task: own
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: ["\\n\\n"]
  do_sample: false
  max_gen_toks: 6
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""


class OwnServer(HTTPServer):
    """A server of one test, which is gone as soon as it is told to go."""

    def thread_target(self):
        self.server.serve_forever(poll_interval=0.02)


@pytest.fixture
def httpserver():
    """A server of the test's own.

    A campaign that ends leaves threads that still ask. At a server that tests share they would take the next one's
    answers.
    """
    with OwnServer() as server:
        yield server


@pytest.fixture(autouse=True, scope="session")
def patched_once_a_launch():
    """Let Triton's interpreter put its operations into `triton.language` once a launch, where it does so in each call.

    It looks through the whole module every time, which is a fifth of what interpreted tests take.
    """
    import triton.language
    from triton.runtime import interpreter

    languages, patch, patched = (triton.language, triton.language.core), interpreter._patch_lang, set()

    @functools.cache
    def seen_by(fn):
        return {value for value in fn.__globals__.values() if any(value is each for each in languages)}

    def patch_once(fn):
        if patched and seen_by(fn) <= patched:
            return None  # for the call of a device function, which asks for nothing
        scope = patch(fn)
        if not patched:  # for a launch, which restores what it gets
            restore = scope.restore
            scope.restore = lambda: (patched.clear(), restore())
        patched.update(seen_by(fn))
        return scope

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(interpreter, "_patch_lang", patch_once)
        yield


@pytest.fixture
def from_the_end(monkeypatch):
    """Let the interpreter run the programs of a launch in reverse, so that others are last to arrive."""
    from triton.runtime.interpreter import interpreter_builder

    set_index = interpreter_builder.set_grid_idx
    monkeypatch.setattr(
        interpreter_builder,
        "set_grid_idx",
        lambda *place: set_index(*(n - 1 - i for i, n in zip(place, interpreter_builder.grid_dim, strict=True))),
    )


@pytest.fixture
def launches(monkeypatch):
    """List the kernels that are launched, by name, in order."""
    import triton

    import kernels.decode

    kind, names = type(kernels.decode._attend), []
    run = kind.run

    def counted(self, *args, **kwargs):
        names.append(self.fn.__name__)
        return run(self, *args, **kwargs)

    assert issubclass(kind, triton.runtime.jit.KernelInterface)
    monkeypatch.setattr(kind, "run", counted)
    return names


class Fork:
    """A Python command that runs in a fork of a process that has imported vLLM."""

    def __init__(self, address, command, environment, files):
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        request = {"command": [str(word) for word in command], "environment": environment}
        socket.send_fds(self._connection, [json.dumps(request).encode()], files)
        self._answers = self._connection.makefile()
        self.pid = int(self._answers.readline())

    def wait(self, timeout_s):
        """Give its exit status; kill it and what it started when it does not end in time."""
        self._connection.settimeout(timeout_s)
        try:
            return int(self._answers.readline())
        except TimeoutError:
            os.killpg(self.pid, signal.SIGKILL)
            raise
        finally:
            self._connection.close()


class Warm:
    """Starts Python commands as forks of a process that has imported vLLM (`warm_vllm.py`)."""

    def __init__(self, address):
        self._address = address

    def start(self, *command, files, **environment):
        """Start what would follow `python`; `files`: descriptors of its stdin, stdout and stderr."""
        return Fork(self._address, command, os.environ | {"OMP_NUM_THREADS": "1"} | environment, files)

    def run(self, *command, **environment):
        """Run it to its end and give what came of it, as `subprocess.run` would."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            with Path(os.devnull).open() as nothing:
                files = [file.fileno() for file in (nothing, out, err)]
                status = self.start(*command, files=files, **environment).wait(280)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, status, out.read(), err.read())


@pytest.fixture(scope="session")
def warm(loops):
    """Give what starts a Python command with vLLM imported already: `warm.run(script, argument, NAME="value")`."""
    with tempfile.TemporaryDirectory(prefix="vortex-") as folder:  # pytest's own path is too long for a socket
        address = f"{folder}/socket"
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm_vllm.py")), address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        )  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        yield Warm(address)
        process.stdin.close()
        process.wait(30)


@pytest.fixture(scope="session")
def loops():
    """Give a home of engines in which a CPU's loops are compiled: a minute's work, done once for all runs of tests."""
    from search.evaluator.compiling import compile_ahead

    while (process := compile_ahead(ENGINES)) is None:  # another run is at it
        time.sleep(0.1)
    assert process.wait(timeout=300) == 0
    return ENGINES


@pytest.fixture(scope="session")
def home_with_loops(loops):
    """Give what makes a folder the home of engines that need not compile their loops: `home_with_loops(folder)`."""

    def make(folder):
        shutil.copytree(loops / ".cache" / "numba", folder / ".cache" / "numba")
        return folder

    return make


@pytest.fixture(scope="session")
def write_task():
    """Give what writes an own lm-eval task, whose answers are decoded: `write_task(folder, documents)` gives its file.

    A document has a `question` and an `answer`.
    """

    def write(folder, documents):
        data, file = folder / "own.jsonl", folder / "own.yaml"
        data.write_text("".join(json.dumps(document) + "\n" for document in documents))
        file.write_text(OWN_TASK.format(file=data))
        return file

    return write


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory):
    """Give the folder of a small random model that shares little with the probe (`tiny_llama.py`)."""
    from tiny_llama import write

    return write(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def worded(tmp_path_factory):
    """Give a folder with a tokenizer and nothing else: each word between spaces is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path_factory.mktemp("worded")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return folder
