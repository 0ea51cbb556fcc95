"""An engine that answers one word at once and remembers when it was asked for which model: the real one's routes."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class WordEngine:
    """Serves adapters and chats as vLLM does; ``asked`` says when (monotonic seconds) and for which model."""

    def __init__(self) -> None:
        self.models = {"base"}
        self.asked: list[tuple[float, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where it listens, up to and with ``/v1``."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> WordEngine:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(engine: WordEngine) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                data = [{"id": name} for name in sorted(engine.models)] if self.path == "/v1/models" else []
                self._answer(json.dumps({"data": data}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/v1/chat/completions":
                    engine.asked.append((time.monotonic(), body["model"]))
                    return self._answer(_chunks(body["model"]), "text/event-stream")
                if self.path == "/v1/load_lora_adapter":
                    engine.models.add(body["lora_name"])
                else:
                    engine.models.discard(body["lora_name"])
                return self._answer(b"Success", "text/plain")

            def _answer(self, body: bytes, kind: str = "application/json") -> None:
                with contextlib.suppress(BrokenPipeError):  # whoever asked has ended
                    self.send_response(200)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _chunks(model: str) -> bytes:
    head = {"id": "up", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model}
    said = head | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "word"}}]}
    end = head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = head | {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}}
    events = [json.dumps(each) for each in (said, end, usage)] + ["[DONE]"]
    return "".join(f"data: {event}\n\n" for event in events).encode()
