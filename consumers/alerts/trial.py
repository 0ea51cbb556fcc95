"""A test alert to one receiver, now: formatted, signed and sent as an alarm would be, and tried once."""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple

import httpx

from consumers.alerts.formats import render
from consumers.alerts.groups import Notification
from consumers.alerts.retry import judge
from consumers.alerts.sending import post, signer
from tidemill.clock import Clock
from tidemill.events import ThresholdData, ThresholdEvent, threshold_event
from tidemill.ids import derived_id
from tidemill.settings import Settings
from tidemill.settings.alerting import WebhookSettings

PIPELINE = "test"
SUMMARY = "a test alert, sent by hand: nothing is wrong"
State = Literal["firing", "resolved"]


class Trial(NamedTuple):
    """What came of it."""

    webhook: str
    state: State
    delivered: bool
    said: str
    """The receiver's status, or why there was none."""


def trials(settings: Settings, webhook: WebhookSettings, clock: Clock) -> list[Trial]:
    """The alert, and its end where it was taken and the receiver wants to know. Raises Stop on a missing secret."""
    now_ms = clock.now_ms()
    found = [_tried(settings, webhook, _event(settings, webhook, "firing", now_ms))]
    if found[0].delivered and webhook.send_resolved:
        found.append(_tried(settings, webhook, _event(settings, webhook, "resolved", now_ms)))
    return found


def _tried(settings: Settings, webhook: WebhookSettings, event: ThresholdEvent) -> Trial:
    told = Notification(event.id, event.data.alarm_id, event.time_ms, {}, (event,), (0,))
    kind, body = render(told, webhook, settings.console_url)
    headers = {"Content-Type": kind, "User-Agent": "tidemill"} | signer(webhook)(event.id, event.time_ms // 1000, body)
    private = webhook.allow_private if webhook.url else True
    tls = httpx.create_ssl_context(trust_env=False)
    sent = post(settings.webhook_url(webhook), body.encode(), headers, settings.alerts.timeout_s, tls, private)
    try:
        status, _ = asyncio.run(sent)
    except (httpx.HTTPError, OSError) as error:
        why = str(error) or f"no answer within alerts.timeout_s, {settings.alerts.timeout_s:g} s"
        return Trial(webhook.name, event.data.state, False, why)
    return Trial(webhook.name, event.data.state, judge(status, 1).outcome == "delivered", f"status {status}")


def _event(settings: Settings, webhook: WebhookSettings, state: State, now_ms: int) -> ThresholdEvent:
    alarm = derived_id("test alert", settings.deployment, webhook.name, now_ms)
    data = ThresholdData(
        state=state,
        rule="test",
        kind="system",
        severity="info",
        pipeline=PIPELINE,
        metric="test",
        window_start_ms=now_ms,
        window_end_ms=now_ms,
        alarm_id=alarm,
        started_ms=now_ms,
        summary=SUMMARY,
    )
    event_id = alarm if state == "firing" else derived_id(alarm, state)
    return threshold_event(event_id, f"tidemill/{settings.deployment}", data, now_ms)
