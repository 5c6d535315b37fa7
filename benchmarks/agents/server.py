"""A scripted OpenAI-compatible server over real HTTP: with latency, errors and prices, and a ledger of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from search.agents.llm.endpoint import Endpoint

PROMPT_PRICE, CACHED_PRICE, COMPLETION_PRICE = 3.0, 0.3, 15.0  # dollars per million tokens
BYTES_PER_TOKEN = 4
JITTER = 0.25  # of a latency, either way


@dataclass(frozen=True)
class Habits:
    """How a server behaves. Chances are of a request each, and drawn from the seed.

    `latency_s`: of an answer. `slots`: requests that are answered at a time while others wait, 0 for all. `errors`: 429
    or 500 instead of an answer, for which nothing is charged. `truncations`: answers cut off in the middle.
    `reasoning`: answers after as many tokens of reasoning again, which are charged, and told within the answer's count
    or beside it, as providers do.
    """

    latency_s: float = 0.0
    slots: int = 0
    errors: float = 0.0
    truncations: float = 0.0
    reasoning: float = 0.0
    seed: int = 0


class Server:
    """Serves `/v1/chat/completions`. `answer` writes the text of the nth answer, from 0, to a request.

    `dollars`: what it charged; `arrivals` and `begun`: when each request came, and when a slot was free for it, in
    seconds of the monotonic clock.
    """

    def __init__(self, answer: Callable[[int, dict[str, Any]], str], habits: Habits | None = None) -> None:
        self.dollars, self.num_answers = 0.0, 0
        self.arrivals: list[float] = []
        self.begun: list[float] = []
        self._answer, self._habits = answer, habits or Habits()
        slots = self._habits.slots
        self._room: contextlib.AbstractContextManager[Any] = (
            threading.Semaphore(slots) if slots else contextlib.nullcontext()
        )
        self._luck = random.Random(self._habits.seed)
        self._lock, self._numbers = threading.Lock(), itertools.count()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                server.reply(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Serve no more."""
        self._http.shutdown()
        self._http.server_close()

    def endpoint(self, **beside: Any) -> Endpoint:
        """Give where it is and what it costs."""
        from search.agents.llm.endpoint import Endpoint

        prices = {"prompt_price": PROMPT_PRICE, "cached_price": CACHED_PRICE, "completion_price": COMPLETION_PRICE}
        return Endpoint("scripted", self.url, **prices | beside)

    def reply(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request, late."""
        asked = handler.rfile.read(int(handler.headers["content-length"]))
        status, body, waits_s = self._decided(asked)
        with self._room:
            self.begun.append(time.monotonic())
            time.sleep(waits_s)
        with contextlib.suppress(OSError):  # whoever asked has gone
            handler.send_response(status)
            handler.send_header("content-type", "application/json")
            handler.send_header("retry-after-ms", "1")
            handler.send_header("content-length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

    def _decided(self, asked: bytes) -> tuple[int, bytes, float]:
        """Give status, body and seconds, and charge what the answer costs."""
        habits = self._habits
        with self._lock:
            self.arrivals.append(time.monotonic())
            fails, is_cut, reasons, waits, caches = (self._luck.random() for _ in range(5))
            waits_s = habits.latency_s * (1 + JITTER * (2 * waits - 1))
            if fails < habits.errors:
                return 429 if fails < habits.errors / 2 else 500, b'{"error": {"message": "not now"}}', 0.0
            text = self._answer(next(self._numbers), json.loads(asked))
            cut = is_cut < habits.truncations
            text = text[: len(text) // 2] if cut else text
            usage, dollars = _usage(len(asked), len(text), reasons / (habits.reasoning or -1), caches)
            self.dollars += dollars
            self.num_answers += 1
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": "length" if cut else "stop", "message": message}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "scripted", "choices": [choice]}
        return 200, json.dumps(body | {"usage": usage}).encode(), waits_s


def _usage(num_asked: int, num_written: int, reasons: float, caches: float) -> tuple[dict[str, Any], float]:
    """Give usage as providers tell it, and dollars. `reasons`: below 0 none, to a half told within, to 1 beside."""
    read, written = num_asked // BYTES_PER_TOKEN + 1, num_written // BYTES_PER_TOKEN + 1
    cached = int(read * caches)
    reasoning = written if 0 <= reasons < 1 else 0
    charged = written + reasoning
    dollars = ((read - cached) * PROMPT_PRICE + cached * CACHED_PRICE + charged * COMPLETION_PRICE) / 1e6
    usage = {
        "prompt_tokens": read,
        "completion_tokens": charged if reasons < 0.5 else written,
        "total_tokens": read + charged,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    return usage, dollars


@contextlib.contextmanager
def serving(answer: Callable[[int, dict[str, Any]], str], habits: Habits | None = None) -> Iterator[Server]:
    """Give a server that is gone afterwards."""
    server = Server(answer, habits)
    try:
        yield server
    finally:
        server.close()
