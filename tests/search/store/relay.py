"""A TCP relay before a database's socket, which cuts connections where a test wants them cut."""

import contextlib
import socket
import threading
import time

HEARD_S = 0.1  # the server takes no longer for what it was told


class Relay:
    """Passes bytes both ways between clients on loopback and a Unix socket; `port` is where it listens.

    After `cut_at(word)` the next message that holds the word still reaches the server, and no answer comes back: the
    client cannot know whether it was heard. `cut()` ends all connections at once.
    """

    def __init__(self, path):
        self._path, self._word, self.num_cut = str(path), None, 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._pairs = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, word):
        self._word = word

    def cut(self):
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                self._end(each)

    def close(self):
        self._listening.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._path)
            except OSError:
                client.close()
                continue
            self._pairs.append((client, server))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(*pair, pair[0] is client), daemon=True).start()

    def _pass(self, source, sink, is_asking):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                is_last = is_asking and self._word is not None and self._word in data
                if is_last:
                    self._word, self.num_cut = None, self.num_cut + 1
                    self._end(source)
                sink.sendall(data)
                if is_last:
                    time.sleep(HEARD_S)
                    break
        for each in (source, sink):
            self._end(each)

    @staticmethod
    def _end(each):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
