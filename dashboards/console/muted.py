"""What mutes alarms now, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from tidemill.silences import SETTINGS, Mutes

MOST = 3
"""So many are told one by one."""
_DAY_MS = 86_400_000


def muted(mutes: Mutes | None, now_ms: int, labels: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """A line for each mute that holds, the one that ends last first; with ``labels`` those of such an alarm.

    None: nothing is known of mutes, so nothing is said.
    """
    found = [] if mutes is None else sorted(mutes.holding(now_ms, labels), key=lambda each: -each[1])
    lines = []
    for mute, end_ms in found[:MOST]:
        source = "by the settings" if mute.source == SETTINGS else f"silence {mute.source}"
        lines.append(f"{mute.name} (until {_time(end_ms, now_ms)}, {source}): {mute.matched}")
    more = len(found) - MOST
    return (*lines, f"and {more} more; see `tidemill silence list`") if more > 0 else tuple(lines)


def _time(time_ms: int, now_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone()
    return moment.strftime("%H:%M" if time_ms - now_ms < _DAY_MS else "%-d %b %H:%M")
