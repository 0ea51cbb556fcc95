"""An alarm and its two ends: what detectors and rules hand on when they begin to fire, or stop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from msgspec import Struct


class Alarm(Struct, frozen=True, omit_defaults=True):
    """What is known of an alarm from its first moment; kept in the state while it fires."""

    alarm_id: str
    started_ms: int
    value: float | None
    """The figure that began it; None where it was the absence of one."""
    threshold: float
    reference: float | None = None
    change_time_ms: int | None = None
    change_from_ms: int | None = None
    change_until_ms: int | None = None
    """The interval of that estimate."""
    statistic: float | None = None
    """A detector's wealth when it alarmed …"""
    statistic_limit: float | None = None
    """… which it does at this much."""
    warning: str = ""
    """What the detector assumes and the values were found not to keep to."""
    season: Literal["day", "week"] | None = None
    """``reference`` is what the hour of the day or week is usually like; None: what came before."""


class Transition(NamedTuple):
    """An alarm begins (``firing``) or ends (``resolved``) at ``start_ms`` (a window, or the time of a score)."""

    state: Literal["firing", "resolved"]
    alarm: Alarm
    start_ms: int
    end_ms: int
    value: float | None
    """The figure now."""
    reason: str = ""


Found = list[tuple[str, Transition]]
"""Rules, and what begins or ends by them."""


def closed(alarms: Iterable[tuple[str, Alarm | None]], start_ms: int, end_ms: int, reason: str) -> Found:
    """The end of those that are on, each with its rule, for a reason that is none of their values."""
    return [
        (rule, Transition("resolved", alarm, start_ms, end_ms, None, reason))
        for rule, alarm in alarms
        if alarm is not None
    ]
