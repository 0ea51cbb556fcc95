"""What every role process has: JSON logs, a health page with Prometheus metrics, a clean end on SIGTERM.

``/healthz`` answers 200 while the process lives, ``/readyz`` 200 once ``ready()`` was called (503 before, with the
reason given by ``waiting()``), ``/metrics`` the process's Prometheus registry. Each ``ready()``, ``waiting()`` or
``beat()`` is a sign of life of the role's loop; ``tidemill_role_silent_seconds`` says how long ago the last one was.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any

from prometheus_client import REGISTRY, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tidemill.clock import Clock, SystemClock
from tidemill.errors import Stop
from tidemill.settings import Settings

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
SAY_AGAIN_S = 10.0
"""Between two lines on what a role waits for."""
log = logging.getLogger(__name__)
SILENT = Gauge("tidemill_role_silent_seconds", "since the role's loop last gave a sign of life")


class JsonLogs(logging.Formatter):
    """One JSON object a line: time, level, role, logger, message and whatever was given in ``extra``."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update((name, value) for name, value in record.__dict__.items() if name not in _STANDARD)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure_logs(role: str, level: str) -> None:
    """JSON logs on standard error for the whole process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLogs(role))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("urllib3", "httpx", "httpcore", "aiokafka"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class CalmServer(ThreadingHTTPServer):
    """Takes a client that does not wait for its answer calmly."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if isinstance(sys.exception(), ConnectionError):
            log.debug("a reader of the health page went away")
        else:
            log.exception("the health page failed")


class Service:
    """The frame of one role process.

    Use as a context manager in the main thread; loop ``while not service.stopping:`` or wait on ``service.stop_event``.
    """

    def __init__(self, settings: Settings, role: str, *, clock: Clock | None = None, port: int | None = None) -> None:
        self.settings = settings
        self.role = role
        self.clock = clock or SystemClock()
        self.stop_event = threading.Event()
        self._port = settings.port(role) if port is None else port
        self._waiting_for: str | None = "start-up"
        self._beat_s = self.clock.monotonic_s()
        self._said: str | None = None
        self._said_s = self._beat_s - SAY_AGAIN_S
        self._server: ThreadingHTTPServer | None = None

    @property
    def stopping(self) -> bool:
        """Whether the process was told to end."""
        return self.stop_event.is_set()

    def ready(self) -> None:
        """From now on the role does its work."""
        self._waiting_for = None
        if self._said is not None:
            log.info("ready")
        self._said = None
        self.beat()

    def waiting(self, reason: str) -> None:
        """The role is not ready (any more), because of ``reason``: said in its log, too, where it is new."""
        self._waiting_for = reason
        now_s = self.clock.monotonic_s()
        if reason != self._said and now_s - self._said_s >= SAY_AGAIN_S:
            self._said, self._said_s = reason, now_s
            log.warning("not ready: %s", reason)
        self.beat()

    def beat(self) -> None:
        """The role's loop goes round, ready or not."""
        self._beat_s = self.clock.monotonic_s()

    @property
    def silent_s(self) -> float:
        """Seconds since the loop's last sign of life."""
        return self.clock.monotonic_s() - self._beat_s

    def __enter__(self) -> Service:
        configure_logs(self.role, self.settings.log_level)
        SILENT.set_function(lambda: self.silent_s)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            self._server = CalmServer((self.settings.health_host, self._port), self._handler())
        except OSError as error:
            raise Stop(
                f"port {self._port} for the health page of {self.role} is taken ({error.strerror}); "
                f"move all ports with local.port_base (now {self.settings.local.port_base})"
            ) from error
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        log.info("ending on %s", signal.Signals(number).name)
        self.stop_event.set()

    def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/healthz":
                    self._answer(200, b'{"status":"alive"}')
                elif self.path == "/readyz":
                    reason = service._waiting_for
                    body = {"status": "ready"} if reason is None else {"status": "waiting", "for": reason}
                    self._answer(200 if reason is None else 503, json.dumps(body).encode())
                elif self.path == "/metrics":
                    self._answer(200, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
                else:
                    self._answer(404, b'{"error":"try /healthz, /readyz or /metrics"}')

            def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
