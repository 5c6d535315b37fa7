"""What peers ask over HTTP on loopback: a mutated program from our operators, and what a program is worth.

The mutations stand where a language model's would. They answer as an OpenAI-compatible server does, and plainly, for
peers that let their caller propose.
"""

from __future__ import annotations

import json
import random
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from benchmarks.search.problems import SEARCH
from search.agents.breed import CROSS, RANDOM, Breed, draw
from search.agents.grammar import WAYS
from search.fit import fit, traced
from search.records import Candidate, Context, Proposal, Record, Status
from vortex_dsl import ProgramError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.search.problems import Problem

MAX_BODY_BYTES = 1 << 20
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
CURRENT = re.compile(r"^#+ current program\b", re.IGNORECASE | re.MULTILINE)  # above a parent in peers' prompts


class Mutations:
    """Our operators as a model: random programs, changes and crosses in the shares with which the grammar begins."""

    def __init__(self, problem: Problem, ratio: float, seed: int) -> None:
        self._problem, self._ratio, self._seed = problem, ratio, seed
        self._seen: set[str] = set()
        self._step = 0

    def changed(self, parent: str, others: Sequence[str]) -> str:
        """Give a program that was not given before. What is no program is no parent: a random one comes instead."""
        terms, self._step = self._problem.terms, self._step + 1
        context = Context(
            self._seed,
            self._step,
            (),
            frozenset(self._seen),
            terms.shape.group,
            terms.shape.head_dim,
            max(terms.lengths),
            terms.num_layers,
            terms.lengths,
            (self._ratio,),
        )
        first, rest = self._record(parent), [record for each in others if (record := self._record(each))]
        rng = random.Random(f"{self._seed} {self._step} peers")
        proposal = draw("peer", context, rng, lambda _, rng: _breed(first, rest, rng))
        self._seen.add(fit(proposal.text, proposal.values, terms, self._ratio).digest)
        return proposal.text

    def _record(self, text: str) -> Record | None:
        try:
            program, graph = traced(text, (), self._problem.terms.shape)
        except ProgramError:
            return None
        return Record(Candidate(0, 0, Proposal(text, "peer", "given"), Status.OK, "", graph.digest, program.name))


def _breed(parent: Record | None, others: Sequence[Record], rng: random.Random) -> Breed:
    chance = rng.random()
    if parent is None or chance < WAYS[RANDOM]:
        return Breed()
    return Breed(parent, rng.choice(others) if others and chance < WAYS[RANDOM] + WAYS[CROSS] else None)


class Desk:
    """Answers one peer's questions in turn, and remembers every program that it had evaluated."""

    def __init__(self, problem: Problem, ratio: float, seed: int, num: int) -> None:
        self._problem, self._ratio, self._num = problem, ratio, num
        self._mutations = Mutations(problem, ratio, seed)
        self._lock = threading.Lock()
        self.evaluated: dict[str, float] = {}  # by text, in order; 0 for what is no program or cannot be measured

    def mutate(self, parent: str, others: Sequence[str]) -> str:
        """Give a changed program."""
        with self._lock:
            return self._mutations.changed(parent, others)

    def evaluate(self, text: str) -> dict[str, Any]:
        """Give the mass that a program keeps, of each layer too, and how many evaluations are left.

        What was evaluated before costs nothing; beyond the last evaluation a score is 0.
        """
        with self._lock:
            left = self._num - len(self.evaluated)
            if text not in self.evaluated and left <= 0:
                return {"score": 0.0, "layers": {}, "message": "no evaluation is left", "left": 0}
            found, message = self._measured(text)
            self.evaluated.setdefault(text, found.get("mass", 0.0))
            layers = {name: value for name, value in found.items() if name.startswith("mass_layer_")}
            return {
                "score": self.evaluated[text],
                "layers": layers,
                "message": message,
                "left": self._num - len(self.evaluated),
            }

    def _measured(self, text: str) -> tuple[Mapping[str, float], str]:
        try:
            fitted = fit(text, (), self._problem.terms, self._ratio)
            if fitted.refusal:
                return {}, fitted.refusal
            found = self._problem.measured(traced(text, fitted.values, self._problem.terms.shape)[1], SEARCH)
            return found.figures, ""
        except (ProgramError, LookupError) as error:
            return {}, str(error)

    def completion(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer as a chat model: with the current program of the prompt, changed."""
        prompt = next(str(each["content"]) for each in reversed(question["messages"]) if each["role"] == "user")
        parent, others = programs_of(prompt)
        text = f"<NAME>\nmutated\n</NAME>\n\n<CODE>\n```python\n{self.mutate(parent, others)}\n```\n</CODE>"
        message = {"role": "assistant", "content": text}
        return {
            "id": "mutation",
            "object": "chat.completion",
            "created": 0,
            "model": question.get("model", ""),
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        }


def programs_of(prompt: str) -> tuple[str, list[str]]:
    """Find a prompt's current program, and the others that it shows. Raises ValueError where there is no current."""
    headings = list(CURRENT.finditer(prompt))
    parent = next((block for each in reversed(headings) if (block := BLOCK.search(prompt, each.end()))), None)
    if parent is None:
        raise ValueError("the prompt shows no current program; this peer's prompts have changed")
    others = [each[1] for each in BLOCK.finditer(prompt) if each.start() != parent.start()]
    return parent[1], others


@contextmanager
def served(desk: Desk) -> Iterator[str]:
    """Answer on a free port of 127.0.0.1; gives the address."""
    answers = {
        "/v1/chat/completions": desk.completion,
        "/mutate": lambda asked: {"text": desk.mutate(asked["text"], asked["others"])},
        "/evaluate": lambda asked: desk.evaluate(asked["text"]),
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = 60

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if self.path not in answers or not 0 < length <= MAX_BODY_BYTES:
                self.send_error(404 if self.path not in answers else 413)
                return
            try:
                answer = answers[self.path](json.loads(self.rfile.read(length)))
            except (KeyError, ValueError, StopIteration) as error:
                self.send_error(400, str(error)[:200])
                return
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
