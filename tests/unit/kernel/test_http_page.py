"""The page of HTTP interfaces names every error code and field of the gateway, and shows an alert as it is sent."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import msgspec

from consumers.alerts.body import webhook_body
from serving.gateway.asked import KEPT_HERE, PASSED_ON
from serving.gateway.feedback import JUDGEMENTS
from tidemill import contracts
from tidemill.topics import THRESHOLDS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "http.md").read_text()
PLACES = {"unavailable": 1, "UpstreamFailed": 2}
"""Where these take the code that a client is told."""


def codes() -> set[str]:
    """Every code in the gateway's sources; what a code is filled with stands as ``<status>``."""
    found: set[str] = set()
    for file in (ROOT / "serving" / "gateway").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            if (place := PLACES.get(node.func.id)) is not None and len(node.args) > place:
                given.append(node.args[place])
            for value in given:
                if isinstance(value, ast.Constant):
                    found.add(str(value.value))
                elif isinstance(value, ast.JoinedStr):
                    found.add(
                        "".join(str(v.value) if isinstance(v, ast.Constant) else "<status>" for v in value.values)
                    )
    return found


def test_every_error_code_is_on_the_page() -> None:
    rows = re.findall(r"^\| [\dx, ]+ \| (.*?) \|", PAGE, flags=re.MULTILINE)
    written = {code for cell in rows for code in re.findall(r"`([\w<>]+)`", cell)}
    assert {"spool_full", "unknown_completion", "upstream_<status>"} <= codes()
    assert written == codes()


def test_every_field_that_the_gateway_takes_is_on_the_page() -> None:
    assert [name for name in sorted(PASSED_ON | KEPT_HERE | set(JUDGEMENTS)) if f"`{name}`" not in PAGE] == []


def test_the_alert_that_is_shown_is_one_that_is_sent() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    event = msgspec.convert(contracts.examples(THRESHOLDS)[0], THRESHOLDS.event)
    sent = webhook_body(event, "demo", "http://127.0.0.1:18090")
    (alert,) = sent.pop("alerts")
    (words,) = (written := json.loads(shown)).pop("alerts")
    assert written == sent
    assert [field for field in alert if field not in words] == []
