"""A value as it is for its hour: how many usual deviations it lies from what that hour of the day or week is like.

Each slot (an hour) keeps a level, a deviation and a weight; between the middles of slots both are interpolated. The
residual goes to ``conformal``, which then needs one past instead of one a slot: three numbers a slot and series,
where a past takes a kilobyte.

**Slow on purpose.** A slot learns from a visit (the values of one hour) when the visit is over, so no value is
compared with itself or its neighbours, and a change that lasts stands out for a whole period before its slots begin to
follow it. A visit counts 1 / MEMORY in the long run. Values further out than CLIP deviations count as if at CLIP.

**No verdict in the first period**: None until the slot has LEAST values from earlier visits. Nothing else would be
right: before, a season and a change look the same.

**Estimates are not the truth.** After one visit of n values a level is off by some 1 / sqrt(n) deviations, and so were
all residuals of the next hour, alike: enough for several times the false alarms that the detector behind promises. So
within a visit each value is compared with the slot's estimate and the visit's earlier values together (a one-step-ahead
forecast, as in Brown, Durbin, Evans 1975): such residuals are independent while values are normal and hours differ by
nothing but level and deviation. A change is then blurred within the hour that it is in, by half of itself at most
after one visit, by a third after two, and stands out anew in the next hour. For other values the promise holds nearly,
not exactly: ``benchmarks.drift_season`` and ``benchmarks.drift_day15`` simulate by how much.

**Values in steps.** A share of 25 calls moves in steps of 0.04, and steps lie elsewhere around each hour's level: give
the ``step`` with the value, and chance spreads the value over it (as ties of ranks are broken).

**What it does not know.** A shape that changes with the hour; hours that differ from week to week by more than chance;
steps inside the season (a job that starts at a full hour), which are blurred over an hour. Slots are of UTC: where
users keep summer time, its beginning and end look like changes.

Sources: exponential smoothing of seasonal levels (Winters, Management Science 1960), without a trend, by visits;
Brown, Durbin, Evans: Techniques for testing the constancy of regression relationships (JRSS B 1975).
"""

from __future__ import annotations

from math import isfinite, sqrt
from typing import Literal, NamedTuple

from msgspec import Struct

from streams.detectors.ranks import uniform

Period = Literal["day", "week"]
Setting = Literal["none", "day", "week"]
SLOT_MS = 3_600_000
SLOTS: dict[Period, int] = {"day": 24, "week": 168}
LEAST = 10
"""Values from earlier visits before a slot has a say."""
MEMORY = 8
"""Visits that a level follows, more or less."""
CLIP = 4.0
FLOOR = 0.1
"""A slot's deviation is at least this part of the usual one over all slots: a quiet hour may be so by chance."""
LIMIT = 1e6
"""Residuals are at most this, either way: values may have been constant so far."""


class Usual(NamedTuple):
    """What values of one time are like, in their own unit."""

    level: float
    deviation: float


class Forecast(NamedTuple):
    """The level expected of the next value, and how many values say so."""

    level: float
    n: float


class SeasonState(Struct, frozen=True, omit_defaults=True):
    """Bounded: three numbers for each slot, and the visit that goes on."""

    levels: tuple[float, ...]
    variances: tuple[float, ...]
    weights: tuple[float, ...]
    """Values behind them, older ones in part; 0 for a slot that was never visited."""
    visit: int = 0
    """Its hour since 1970."""
    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    drawn: int = 0
    """Numbers of chance used so far."""


