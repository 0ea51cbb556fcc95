"""An engine's adapter routes without a model: what the rollout controller steers (the real vLLM runs in the loop)."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class AdapterEngine:
    """Serves /health, /v1/models and the adapter routes as vLLM does; remembers the adapters it holds."""

    def __init__(self, port: int, base: str = "base") -> None:
        self.base = base
        self.adapters: dict[str, str] = {}
        self.unloaded: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def restart(self) -> None:
        """A restarted engine holds no adapter."""
        self.adapters.clear()

    def __enter__(self) -> AdapterEngine:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(engine: AdapterEngine) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                cards: list[dict[str, str | None]] = [{"id": engine.base, "root": "/models/base", "parent": None}]
                cards += [{"id": name, "root": path, "parent": engine.base} for name, path in engine.adapters.items()]
                body = {"data": cards} if self.path == "/v1/models" else {}
                self._answer(200, json.dumps(body).encode())

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = asked["lora_name"]
                if self.path == "/v1/load_lora_adapter":
                    if name in engine.adapters:
                        return self._answer(400, b'{"error":{"message":"already loaded"}}')
                    if "broken" in asked["lora_path"]:
                        return self._answer(400, b'{"error":{"message":"no such adapter"}}')
                    engine.adapters[name] = asked["lora_path"]
                elif engine.adapters.pop(name, None) is None:
                    return self._answer(404, b'{"error":{"message":"not found"}}')
                else:
                    engine.unloaded.append(name)
                return self._answer(200, b"Success")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
