"""Budgets of money: what a pipeline spent on each day of event time (UTC), and which shares of a budget that passed.

Spend is taken from partials, each counted once: late answers and those of incomplete windows cost money, too, and so do
shadows. It is judged when the sources have said how far they are, so the order of partials between two such words does
not matter. A day's alarms end with the day; what comes for a day that is over changes nothing. A budget of a slice is
about the answers to clients in it: nobody is charged for shadows. How the day's spend ran is not kept: an alarm's
change time is the day's beginning, and its interval goes to where the share was passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct, field

from streams.alarms import Alarm, Transition
from tidemill.events import subject_of
from tidemill.events.types import MAX_MICROS
from tidemill.ids import derived_id
from tidemill.settings import BudgetSettings
from tidemill.settings.levels import Severity
from tidemill.slices import OTHER, dimension_of

DAY_MS = 86_400_000
OVER = "the day is over"


class Passed(NamedTuple):
    """A share of a budget that a day's spend has passed, or that its end has made good."""

    alarm: str
    """Name of the alarm."""
    severity: Severity
    transition: Transition
    slice: str = ""
    """Whose spend it is; empty: the whole pipeline's."""


class Day(Struct, array_like=True):
    """What was spent on a day, by the pipeline or one slice, and the alarms about it, by name."""

    micros: int = 0
    """Millionths of the currency; it stays at MAX_MICROS once it is there."""
    alarms: dict[str, tuple[Alarm, Severity]] = field(default_factory=dict)
    slices: dict[str, Day] = field(default_factory=dict)
    """What answers to clients cost of it, by slice, for the dimensions that have budgets."""

    def of(self, budget: BudgetSettings) -> list[tuple[str, Day]]:
        """What a budget is about: the day itself, or slices of it."""
        if budget.each:
            names = [name for name in sorted(self.slices) if dimension_of(name) == budget.each]
            return [(name, self.slices[name]) for name in names if name != f"{budget.each}={OTHER}"]
        if budget.slice:
            return [(budget.slice, self.slices[budget.slice])] if budget.slice in self.slices else []
        return [("", self)]

    def firing(self) -> Iterator[tuple[str, str, Alarm, Severity]]:
        """The alarms that fire: slice, name, alarm, how loud."""
        for slice, day in (("", self), *sorted(self.slices.items())):
            for name, (alarm, severity) in day.alarms.items():
                yield slice, name, alarm, severity


class Spend(Struct, array_like=True):
    """Days that are not over, by their number since the epoch: one, or a few while sources are apart."""

    days: dict[int, Day] = field(default_factory=dict)

    def add(
        self, costs: Iterable[tuple[int, int]], watermark_ms: int, latest_ms: int | None = None, slice: str = ""
    ) -> None:
        """Count costs, or those of a slice: event time, millionths. Those of a day that is over at the watermark are
        left out; those after ``latest_ms`` count there.
        """
        spent: dict[int, int] = {}
        for time_ms, micros in costs:
            number = (time_ms if latest_ms is None or time_ms < latest_ms else latest_ms) // DAY_MS
            spent[number] = spent.get(number, 0) + micros
        for number, micros in spent.items():
            if number >= watermark_ms // DAY_MS:
                day = self.days.setdefault(number, Day())
                if slice:
                    day = day.slices.setdefault(slice, Day())
                day.micros = min(day.micros + micros, MAX_MICROS)

    def judge(self, pipeline: str, budgets: Sequence[BudgetSettings], watermark_ms: int) -> Iterator[Passed]:
        """The alarms that begin, and end, at this watermark, day by day."""
        now = watermark_ms // DAY_MS
        for number in sorted(self.days):
            day = self.days[number]
            start_ms, end_ms = number * DAY_MS, (number + 1) * DAY_MS
            for budget in budgets:
                for slice, spent in day.of(budget):
                    now_ms = min(max(watermark_ms, start_ms), end_ms)
                    yield from _passed(pipeline, slice, budget, spent, start_ms, now_ms)
            if number < now:
                del self.days[number]
                for slice, name, alarm, severity in day.firing():
                    ended = Transition("resolved", alarm, start_ms, end_ms, None, OVER)
                    yield Passed(name, severity, ended, slice)

    def firing(self) -> set[str]:
        """The names of the alarms that fire."""
        return {name for day in self.days.values() for _, name, _, _ in day.firing()}


def _passed(
    pipeline: str, slice: str, budget: BudgetSettings, day: Day, start_ms: int, now_ms: int
) -> Iterator[Passed]:
    spent = day.micros / 1_000_000
    for name, share in zip(budget.alarms, budget.shares, strict=True):
        limit = share * budget.max_usd_per_day
        if spent <= limit or name in day.alarms:
            continue
        alarm = Alarm(
            alarm_id=derived_id(name, subject_of(pipeline, "cost", slice), start_ms),
            started_ms=now_ms,
            value=spent,
            threshold=limit,
            change_time_ms=start_ms,
            change_from_ms=start_ms,
            change_until_ms=now_ms,
        )
        severity: Severity = "page" if share >= 1 else "ticket"
        day.alarms[name] = alarm, severity
        reason = f"{spent / budget.max_usd_per_day:.0%} of the day's budget {budget.name} is spent"
        yield Passed(name, severity, Transition("firing", alarm, start_ms, start_ms + DAY_MS, spent, reason), slice)
