"""A threshold event as an Alertmanager webhook (version 4): pure.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

from typing import Any

from tidemill.clock import rfc3339
from tidemill.events import ThresholdEvent
from tidemill.ids import derived_id

_NEVER = "0001-01-01T00:00:00Z"


def evidence_url(console_url: str, alarm_id: str) -> str:
    """Where the console shows the report of an alarm; known before the report is made."""
    return f"{console_url}/evidence/{alarm_id}"


def webhook_body(event: ThresholdEvent, receiver: str, console_url: str) -> dict[str, Any]:
    """The body that receivers of Alertmanager webhooks understand; depends on the event alone."""
    data = event.data
    group = {"alertname": data.rule, "pipeline": data.pipeline}
    labels = group | {"severity": data.severity, "kind": data.kind, "metric": data.metric}
    labels |= {name: value for name, value in (("version", data.model_version), ("variant", data.variant)) if value}
    evidence = data.evidence_url or evidence_url(console_url, data.alarm_id)
    annotations = {
        "summary": data.summary or f"{data.rule} of {data.pipeline}: {data.metric} is {_number(data.value)}",
        "description": data.reason,
        "value": _number(data.value),
        "threshold": _number(data.threshold),
        "reference": _number(data.reference),
        "change_time": rfc3339(data.change_time_ms) if data.change_time_ms is not None else "",
        "detector": data.detector,
        "alarm_id": data.alarm_id,
        "event_id": event.id,
        "evidence": evidence,
    }
    annotations = {name: value for name, value in annotations.items() if value}
    alert = {
        "status": data.state,
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(data.started_ms),
        "endsAt": rfc3339(event.time_ms) if data.state == "resolved" else _NEVER,
        "generatorURL": evidence,
        "fingerprint": derived_id(data.rule, event.subject)[:16],
    }
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{data.rule}", pipeline="{data.pipeline}"}}',
        "truncatedAlerts": 0,
        "status": data.state,
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": console_url,
        "alerts": [alert],
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
