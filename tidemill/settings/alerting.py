"""Settings of the delivery of alarms: receivers, what is told together, and when nothing is told."""

from __future__ import annotations

import re
import string
from datetime import datetime
from typing import Literal

from pydantic import Field, model_validator

from tidemill.settings.strict import Strict, choice, wrong
from tidemill.settings.weekly import WeeklySettings

ALERT_LABELS = ("alertname", "pipeline", "severity", "kind", "metric", "version", "variant", "slice")
"""Labels of an alert: what ``match`` and ``group_by`` may name."""
ALERT_ANNOTATIONS = (
    "summary",
    "description",
    "value",
    "threshold",
    "reference",
    "change_time",
    "change_from",
    "change_until",
    "detector",
    "statistic",
    "statistic_limit",
    "slice",
    "warning",
    "alarm_id",
    "event_id",
    "alarm_url",
    "evidence",
)
TEMPLATE_FIELDS = ("status", *ALERT_LABELS, *ALERT_ANNOTATIONS)
"""What ``template`` may name."""


class WebhookSettings(Strict):
    """One receiver of alerts."""

    name: str = Field(min_length=1, max_length=64)
    """Name of the receiver; its deliveries are counted under it."""
    url: str = Field(default="", pattern="^(https?://.+)?$")
    """Where alerts are posted; empty: the embedded stack's receiver."""
    format: Literal["alertmanager", "alertmanager_api", "cloudevents", "slack"] = "alertmanager"
    """Body of a delivery: Alertmanager's webhook (version 4), what Alertmanager itself takes (`/api/v2/alerts`),
    CloudEvents 1.0 (structured JSON), or Slack's incoming webhook."""
    template: str = "*{status}*: {summary} (<{alarm_url}|why>)"
    """Text of an alert in format `slack`, with the alert's status, labels and annotations as `{fields}`."""
    secret_env: str = ""
    """Environment variable with a Standard Webhooks secret; set: deliveries are signed."""
    send_resolved: bool = True
    """Whether the receiver is told of the end of an alarm too."""
    group_by: tuple[str, ...] = ()
    """Labels by which alerts go out together, `pipeline` among them; none: each alert by itself, at once."""
    group_wait_s: float = Field(default=30, ge=0)
    """With `group_by`: how long the first alert of a group waits for others, seconds."""
    group_interval_s: float = Field(default=300, ge=0)
    """With `group_by`: least time between two deliveries of news of a group, seconds."""
    repeat_interval_s: float = Field(default=0, ge=0)
    """Alarms that still fire are told again after this, seconds; 0: never."""
    allow_private: bool | None = None
    """Whether the address may be private (loopback, a local network, link-local). None: where `url` plainly says so,
    as `localhost`, `10.0.0.7`, `receiver` or a name under `.internal`, `.local` or `.svc` does; link-local needs
    `true`."""

    @model_validator(mode="after")
    def _check(self) -> WebhookSettings:
        for name in self.group_by:
            if name not in ALERT_LABELS:
                raise wrong(("group_by",), f"{name!r} is no label of an alert; {choice(name, ALERT_LABELS)}")
        if self.group_by and "pipeline" not in self.group_by:
            message = f"{list(self.group_by)} lacks 'pipeline': alarms are kept in order by pipeline; add it"
            raise wrong(("group_by",), message)
        if 0 < self.repeat_interval_s < 10:
            message = f"{self.repeat_interval_s:g} floods the receiver; give at least 10, or 0: never"
            raise wrong(("repeat_interval_s",), message)
        if self.format != "alertmanager" and not self.url:
            message = f"is empty, and the embedded receiver takes no {self.format!r}; name your receiver's address"
            raise wrong(("url",), message)
        if (fault := _template_fault(self.template)) is not None:
            raise wrong(("template",), fault)
        return self


class SilenceSettings(Strict):
    """A stretch of time in which alarms that match are not told; what still fires at its end is told then. By command,
    without a restart: `tidemill silence add`."""

    name: str = Field(min_length=1, max_length=64)
    """What it is called in logs."""
    match: dict[str, str] = Field(default_factory=dict)
    """Regular expression by label, each matching the whole value; none: every alarm."""
    start: datetime
    """From when on, with its offset from UTC (`2026-03-01T22:00:00+01:00`)."""
    end: datetime
    """Until when."""

    @model_validator(mode="after")
    def _check(self) -> SilenceSettings:
        _check_match(self.match)
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment.tzinfo is None:
                raise wrong(
                    (name,), f"{moment.isoformat()} lacks its offset from UTC; for example {moment.isoformat()}Z"
                )
        if self.end <= self.start:
            raise wrong(("end",), f"{self.end.isoformat()} is not after start ({self.start.isoformat()})")
        return self


class MaintenanceSettings(WeeklySettings):
    """A silence that comes back each week."""

    match: dict[str, str] = Field(default_factory=dict)
    """As in a silence."""

    @model_validator(mode="after")
    def _check(self) -> MaintenanceSettings:
        _check_match(self.match)
        return self


class AlertSettings(Strict):
    """Delivery of alarms."""

    webhooks: tuple[WebhookSettings, ...] = ()
    silences: tuple[SilenceSettings, ...] = ()
    maintenance: tuple[MaintenanceSettings, ...] = ()
    timeout_s: float = Field(default=10, gt=0)
    """Longest wait for a receiver's answer, seconds."""
    retry_for_s: float | None = Field(default=None, gt=0)
    """How long a dead receiver is retried, seconds. None: as its schedule goes, a day by `minutes`, four by
    `standard`."""
    retry_schedule: Literal["minutes", "standard"] | None = None
    """Waits between tries: `minutes`: 1 s, doubled up to 5 minutes; `standard`: Standard Webhooks' 5 s, 5 min, 30 min,
    2, 5, 10, 14, 20, 24 h. None: `standard` for receivers of Standard Webhooks, which are those of format `cloudevents`
    and those with a `secret_env`; `minutes` for the others."""


def _check_match(match: dict[str, str]) -> None:
    for label, pattern in match.items():
        if label not in ALERT_LABELS:
            raise wrong(("match", label), f"{label!r} is no label of an alert; {choice(label, ALERT_LABELS)}")
        try:
            re.compile(pattern)
        except re.error as error:
            raise wrong(("match", label), f"{pattern!r} is no regular expression: {error}") from error


def _template_fault(template: str) -> str | None:
    """What is wrong with a template, if anything: plain fields alone, as its values come from events."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        return f"is no template: {error}; write {{{{ and }}}} for braces"
    for _, field, how, conversion in parts:
        if field is None:
            continue
        if field not in TEMPLATE_FIELDS:
            return f"there is no field {{{field}}}; {choice(field, TEMPLATE_FIELDS)}"
        if how or conversion:
            return f"field {{{field}}} must stand alone, without ':' and '!'"
    if not template.strip():
        return "is empty; for example '{status}: {summary}'"
    return None
