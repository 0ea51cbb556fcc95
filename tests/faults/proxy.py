"""A proxy before the store that misbehaves on demand, as load balancers and networks do."""

from __future__ import annotations

import http.client
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, get_args

Mode = Literal["pass", "delay", "refuse", "deny", "cut"]
"""pass on · answer after three seconds · answer 500 without asking · ask, and answer 500 all the same · ask, and cut
the connection instead of the answer."""
MODES: tuple[Mode, ...] = get_args(Mode)
SHARE = 0.7
"""Of the requests that meet the mode; the others pass."""
_DELAY_S = 3.0
_DROPPED = frozenset({"transfer-encoding", "connection", "content-length", "date", "server", "host"})


class Proxy:
    """Listens on loopback at ``url`` until closed; ``mode`` may change at any time."""

    def __init__(self, store_port: int, seed: int) -> None:
        self.mode: Mode = "pass"
        self.met = 0
        """Requests that met a mode other than pass."""
        self._store_port = store_port
        self._noise = random.Random(seed)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def chosen(self) -> Mode:
        """The mode for one request."""
        mode = self.mode
        if mode == "pass" or self._noise.random() > SHARE:
            return "pass"
        self.met += 1
        return mode

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The store's answer. Raises OSError or HTTPException where it gives none."""
        connection = http.client.HTTPConnection("127.0.0.1", self._store_port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            mode = proxy.chosen()
            if mode == "refuse":
                return self._answer(500, {}, b"refused before the store")
            if mode == "delay":
                time.sleep(_DELAY_S)
            given = {name: value for name, value in self.headers.items() if name.lower() not in _DROPPED}
            try:
                status, headers, answer = proxy.ask(self.command, self.path, body, given)
            except (OSError, http.client.HTTPException):
                return self._cut()
            if mode == "cut":
                return self._cut()
            if mode == "deny":
                return self._answer(500, {}, b"refused after the store")
            return self._answer(status, headers, answer)

        do_GET = do_POST

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _DROPPED:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _cut(self) -> None:
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler
