"""A webhook receiver to look at: keeps what it was sent, shows it at GET /alerts.

    python -m consumers.alerts.receiver --port 18099

A demo and test part, not a role: it takes every delivery on any POST path, counts a repeated one once, and listens on
loopback unless told otherwise.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import threading
from collections import OrderedDict
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tidemill.clock import Clock, SystemClock

MOST = 1_000
MAX_BODY = 1_000_000


class AlertBook:
    """Alerts by delivery, newest last; bounded."""

    def __init__(self, clock: Clock, *, fail_first: int = 0) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures_left = fail_first
        self._kept: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()

    def take(self, webhook_id: str, body: dict[str, Any]) -> bool:
        """Keep each alert of a delivery; False: pretend to be broken (the first ``fail_first`` deliveries).

        ``webhook_id`` is empty where the sender gives none (Alertmanager): an alert then counts as repeated when its
        fingerprint came with the same status. Raises KeyError where the body is no Alertmanager webhook.
        """
        alerts = {(webhook_id, f"{alert['fingerprint']}/{alert['status']}"): alert for alert in body["alerts"]}
        with self._lock:
            if self._failures_left > 0:
                self._failures_left -= 1
                return False
            for key, alert in alerts.items():
                known = self._kept.get(key)
                if known is None:
                    self._kept[key] = self._entry(webhook_id or key[1], alert)
                else:
                    known["deliveries"] += 1
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
            return True

    def alerts(self) -> list[dict[str, Any]]:
        """What was received, oldest first."""
        with self._lock:
            return [dict(entry) for entry in self._kept.values()]

    def _entry(self, name: str, alert: dict[str, Any]) -> dict[str, Any]:
        told = {field: alert.get(field) for field in ("status", "labels", "annotations", "startsAt", "endsAt")}
        return {"webhook_id": name, "received_ms": self._clock.now_ms(), "deliveries": 1, **told}


def serve(port: int, *, host: str = "127.0.0.1", fail_first: int = 0, quiet: bool = False) -> ThreadingHTTPServer:
    """A server that does not run yet: call ``serve_forever``. Port 0 takes a free one."""
    book = AlertBook(SystemClock(), fail_first=fail_first)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path == "/alerts":
                return self._answer(200, book.alerts())
            return self._answer(200, {}) if path == "/healthz" else self._answer(404, {"error": "try /alerts"})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            if not 0 < length <= MAX_BODY:
                return self._answer(413, {"error": f"a body of 1 to {MAX_BODY} bytes"})
            try:
                body = json.loads(self.rfile.read(length))
                lines = [_line(alert) for alert in body["alerts"]]
                taken = book.take(self.headers.get("webhook-id", ""), body)
            except (ValueError, KeyError, TypeError, AttributeError):
                return self._answer(400, {"error": "not an Alertmanager webhook"})
            if taken and not quiet:
                print(*lines, sep="\n", flush=True)
            return self._answer(200 if taken else 503, {})

        def _answer(self, status: int, body: Any) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    return server


def _line(alert: dict[str, Any]) -> str:
    """For whoever reads the log, who may not decide in a person's place: the proof of a signed link is masked."""
    line = f"{alert['status']:9} {alert.get('annotations', {}).get('summary', '')}"
    return re.sub(r"\bproof=[^\s&]+", "proof=...", line)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description="Keeps and shows the alerts it is sent.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--fail-first", type=int, default=0, help="answer 503 to this many deliveries first")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT."""
    options = arguments().parse_args(argv)
    server = serve(options.port, host=options.host, fail_first=options.fail_first)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"alerts received are at http://{options.host}:{server.server_port}/alerts", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
