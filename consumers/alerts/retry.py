"""When a delivery is tried again: pure. An answer and an attempt in, a decision out; nobody sleeps here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

from tidemill.settings.alerting import AlertSettings, WebhookSettings

FIRST_S = 1.0
LONGEST_S = 300.0
_MOST_DIGITS = 9
"""Of a Retry-After; it is bounded further on anyhow."""
STANDARD_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits after the first try, the second … in Standard Webhooks' example; the last one goes on."""
MINUTES_FOR_S, STANDARD_FOR_S = 86_400.0, 345_600.0
"""How long the schedules last; all of STANDARD_S takes 272,105 s, and a quarter more at most."""
_PASSING = frozenset({408, 425, 429})
_GONE, _TOO_MANY = 410, 429


class Schedule(NamedTuple):
    """How one receiver is tried again: by STANDARD_S or by minutes, and for how many seconds."""

    standard: bool
    for_s: float


def schedule(alerts: AlertSettings, webhook: WebhookSettings) -> Schedule:
    """As the settings say. Where they are silent, people wait for what chats and Alertmanager get: it comes within
    minutes of a receiver's return.
    """
    by_format: Literal["minutes", "standard"]
    by_format = "standard" if webhook.format == "cloudevents" or webhook.secret_env else "minutes"
    standard = (alerts.retry_schedule or by_format) == "standard"
    return Schedule(standard, alerts.retry_for_s or (STANDARD_FOR_S if standard else MINUTES_FOR_S))


@dataclass(frozen=True)
class FollowUp:
    """What follows from one attempt. ``after_s`` counts for ``retry``."""

    outcome: Literal["delivered", "retry", "refused", "retired"]
    after_s: float = 0.0
    pause_s: float = 0.0
    """How long the receiver wants no call at all."""


def judge(
    status: int | None,
    attempt: int,
    *,
    retry_after: str = "",
    now_ms: int = 0,
    jitter: float = 0.5,
    standard: bool = False,
) -> FollowUp:
    """What follows from the ``attempt``-th try (from 1). ``status`` None: no answer came.

    2xx is done; 408, 425, 429, 5xx and silence are tried again, waiting twice as long each time, or as STANDARD_S says
    (Retry-After is obeyed where it asks for longer); 410 retires the receiver; everything else, redirects too, is a
    refusal. After a 429, and where Retry-After is given, nothing else is sent meanwhile. ``jitter`` in [0, 1] spreads
    the waits.
    """
    if status is not None and 200 <= status < 300:
        return FollowUp("delivered")
    if status == _GONE:
        return FollowUp("retired")
    if status is not None and status not in _PASSING and status < 500:
        return FollowUp("refused")
    doubled = min(FIRST_S * 2.0 ** min(attempt - 1, 20), LONGEST_S)
    wait = (STANDARD_S[min(attempt, len(STANDARD_S)) - 1] if standard else doubled) * (0.75 + 0.5 * jitter)
    asked = min(_asked_s(retry_after, now_ms), 3600.0)
    after = max(wait, asked)
    return FollowUp("retry", after, asked or (min(after, LONGEST_S) if status == _TOO_MANY else 0.0))


def _asked_s(retry_after: str, now_ms: int) -> float:
    """Seconds that a Retry-After header asks for (seconds or a date); 0 when it says nothing."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:_MOST_DIGITS])
    try:
        until = parsedate_to_datetime(text)
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        return max(0.0, (until - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds())
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0
