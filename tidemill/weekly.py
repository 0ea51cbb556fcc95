"""When a stretch of time that comes back each week ends. Pure: time is handed in."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tidemill.settings.weekly import DAYS, WeeklySettings


def until(weekly: WeeklySettings, at_ms: int) -> int | None:
    """When it ends, if it holds at that time (then later than that), else None. Epoch milliseconds.

    It begins by the clocks of its zone and lasts so many seconds, whatever these clocks do meanwhile.
    """
    zone, lasts_ms = ZoneInfo(weekly.zone), round(weekly.lasts_s * 1000)
    days = {DAYS.index(day) for day in weekly.days}
    today = datetime.fromtimestamp(at_ms / 1000, zone).date()
    found = None
    for day in (today - timedelta(days=ago) for ago in range(math.ceil(weekly.lasts_s / 86_400) + 2)):
        start = round(datetime.combine(day, weekly.at, zone).timestamp() * 1000)
        if day.weekday() in days and start <= at_ms < start + lasts_ms:
            found = max(found or 0, start + lasts_ms)
    return found
