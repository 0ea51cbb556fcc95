"""When a schedule comes round: five cron fields, or ``every 12h``. Pure; times are UTC, in epoch milliseconds.

Source: crontab(5), where a day counts if either of day of month and day of week fits, unless one of them is ``*``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple, Protocol

_EVERY = re.compile(r"every (\d+)(m|h|d|w)")
_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_WEEKDAYS = {name: str(number) for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_PART = re.compile(r"(\*|\d+)(?:-(\d+))?(?:/(\d+))?")
LONGEST_DAYS = 8 * 366 + 1
"""From one 29 February to the next there are eight years at most."""
EXAMPLES = "'0 3 * * mon' (Mondays at 3:00 UTC) or 'every 12h'"


class Schedule(Protocol):
    """Moments that come round again and again."""

    def last(self, now_ms: int) -> int:
        """The latest one that is not after ``now_ms``."""
        ...

    def following(self, now_ms: int) -> int:
        """The first one after ``now_ms``."""
        ...


class Every(NamedTuple):
    """Whole multiples of a period since 1970-01-01T00:00Z, so that every process means the same moments."""

    period_ms: int

    def last(self, now_ms: int) -> int:
        return now_ms - now_ms % self.period_ms

    def following(self, now_ms: int) -> int:
        return self.last(now_ms) + self.period_ms


class Cron(NamedTuple):
    """The moments that five cron fields name."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either: bool
    """A day of the month or a weekday is enough."""

    def last(self, now_ms: int) -> int:
        return next(at for at in self._days(_day(now_ms), -1) if at <= now_ms)

    def following(self, now_ms: int) -> int:
        return next(at for at in self._days(_day(now_ms), 1) if at > now_ms)

    def _days(self, first: date, step: int) -> Iterator[int]:
        for ahead in range(LONGEST_DAYS):
            day = first + timedelta(days=step * ahead)
            if self.fits(day):
                times = [(hour, minute) for hour in self.hours for minute in self.minutes]
                for hour, minute in times[::step]:
                    yield round(datetime.combine(day, time(hour, minute), UTC).timestamp() * 1000)

    def fits(self, day: date) -> bool:
        """Whether there are moments on this day."""
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (of_month or of_week if self.either else of_month and of_week)


def read(text: str) -> Schedule:
    """The schedule that ``text`` means. Raises ValueError with the way out."""
    said = " ".join(text.lower().split())
    if found := _EVERY.fullmatch(said):
        period_ms = int(found[1]) * _UNITS_MS[found[2]]
        if period_ms == 0:
            raise ValueError(f"a period must be longer than nothing; write {EXAMPLES}")
        return Every(period_ms)
    fields = said.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"is no schedule of five cron fields and no period; write {EXAMPLES}")
    minutes, hours, days, months, weekdays = (
        _field(text, *of) for text, of in zip((*fields[:4], _numbered(fields[4])), _FIELDS, strict=True)
    )
    cron = Cron(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        days,
        months,
        frozenset(day % 7 for day in weekdays),
        not fields[2].startswith("*") and not fields[4].startswith("*"),
    )
    leap = date(2000, 1, 1)
    if not any(cron.fits(leap + timedelta(days=ahead)) for ahead in range(LONGEST_DAYS)):
        raise ValueError(f"there is no such day in any year; write {EXAMPLES}")
    return cron


def _numbered(weekdays: str) -> str:
    for name, number in _WEEKDAYS.items():
        weekdays = weekdays.replace(name, number)
    return weekdays


def _field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            raise ValueError(f"{part!r} is no {name} of a cron schedule; write {EXAMPLES}")
        begin, end = (low, high) if found[1] == "*" else (int(found[1]), int(found[2] or found[1]))
        if found[1] != "*" and found[3] and not found[2]:
            end = high
        step = int(found[3] or 1)
        if not low <= begin <= end <= high or step < 1 or (found[1] == "*" and found[2]):
            raise ValueError(f"{part!r} is no {name} from {low} to {high}; write {EXAMPLES}")
        values |= set(range(begin, end + 1, step))
    return frozenset(values)


def _day(time_ms: int) -> date:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date()