class Season:
    """The season of one series of numbers, by the hour of the ``day`` or of the ``week``.

    ``clip``: beyond so many deviations values count as if there.
    """

    def __init__(self, period: Period = "week", seed: int = 0, clip: float = CLIP) -> None:
        if period not in SLOTS:
            raise ValueError(f"season is {period!r}; it is day or week (for none, leave the values as they are)")
        self.period = period
        self.seed = seed
        self.clip = clip
        self._levels, self._variances, self._weights = ([0.0] * SLOTS[period] for _ in range(3))
        self._visit = self._n = self._drawn = 0
        self._total = self._squares = 0.0
        self._set_floor()

    @property
    def hour_ms(self) -> int:
        """When the hour of the last value began; earlier values cannot be taken."""
        return self._visit * SLOT_MS

    def usual(self, time_ms: int) -> Usual | None:
        """What earlier visits say of values of ``time_ms``; None where they say too little."""
        at, phase = divmod(time_ms, SLOT_MS)
        slot = at % len(self._levels)
        if self._weights[slot] < LEAST:
            return None
        level, variance = self._expected(slot, phase / SLOT_MS - 0.5)
        return Usual(level, sqrt(max(variance, self._floor)))

    def update(self, x: float, time_ms: int, step: float = 0.0, least: float = 0.0) -> float | None:
        """Take a value of ``time_ms``, in order of time; give back its residual, in deviations.

        None while there is nothing to compare it with. ``step``: values are multiples of it; 0 where they are not.
        ``least``: no deviation counts as smaller.
        """
        if not isfinite(x):
            raise ValueError(f"the value is {x}; leave out what could not be measured")
        if step:
            x += (self.draw() - 0.5) * step
        slot, phase = self._enter(time_ms)
        level, variance = self._expected(slot, phase)
        off, behind = x - level, self._weights[slot]
        if behind < LEAST:
            self._add(off)
            return None
        known = behind + self._n
        usual = self._total / known
        spread = (behind * variance + self._squares) / known - usual * usual
        deviation = sqrt(max(spread, self._floor, least * least) * (1 + 1 / known))
        self._add(usual + max(-self.clip * deviation, min(self.clip * deviation, off - usual)))
        return max(-LIMIT, min(LIMIT, (off - usual) / deviation))

    def forecast(self, time_ms: int) -> Forecast | None:
        """What the next value is expected to be if it is of ``time_ms``, by earlier visits and this one so far.

        In order of time, as ``update``; None as there.
        """
        slot, phase = self._enter(time_ms)
        behind = self._weights[slot]
        if behind < LEAST:
            return None
        known = behind + self._n
        return Forecast(self._expected(slot, phase)[0] + self._total / known, known)

    def draw(self) -> float:
        """The next number of this series' chance, in [0, 1)."""
        self._drawn += 1
        return uniform(self.seed, self._drawn - 1)

    def skip_visit(self) -> None:
        """Learn nothing of the hour's values so far: they were found to have changed."""
        self._n, self._total, self._squares = 0, 0.0, 0.0

    def shift(self, deviations: float) -> None:
        """Move the level of every hour by so many of its own deviations: values are known to lie elsewhere now.

        Nobody knows that they do so alike in every hour: the next visit counts for most of what there is.
        """
        self.skip_visit()
        for slot, weight in enumerate(self._weights):
            if weight:
                self._levels[slot] += deviations * sqrt(max(self._variances[slot], self._floor))
                self._weights[slot] = min(weight, LEAST)

    def snapshot(self) -> SeasonState:
        """The exact state."""
        levels, variances, weights = tuple(self._levels), tuple(self._variances), tuple(self._weights)
        visit = (self._visit, self._n, self._total, self._squares)
        return SeasonState(levels, variances, weights, *visit, self._drawn)

    def restore(self, state: SeasonState) -> None:
        """Go on as the season with the same period whose snapshot this is."""
        if len(state.levels) != SLOTS[self.period]:
            raise ValueError(
                f"the state has {len(state.levels)} slots, a {self.period} has {SLOTS[self.period]}: start anew"
            )
        self._levels, self._variances = list(state.levels), list(state.variances)
        self._weights = list(state.weights)
        self._visit, self._n, self._total, self._squares = state.visit, state.n, state.total, state.squares
        self._drawn = state.drawn
        self._set_floor()

    def _enter(self, time_ms: int) -> tuple[int, float]:
        """Begin another visit where the hour is another; the slot, and where in it the time is, in [-0.5, 0.5)."""
        at, phase = divmod(time_ms, SLOT_MS)
        if at != self._visit:
            self._learn()
            self._visit = at
        return at % len(self._levels), phase / SLOT_MS - 0.5

    def _expected(self, slot: int, phase: float) -> tuple[float, float]:
        """Level and variance at ``phase``, in [-0.5, 0.5) of a slot from the middle of ``slot``."""
        level, variance = self._levels[slot], self._variances[slot]
        other = (slot + (1 if phase > 0 else -1)) % len(self._levels)
        if self._weights[slot] >= LEAST and self._weights[other] >= LEAST:
            level += abs(phase) * (self._levels[other] - level)
            variance += abs(phase) * (self._variances[other] - variance)
        return level, variance

    def _add(self, off: float) -> None:
        self._n += 1
        self._total += off
        self._squares += off * off

    def _learn(self) -> None:
        """The visit is over: its values join what the slot is like, as offsets from what was expected of them."""
        n, slot = self._n, self._visit % len(self._levels)
        if n:
            mean = self._total / n
            weight = self._weights[slot] * (1 - 1 / MEMORY) + n
            self._levels[slot] += n / weight * mean
            if n > 1:
                spread = max(0.0, self._squares / n - mean * mean) * n / (n - 1)
                self._variances[slot] += n / weight * (spread - self._variances[slot])
            self._weights[slot] = weight
            self._set_floor()
        self.skip_visit()

    def _set_floor(self) -> None:
        known = [v for v, weight in zip(self._variances, self._weights, strict=True) if weight > 0]
        usual = sum(known) / len(known) if known else 0.0
        self._floor = max(FLOOR * FLOOR * usual, 1e-24)


def period_of(setting: Setting) -> Period | None:
    """What the setting ``season`` of a pipeline says; None: no season."""
    return None if setting == "none" else setting
