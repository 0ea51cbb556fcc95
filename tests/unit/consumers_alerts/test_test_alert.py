"""A test alert goes the way of a real one, and says what came of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import typer

from consumers.alerts.trial import trials
from tidemill.cli import alerts, context
from tidemill.clock import ManualClock
from tidemill.errors import Stop
from tidemill.settings import Settings
from tidemill.settings.alerting import AlertSettings, WebhookSettings

NOW = 1_800_000_000_000


class _Receiver(HTTPServer):
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.bodies: list[dict[str, object]] = []


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Receiver)
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[_Receiver]:
    with _Receiver() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join(5)


def _settings(url: str, *, send_resolved: bool = True) -> Settings:
    hook = WebhookSettings(name="pager", url=url, send_resolved=send_resolved)
    return Settings(alerts=AlertSettings(webhooks=(hook,), timeout_s=5))


def test_the_alert_and_its_end_are_told(receiver: _Receiver) -> None:
    settings = _settings(f"http://127.0.0.1:{receiver.server_port}/x")
    found = trials(settings, settings.alerts.webhooks[0], ManualClock(NOW))
    assert [(trial.state, trial.delivered, trial.said) for trial in found] == [
        ("firing", True, "status 200"),
        ("resolved", True, "status 200"),
    ]
    assert [body["status"] for body in receiver.bodies] == ["firing", "resolved"]
    again = trials(settings, settings.alerts.webhooks[0], ManualClock(NOW + 1))
    assert len(again) == 2 and receiver.bodies[0] != receiver.bodies[2], "a receiver must not take it for a repetition"


def test_a_receiver_that_wants_no_end_gets_none(receiver: _Receiver) -> None:
    settings = _settings(f"http://127.0.0.1:{receiver.server_port}/x", send_resolved=False)
    assert [trial.state for trial in trials(settings, settings.alerts.webhooks[0], ManualClock(NOW))] == ["firing"]


@pytest.mark.parametrize(("status", "said"), [(404, "status 404"), (503, "status 503"), (302, "status 302")])
def test_what_the_receiver_does_not_take_is_said(receiver: _Receiver, status: int, said: str) -> None:
    receiver.status = status
    settings = _settings(f"http://127.0.0.1:{receiver.server_port}/x")
    (trial,) = trials(settings, settings.alerts.webhooks[0], ManualClock(NOW))
    assert (trial.delivered, trial.said) == (False, said)


def test_the_command_says_what_came_of_it(
    receiver: _Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tidemill.yaml"
    url = f"http://127.0.0.1:{receiver.server_port}/x"
    file.write_text(
        f"alerts:\n  webhooks:\n    - {{name: pager, url: '{url}'}}\n    - {{name: dead, url: 'http://127.0.0.1:1/x'}}\n"
    )
    monkeypatch.setattr(context, "_file", file)
    alerts.test("pager")
    assert capsys.readouterr().out == "pager: firing: taken, status 200\npager: resolved: taken, status 200\n"
    with pytest.raises(typer.Exit):
        alerts.test(None, as_json=True)
    assert [(each["webhook"], each["delivered"]) for each in json.loads(capsys.readouterr().out)] == [
        ("pager", True),
        ("pager", True),
        ("dead", False),
    ]
    with pytest.raises(Stop, match=r"alerts\.webhooks has no 'other': pager, dead"):
        alerts.test("other")
