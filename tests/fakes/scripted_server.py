"""A scripted server over real HTTP: it replies as it is told, byte for byte, and keeps its own ledger of dollars."""

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROMPT_PRICE, CACHED_PRICE, COMPLETION_PRICE = 3.0, 0.3, 15.0  # dollars per million tokens
TOLD = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}


@dataclass
class Scripted:
    """One reply. `paid`: tokens that the server charges for, as (read, of which from the cache, written).

    `drip_s`: seconds between single bytes; `wait_s`: before anything; `missing`: bytes that are promised, no more.
    `is_endless`: the body again and again, as fast as it is read.
    """

    body: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    paid: tuple = (0, 0, 0)
    drip_s: float = 0.0
    wait_s: float = 0.0
    missing: int = 0
    hangs_up: bool = False
    is_endless: bool = False

    @property
    def dollars(self):
        read, cached, written = self.paid
        return ((read - cached) * PROMPT_PRICE + cached * CACHED_PRICE + written * COMPLETION_PRICE) / 1e6


def chat(content=None, *, message=None, finish="stop", usage=TOLD, **beside):
    """Write a completion's body as OpenAI has it."""
    said = {"role": "assistant", "content": content} | (message or {})
    choice = {"index": 0, "finish_reason": finish, "message": said}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(body | beside).encode()


class Server:
    """Gives out replies in order, the last again and again; or as a function of the request's number.

    `listed`: replies to GET by path; what is not there is not found. `looked`: the paths that were asked for.
    """

    def __init__(self, port=0, script=()):
        self.script, self.requests, self.dollars = script, [], 0.0
        self.listed, self.looked = {}, []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                outer.reply(self)

            def do_GET(self):
                outer.list(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()

    def list(self, handler):
        self.looked.append((handler.path, {name.lower(): value for name, value in handler.headers.items()}))
        found = self.listed.get(handler.path, Scripted(b'{"detail":"Not Found"}', 404))
        handler.close_connection = True
        time.sleep(found.wait_s)
        with suppress(OSError):
            self._write(handler, found)

    def reply(self, handler):
        body = handler.rfile.read(int(handler.headers["content-length"]))
        with self._lock:
            number = len(self.requests)
            self.requests.append(({name.lower(): value for name, value in handler.headers.items()}, json.loads(body)))
            found = self.script(number) if callable(self.script) else self.script[min(number, len(self.script) - 1)]
            self.dollars += found.dollars
        handler.close_connection = True
        time.sleep(found.wait_s)
        if found.hangs_up:
            return
        with suppress(OSError):  # the client had enough
            self._write(handler, found)

    def _write(self, handler, found):
        handler.send_response(found.status)
        for name, value in ({"content-type": "application/json"} | found.headers).items():
            handler.send_header(name, value)
        if not found.is_endless:
            handler.send_header("content-length", str(len(found.body) + found.missing))
        handler.send_header("connection", "close")
        handler.end_headers()
        while found.is_endless:
            handler.wfile.write(found.body)
        if not found.drip_s:
            handler.wfile.write(found.body)
            return
        for i in range(len(found.body)):
            handler.wfile.write(found.body[i : i + 1])
            handler.wfile.flush()
            time.sleep(found.drip_s)
