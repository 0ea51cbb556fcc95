"""Readiness probes."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable

from tidemill.local.process import Probe

TIMEOUT_S = 2.0
FIRST_ANSWER = "its first answer"
"""What is waited for while there is no answer at all."""


def http_ok(port: int, path: str) -> Probe:
    """Ready when the page answers 200. The body of another answer may say what is waited for (``{"for": …}``)."""

    def probe() -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read(10_000)
        except (OSError, http.client.HTTPException):
            return FIRST_ANSWER
        finally:
            connection.close()
        return None if answer.status == 200 else _reason(body) or f"{path} answers {answer.status}"

    return probe


def says(answers: Callable[[], bool], waits_for: str) -> Probe:
    """Ready when the function says so."""
    return lambda: None if answers() else waits_for


def _reason(body: bytes) -> str:
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    return str(said.get("for", "")) if isinstance(said, dict) else ""
