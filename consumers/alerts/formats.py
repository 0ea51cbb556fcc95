"""A notification as its receiver wants it: content type and body by the webhook's ``format``. Pure.

Sources: CloudEvents 1.0 (JSON format, structured and batched mode; the envelope is by the package ``cloudevents``),
Slack's incoming webhooks and Block Kit.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from consumers.alerts.body import alert_of, api_body, group_body
from consumers.alerts.groups import Notification
from tidemill.events import ThresholdEvent
from tidemill.ids import derived_id
from tidemill.settings.alerting import TEMPLATE_FIELDS, WebhookSettings

JSON = "application/json"
MOST_BLOCKS = 50
MOST_CHARS = 3_000
"""Slack's limits: blocks of a message, characters of a block's text."""
API_TELLS_FOR_MS = 30 * 86_400_000
"""How long an alarm counts in Alertmanager where it is told of once."""


def render(told: Notification, webhook: WebhookSettings, console_url: str) -> tuple[str, str]:
    """Content type and body. Equal inputs, equal bytes."""
    body: Any
    if webhook.format == "cloudevents":
        return cloud_events(told)
    if webhook.format == "slack":
        body = slack_body(told, webhook.template, console_url)
    elif webhook.format == "alertmanager_api":
        lasts_ms = round(3 * webhook.repeat_interval_s * 1000) or API_TELLS_FOR_MS
        body = api_body(told.events, console_url, told.due_ms + lasts_ms)
    else:
        body = group_body(told.events, told.labels, webhook.name, console_url)
    return JSON, json.dumps(body)


def cloud_events(told: Notification) -> tuple[str, str]:
    """The news as CloudEvents: one in structured mode, several as a batch. A reminder has ids of its own."""
    news = told.events[: len(told.news)] or told.events
    made = [_cloud_event(event, event.id if told.news else derived_id(told.id, event.id)) for event in news]
    if len(made) == 1:
        return "application/cloudevents+json", made[0]
    return "application/cloudevents-batch+json", f"[{', '.join(made)}]"


def _cloud_event(event: ThresholdEvent, name: str) -> str:
    """Our event in an envelope with attributes that the specification allows; its time is ``time_ms``."""
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent

    attributes = {
        "specversion": event.specversion,
        "id": name,
        "source": event.source,
        "type": event.type,
        "time": datetime.fromtimestamp(event.time_ms / 1000, UTC),
        "datacontenttype": event.datacontenttype,
    }
    if event.subject:
        attributes["subject"] = event.subject
    return JSONFormat().write(CloudEvent(attributes, msgspec.to_builtins(event.data))).decode()


def slack_body(told: Notification, template: str, console_url: str) -> dict[str, Any]:
    """``text`` for notices on a phone, ``blocks`` for the channel: one section an alert, as the template says."""
    lines = [_line(template, alert_of(event, console_url)) for event in told.events]
    most = MOST_BLOCKS if len(lines) <= MOST_BLOCKS else MOST_BLOCKS - 1
    shown = [line[:MOST_CHARS] for line in lines[:most]]
    if len(lines) > most:
        shown.append(f"and {len(lines) - most} more")
    sections = [{"type": "section", "text": {"type": "mrkdwn", "text": line}} for line in shown]
    return {"text": "\n".join(shown)[:MOST_CHARS], "blocks": sections}


def _line(template: str, alert: dict[str, Any]) -> str:
    given = {"status": alert["status"]} | alert["labels"] | alert["annotations"]
    shown = {name: _escaped(given.get(name, "")) for name in TEMPLATE_FIELDS}
    line = template.format(**shown)
    return line if line.strip() else shown["summary"]  # Slack refuses a message with an empty section


def _escaped(text: str) -> str:
    """Slack's three control characters, so that no event's words mention a channel or hide a link, on one line, so that
    none looks like an alert of its own.
    """
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
