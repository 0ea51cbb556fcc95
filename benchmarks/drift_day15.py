"""After 14 days with a strong season, day 15: does it stay quiet, and is a shift found within the hour?

Ten series share one budget of one false alarm in a week of clock updates (seconds): five of quality, five of the
length of answers. A value is the mean over BATCH calls in a row. Traffic, quality and length move with the hour, and
quality and length at the weekend, by more than the shift that is to be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from math import pi
from statistics import fmean
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.frame import Table, number
from streams.detectors.conformal import Conformal, slot_of_week
from streams.detectors.season import Season

RUN_LENGTH = 604_800
SERIES = 10
MASS = 60 / SERIES
"""What a series is granted for a minute of ticks."""
BATCH = 25
DAY = 1_440
BEGIN = 14 * DAY
DAY_ALLOWED = 86_400 / RUN_LENGTH
"""False alarms that the budget allows in a day, on average."""
HOURS = (3, 9, 15, 21)
"""Of day 15, at which shifts are injected, each into a copy of the state."""
TRAFFIC = (60, 30, 10)
"""Calls a minute, on average over the day."""
FALL, RISE = 0.10, 1.3
KINDS = ("quality", "length")
SLOT_MS = 600_000
Values = NDArray[np.float64]


def levels(minutes: Values, kind: str, phase: float) -> Values:
    """The usual quality, or length in characters, minute by minute."""
    wave = np.sin(2 * pi * minutes / DAY + phase)
    weekend = np.isin(minutes // DAY % 7, (2, 3))
    if kind == "quality":
        return 0.84 + 0.06 * wave - 0.03 * weekend
    return np.asarray(400 * np.exp(0.35 * wave + 0.2 * weekend))


def draw(
    rng: np.random.Generator, minutes: Values, kind: str, calls: float, phase: float, shifted: bool
) -> list[tuple[int, float]]:
    """Batches of calls: the minute of the last one, and their mean."""
    n = rng.poisson(calls * (1 + 0.5 * np.sin(2 * pi * minutes / DAY)))
    usual = np.repeat(levels(minutes, kind, phase), n)
    if kind == "quality":
        single = (rng.random(len(usual)) < usual - FALL * shifted).astype(float)
    else:
        single = usual * (RISE if shifted else 1.0) * np.exp(rng.normal(0, 0.6, len(usual)))
    whole = len(single) // BATCH * BATCH
    means = single[:whole].reshape(-1, BATCH).mean(axis=1)
    ends = np.repeat(minutes, n)[BATCH - 1 : whole : BATCH]
    return list(zip(ends.astype(int).tolist(), means.tolist(), strict=True))


class Watch:
    """The conformal detector on residuals (``season``), on values, or with a past for each slot of the week."""

    def __init__(self, seed: int, kind: str, season: bool = False, slots: bool = False) -> None:
        self._quality = kind == "quality"
        self._season = Season("week", seed) if season else None
        self._slots = slots
        self._conformal = Conformal(RUN_LENGTH, seed=seed, keep_past=slots)
        self._last = 0
        self.residual: float | None = None
        """Of the last value, where there is a season."""

    @property
    def wealth(self) -> float:
        """An alarm at RUN_LENGTH."""
        return self._conformal.wealth

    def update(self, minute: int, value: float) -> bool:
        """Take a value; whether there is an alarm."""
        time_ms, mass = 60_000 * minute, MASS * (minute - self._last)
        self._last = minute
        step = 1 / BATCH if self._quality else 0.0
        found = self._season.update(value, time_ms, step) if self._season else value
        self.residual = found if self._season else None
        if found is None:
            return False
        self._conformal.update(found, mass, slot_of_week(time_ms, SLOT_MS) if self._slots else 0)
        return bool(self._conformal.drift_detected)

    def snapshot(self) -> Any:
        """The exact state, of both."""
        return self._season and self._season.snapshot(), self._conformal.snapshot(), self._last

    def restore(self, state: Any) -> None:
        """Go on from ``state``."""
        if self._season:
            self._season.restore(state[0])
        self._conformal.restore(state[1])
        self._last = state[2]


METHODS: dict[str, Callable[[int, str], Watch]] = {
    '`Season("week")`, then `Conformal`': partial(Watch, season=True),
    "`Conformal`, a past for each 10 minutes of the week": partial(Watch, slots=True),
    "`Conformal` alone": Watch,
}


class Day15(NamedTuple):
    """One way to watch, with one traffic, over some runs of SERIES series."""

    method: str
    calls: int
    runs: int
    before: int
    """False alarms in the 14 days before, all runs and series together …"""
    on_day: int
    """… and on day 15, without a shift."""
    delays: dict[str, list[int | None]]
    """Minutes to the alarm by kind of shift; None where there was none within the hour."""
    state_bytes: int
    """Of one series, on day 15."""

    @property
    def found_share(self) -> float:
        """The share of shifts that were found within the hour."""
        return fmean(delay is not None for delays in self.delays.values() for delay in delays)


def day15(runs: int) -> list[Day15]:
    """Every way with every traffic."""
    return [_measure(method, calls, runs) for calls in TRAFFIC for method in METHODS]


def day15_table(found: Sequence[Day15]) -> Table:
    """As people read it."""
    rows = [
        (
            f"{each.calls}",
            each.method,
            f"{each.before / each.runs:.1f}",
            f"{each.on_day / each.runs:.2f}",
            *(_cell(each.delays[kind]) for kind in KINDS),
            f"{each.state_bytes:,}",
        )
        for each in found
    ]
    columns = (
        "calls a minute",
        "watched by",
        f"false alarms in 14 days (budget {14 * DAY_ALLOWED:g})",
        f"on day 15 (budget {DAY_ALLOWED:.2f})",
        f"quality −{100 * FALL:.0f} points: found within the hour; median delay",
        f"lengths +{100 * (RISE - 1):.0f} %: the same",
        "state of a series, bytes",
    )
    return Table(f"A season of day and week; day 15 (K = {SERIES} series, N = {RUN_LENGTH:,} seconds)", columns, rows)


def _measure(method: str, calls: int, runs: int) -> Day15:
    before = on_day = size = 0
    delays: dict[str, list[int | None]] = {kind: [] for kind in KINDS}
    for run, index in product(range(runs), range(SERIES)):
        kind, phase = KINDS[index % 2], 0.4 * (index // 2)
        rng = np.random.default_rng([15, run, index])
        watch = METHODS[method](SERIES * run + index, kind)
        before += _alarms(watch, draw(rng, _minutes(0, BEGIN), kind, calls, phase, False))
        at = BEGIN
        for start in [BEGIN + 60 * hour for hour in HOURS] if index < len(KINDS) else []:
            on_day += _alarms(watch, draw(rng, _minutes(at, start), kind, calls, phase, False))
            at, state = start, watch.snapshot()
            shifted = draw(rng, _minutes(start, start + 60), kind, calls, phase, True)
            delays[kind].append(
                next((minute - start + 1 for minute, value in shifted if watch.update(minute, value)), None)
            )
            watch.restore(state)
            size = len(msgspec.msgpack.encode(state))
        on_day += _alarms(watch, draw(rng, _minutes(at, BEGIN + DAY), kind, calls, phase, False))
    return Day15(method, calls, runs, before, on_day, delays, size)


def _alarms(watch: Watch, values: Iterable[tuple[int, float]]) -> int:
    return sum(watch.update(minute, value) for minute, value in values)


def _minutes(since: int, until: int) -> Values:
    return np.arange(since, until, dtype=np.float64)


def _cell(delays: Sequence[int | None]) -> str:
    found = sorted(delay for delay in delays if delay is not None)
    middle = f"; {number(found[len(found) // 2])} min" if found else ""
    return f"{len(found)} of {len(delays)}{middle}"


class Point(NamedTuple):
    """One value of an example."""

    minute: int
    value: float
    residual: float | None
    wealth: float


def example(calls: int = 30) -> tuple[list[Point], int]:
    """One series of quality, up to an hour after its fall on day 15, and the minute of that: for a picture."""
    rng, watch = np.random.default_rng([15, 0, 0]), Watch(0, "quality", season=True)
    fall = BEGIN + 60 * HOURS[1]
    values = draw(rng, _minutes(0, fall), "quality", calls, 0.0, False)
    values += draw(rng, _minutes(fall, fall + 60), "quality", calls, 0.0, True)
    points = []
    for minute, value in values:
        watch.update(minute, value)
        points.append(Point(minute, value, watch.residual, watch.wealth))
    return points, fall
