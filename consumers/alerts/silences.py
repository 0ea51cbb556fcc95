"""When alarms are not told: silences, and maintenance that comes back each week. Pure: time is handed in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tidemill.settings.alerting import DAYS, AlertSettings, MaintenanceSettings, SilenceSettings

Labels = Mapping[str, str]
End = Callable[[int], int | None]


class Mutes:
    """All silences and maintenance of a deployment."""

    def __init__(self, alerts: AlertSettings) -> None:
        self._rules: list[tuple[dict[str, re.Pattern[str]], End]] = [
            *((_patterns(one.match), _once(one)) for one in alerts.silences),
            *((_patterns(one.match), _weekly(one)) for one in alerts.maintenance),
        ]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def until(self, labels: Labels, at_ms: int) -> int | None:
        """When the longest mute that holds for these labels at that time ends (after ``at_ms``); None: none holds."""
        ends = (end(at_ms) for patterns, end in self._rules if _matches(patterns, labels))
        return max((found for found in ends if found is not None), default=None)


def _patterns(match: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    return {label: re.compile(pattern) for label, pattern in match.items()}


def _matches(patterns: Mapping[str, re.Pattern[str]], labels: Labels) -> bool:
    """A label that an alarm lacks counts as empty."""
    return all(pattern.fullmatch(labels.get(label, "")) for label, pattern in patterns.items())


def _once(silence: SilenceSettings) -> End:
    start, end = (round(moment.timestamp() * 1000) for moment in (silence.start, silence.end))
    return lambda at_ms: end if start <= at_ms < end else None


def _weekly(maintenance: MaintenanceSettings) -> End:
    """It begins by the clocks of its zone and lasts so many seconds, whatever these clocks do meanwhile."""
    zone, lasts_ms = ZoneInfo(maintenance.zone), round(maintenance.lasts_s * 1000)
    days = {DAYS.index(day) for day in maintenance.days}
    back = math.ceil(maintenance.lasts_s / 86_400) + 1

    def end(at_ms: int) -> int | None:
        today = datetime.fromtimestamp(at_ms / 1000, zone).date()
        found = None
        for day in (today - timedelta(days=ago) for ago in range(back + 1)):
            start = round(datetime.combine(day, maintenance.at, zone).timestamp() * 1000)
            if day.weekday() in days and start <= at_ms < start + lasts_ms:
                found = max(found or 0, start + lasts_ms)
        return found

    return end
