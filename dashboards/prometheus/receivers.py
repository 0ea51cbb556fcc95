"""A deployment's webhooks as an Alertmanager configuration: Prometheus' alerts go where tidemill's go. Pure.

Source: https://prometheus.io/docs/alerting/latest/configuration/
"""

from __future__ import annotations

from typing import Any

import yaml

from tidemill.errors import Stop
from tidemill.settings import Settings
from tidemill.settings.alerting import WebhookSettings

LONGEST_S = 432_000
"""What stands for never: Alertmanager forgets what it sent after 120 hours."""
SLACK_TEXT = "{{ range .Alerts }}{{ .Status }}: {{ .Annotations.summary }}\n{{ end }}"


def export(settings: Settings) -> tuple[str, list[str]]:
    """The configuration, and why which webhooks are not in it. Raises Stop where none is.

    It holds the webhooks' addresses: keep it as secret as these are. Silences and maintenance are not in it.
    """
    taken, left_out = [], []
    for webhook in settings.alerts.webhooks:
        why = _why_not(webhook)
        if why is None:
            taken.append(webhook)
        else:
            left_out.append(f"{webhook.name}: {why}")
    if not taken:
        words = "; ".join(left_out) or "alerts.webhooks is empty"
        raise Stop(f"no webhook that Alertmanager could call: {words}")
    routes = [_route(webhook) for webhook in taken]
    whole = {
        "route": {"receiver": taken[0].name, "group_by": ["..."], "routes": routes},
        "receivers": [_receiver(settings, webhook) for webhook in taken],
    }
    return yaml.safe_dump(whole, sort_keys=False, width=120, allow_unicode=True), left_out


def _why_not(webhook: WebhookSettings) -> str | None:
    if webhook.format == "alertmanager_api":
        return "it is an Alertmanager itself"
    if webhook.format == "cloudevents":
        return "Alertmanager sends no CloudEvents"
    if webhook.secret_env:
        return "Alertmanager does not sign"
    return None


def _route(webhook: WebhookSettings) -> dict[str, Any]:
    grouped = bool(webhook.group_by)
    return {
        "receiver": webhook.name,
        "continue": True,
        "group_by": list(webhook.group_by) or ["..."],
        "group_wait": _duration(webhook.group_wait_s if grouped else 0),
        "group_interval": _duration(max(1, webhook.group_interval_s if grouped else 0)),
        "repeat_interval": _duration(webhook.repeat_interval_s or LONGEST_S),
    }


def _receiver(settings: Settings, webhook: WebhookSettings) -> dict[str, Any]:
    url = settings.webhook_url(webhook)
    if webhook.format == "slack":
        kind, told = "slack_configs", {"api_url": url, "text": SLACK_TEXT}
    else:
        kind, told = "webhook_configs", {"url": url}
    return {"name": webhook.name, kind: [told | {"send_resolved": webhook.send_resolved}]}


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
