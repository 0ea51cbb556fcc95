"""Alerts as Alertmanager writes them: its webhook (version 4) and what its own API takes. Pure.

Sources: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config and Alertmanager's API v2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.clock import rfc3339
from tidemill.events import ThresholdEvent
from tidemill.ids import derived_id
from tidemill.silences import labels_of

_NEVER = "0001-01-01T00:00:00Z"


def evidence_url(console_url: str, alarm_id: str) -> str:
    """Where the console shows the report of an alarm; known before the report is made."""
    return f"{console_url}/evidence/{alarm_id}"


def alarm_url(console_url: str, alarm_id: str) -> str:
    """Where the console says why an alarm fired."""
    return f"{console_url}/alarms/{alarm_id}"


def alert_of(event: ThresholdEvent, console_url: str) -> dict[str, Any]:
    """One alert; depends on the event alone."""
    data = event.data
    evidence = data.evidence_url or evidence_url(console_url, data.alarm_id)
    annotations = {
        "summary": data.summary or f"{data.rule} of {data.pipeline}: {data.metric} is {_number(data.value)}",
        "description": data.reason,
        "value": _number(data.value),
        "threshold": _number(data.threshold),
        "reference": _number(data.reference),
        "change_time": rfc3339(data.change_time_ms) if data.change_time_ms is not None else "",
        "change_from": rfc3339(data.change_from_ms) if data.change_from_ms is not None else "",
        "change_until": rfc3339(data.change_until_ms) if data.change_until_ms is not None else "",
        "detector": data.detector,
        "statistic": _number(data.statistic),
        "statistic_limit": _number(data.statistic_limit),
        "slice": data.slice,
        "warning": data.warning,
        "alarm_id": data.alarm_id,
        "event_id": event.id,
        "alarm_url": alarm_url(console_url, data.alarm_id),
        "evidence": evidence,
    }
    return {
        "status": data.state,
        "labels": labels_of(data),
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": rfc3339(data.started_ms),
        "endsAt": rfc3339(event.time_ms) if data.state == "resolved" else _NEVER,
        "generatorURL": alarm_url(console_url, data.alarm_id),
        "fingerprint": derived_id(data.rule, event.subject)[:16],
    }


def webhook_body(event: ThresholdEvent, receiver: str, console_url: str) -> dict[str, Any]:
    """The body that receivers of Alertmanager webhooks understand, for one event."""
    return group_body((event,), {}, receiver, console_url)


def group_body(
    events: Sequence[ThresholdEvent], labels: Mapping[str, str], receiver: str, console_url: str
) -> dict[str, Any]:
    """The same for a group that shares ``labels``; none: its first event's rule and pipeline."""
    alerts = [alert_of(event, console_url) for event in events]
    group = dict(labels) or {name: alerts[0]["labels"][name] for name in ("alertname", "pipeline")}
    named = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in group.items())
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{named}}}",
        "truncatedAlerts": 0,
        "status": "firing" if any(alert["status"] == "firing" for alert in alerts) else "resolved",
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": console_url,
        "alerts": alerts,
    }


def api_body(events: Sequence[ThresholdEvent], console_url: str, until_ms: int) -> list[dict[str, Any]]:
    """What ``/api/v2/alerts`` takes. An alarm that fires counts there until ``until_ms``, or until it is told again."""
    alerts = [alert_of(event, console_url) for event in events]
    for alert in alerts:
        alert["endsAt"] = rfc3339(until_ms) if alert["status"] == "firing" else alert["endsAt"]
    taken = ("labels", "annotations", "startsAt", "endsAt", "generatorURL")
    return [{name: alert[name] for name in taken} for alert in alerts]


def _common(several: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {name: value for name, value in several[0].items() if all(one.get(name) == value for one in several)}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
