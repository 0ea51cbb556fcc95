"""The link that approves a candidate is put into its alert on the way out, and into no other one."""

from __future__ import annotations

import json

import msgspec
import pytest

from consumers.alerts.approving import Links
from consumers.alerts.formats import render
from consumers.alerts.groups import Notification
from consumers.alerts.receiver import _line
from tests.unit.retrain.made import NOW, alarm
from tidemill import approval
from tidemill.events import ThresholdEvent
from tidemill.settings import Settings
from tidemill.settings.alerting import WebhookSettings
from tidemill.settings.gate import ApprovalSettings

KEY = "a key of some length"


def told(event: ThresholdEvent) -> Notification:
    return Notification(id="n", key="k", due_ms=NOW, labels={}, events=(event,), news=(1,))


def asking(state: str = "firing") -> ThresholdEvent:
    event = alarm(alarm_id="ab" * 16, state=state)  # type: ignore[arg-type]
    return msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, rule=approval.RULE, kind="system"))


def test_the_alert_has_a_link_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPROVAL_KEY", KEY)
    settings = Settings(approval=ApprovalSettings(key_env="APPROVAL_KEY", link_lasts_s=60))
    links = Links(settings, WebhookSettings(name="demo"))
    given = links.into(told(asking()))
    assert given == links.into(told(asking())), "a repeated delivery says the same"
    link = given.events[0].data.evidence_url
    assert link.startswith(f"{settings.console_url}/approvals/{'ab' * 16}?until={NOW + 60_000}&proof=")
    until, proof = (part.partition("=")[2] for part in link.partition("?")[2].split("&"))
    assert approval.refusal(KEY.encode(), "ab" * 16, until, proof, NOW) == ""
    _, body = render(given, WebhookSettings(name="demo"), settings.console_url)
    notes = json.loads(body)["alerts"][0]["annotations"]
    assert link == notes["evidence"] and link in notes["description"]
    assert "proof=" not in notes["summary"], "a summary is printed and logged"
    for other in (asking("resolved"), alarm()):
        assert links.into(told(other)) == told(other)


def test_without_a_key_there_is_no_link() -> None:
    assert Links(Settings(), WebhookSettings(name="demo")).into(told(asking())) == told(asking())


@pytest.mark.parametrize("template", ["{summary}", "{summary} ({description})", "{summary} ({evidence})"])
def test_slack_is_shown_the_link_once(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPROVAL_KEY", KEY)
    settings = Settings(approval=ApprovalSettings(key_env="APPROVAL_KEY", link_lasts_s=60))
    slack = WebhookSettings(name="demo", url="https://hooks.example.com/x", format="slack", template=template)
    _, body = render(Links(settings, slack).into(told(asking())), slack, settings.console_url)
    assert json.loads(body)["text"].count("proof=") == 1


def test_a_receiver_that_is_looked_at_prints_no_proof() -> None:
    link = approval.path(KEY.encode(), "ab" * 16, NOW)
    line = _line({"status": "firing", "annotations": {"summary": f"talk-v2 waits: http://c{link} (or by command)"}})
    assert line.endswith(f"?until={NOW}&proof=... (or by command)")
