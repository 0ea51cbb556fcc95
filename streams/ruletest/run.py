"""Runs a test of service levels: its windows, one after the other, through the code the stream runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from streams import thresholds
from streams.budgets import Spend
from streams.levels import Found, Levels
from streams.ruletest.files import RuleTest, Series, count_of
from streams.windows.figures import COUNTS, Figure
from tidemill import sketch
from tidemill.events import ThresholdEvent
from tidemill.metrics import DURATIONS
from tidemill.settings import Settings


class Difference(NamedTuple):
    """Alarms at a time that are not as expected."""

    at_s: int
    missing: tuple[str, ...]
    """Expected, and not firing."""
    unexpected: tuple[str, ...]
    """Firing, and not expected."""


class Said(NamedTuple):
    """An alarm that began or ended, when the window that ends at ``at_s`` had been judged."""

    at_s: int
    event: ThresholdEvent


class Result(NamedTuple):
    """What came of a test."""

    name: str
    differences: tuple[Difference, ...]
    said: tuple[Said, ...]

    @property
    def holds(self) -> bool:
        return not self.differences


def run(test: RuleTest, settings: Settings) -> Result:
    """Judge the windows as the stream would, had it seen them. ``test`` has been loaded with these settings."""
    size_s, spend = settings.windows.size_s, Spend()
    levels = Levels(test.pipeline, settings.pipelines[test.pipeline], {}, {}, spend)
    said: list[Said] = []
    firing: dict[int, set[str]] = {0: set()}
    """By the end of each window after which it changed."""
    for window in range(test.windows):
        start_ms = test.start_ms + window * size_s * 1000
        end_ms = start_ms + size_s * 1000
        figures = _figures(test, test.series, window)
        slices = {name: _figures(test, series, window) for name, series in test.slices.items()}
        for name, of in (("", figures), *slices.items()):
            if (cost := of.get("cost")) is not None:
                spend.add([(start_ms, round(cost.total * 1_000_000))], start_ms, slice=name)
        found: list[Found] = []
        if not _at(test.incomplete, window):
            found += levels.judge(figures, start_ms, end_ms, slices)
        found += levels.pass_time(end_ms)
        if found:
            at_s = (window + 1) * size_s
            firing[at_s] = levels.firing()
            for transition, cause in found:
                event = thresholds.event(settings.deployment, test.pipeline, cause, transition, end_ms)
                said.append(Said(at_s, event))
    return Result(test.name, tuple(_differences(test, firing)), tuple(said))


def _differences(test: RuleTest, firing: dict[int, set[str]]) -> list[Difference]:
    found = []
    for expected in test.alarms:
        now = firing[max(at_s for at_s in firing if at_s <= expected.at)]
        missing, unexpected = set(expected.firing) - now, now - set(expected.firing)
        if missing or unexpected:
            found.append(Difference(expected.at, tuple(sorted(missing)), tuple(sorted(unexpected))))
    return found


def _figures(test: RuleTest, series: Mapping[str, Series], window: int) -> dict[str, Figure]:
    found = {}
    for metric, values in series.items():
        value = _at(values, window)
        if value is not None:
            found[metric] = _figure(metric, value, count_of(test, metric, window))
    return found


def _figure(metric: str, value: float, n: int) -> Figure:
    if metric in COUNTS:
        return Figure(n, value, 0.0, value)
    if metric not in DURATIONS:
        return Figure(n, value * n, value * value * n, value)
    return Figure(n, value * n, value * value * n, value, value, value, value, {sketch.bucket(value): n})


def _at(values: tuple[float | None, ...], window: int) -> float | None:
    return values[window] if window < len(values) else None
