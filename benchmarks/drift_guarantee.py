"""Does the promise hold? Streams without any change, run through the detectors themselves.

A detector with run length N must go N updates without a false alarm on average, and must alarm within T updates in at
most T / N of the runs; both with three standard errors of the simulation. Runs end after CAP x N updates, which only
lowers the mean. A family of dependent series on one budget must keep the same promise as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.detectors.bounded import Bounded
from streams.detectors.budget import Budget, Series
from streams.detectors.conformal import Conformal

CAP = 4
PARTS = (0.1, 0.5, 1.0)
"""T as parts of N."""
Draw = Callable[[np.random.Generator, int], NDArray[Any]]
Judge = Callable[[Any], bool]
"""What is simulated: takes a value, says whether it alarms."""

AR = 0.5


class Quiet(NamedTuple):
    """Runs without a change."""

    name: str
    values: str
    run_length: int
    lengths: list[int]
    """Updates to the first alarm, at most CAP x N."""

    @property
    def mean(self) -> float:
        """The mean run length, from below."""
        return fmean(self.lengths)

    @property
    def error(self) -> float:
        """Its standard error."""
        return stdev(self.lengths) / sqrt(len(self.lengths))

    def within(self, part: float) -> float:
        """The share of runs with an alarm within ``part`` of N updates."""
        return fmean(length <= part * self.run_length for length in self.lengths)

    @property
    def holds(self) -> bool:
        """Whether the promise held, by three standard errors."""
        early = all(self.within(part) <= allowed(part, len(self.lengths)) for part in PARTS)
        return self.mean + 3 * self.error >= self.run_length and early


def allowed(share: float, runs: int) -> float:
    """The largest share of runs that agrees with a promise of ``share``, by three standard errors."""
    return share + 3 * sqrt(share * (1 - share) / runs)


def first_alarms(make: Callable[[int], Judge], draw: Draw, run_length: int, runs: int, seed: int) -> list[int]:
    """Updates to the first alarm, for each run; CAP x N where there was none."""
    lengths = []
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        judge, n, cap = make(run), 0, CAP * run_length
        while n < cap:
            values = draw(rng, min(256, cap - n))
            hit = next((k for k, value in enumerate(values.tolist(), 1) if judge(value)), None)
            n += hit or len(values)
            if hit:
                break
        lengths.append(n)
    return lengths


def autoregressive(rng: np.random.Generator, n: int) -> NDArray[Any]:
    """AR(1) noise with coefficient AR; a block starts at its stationary level."""
    values = rng.normal(size=n)
    values[0] /= sqrt(1 - AR**2)
    for index in range(1, n):
        values[index] += AR * values[index - 1]
    return values


class Dependent(NamedTuple):
    """What AR(1) noise does to the conformal detector, and whether it is said."""

    run_length: int
    alarm_after: float
    """Mean updates to the first alarm, which is false: the promise is void."""
    warned_first: float
    """Share of the runs where the warning stood by the time of the alarm."""
    warned_after: float
    """Mean updates to the warning, alarms aside."""


def dependent(run_length: int, runs: int, seed: int = 2) -> Dependent:
    """The conformal detector on AR(1) noise, which breaks what it assumes."""
    alarms, first, warnings = [], [], []
    cap = CAP * run_length
    for run in range(runs):
        detector = Conformal(run_length, seed=run)
        alarm = warning = 0
        for n, value in enumerate(autoregressive(np.random.default_rng([seed, run]), cap).tolist(), 1):
            detector.update(value)
            warning = warning or (n if detector.warned else 0)
            if detector.drift_detected and not alarm:
                alarm = n
                first.append(detector.warned)
            if alarm and warning:
                break
        alarms.append(alarm or cap)
        warnings.append(warning or cap)
    return Dependent(run_length, fmean(alarms), fmean(first) if first else 1.0, fmean(warnings))


class Family(NamedTuple):
    """Many dependent series on one budget."""

    series: int
    run_length: int
    updates: int
    alarms: list[int]
    """False alarms of all series, for each run."""

    @property
    def any_share(self) -> float:
        """The share of runs with any alarm."""
        return fmean(n > 0 for n in self.alarms)

    @property
    def holds(self) -> bool:
        """At most T / N alarms a run on average, and T / N runs with any, by three standard errors."""
        promise = self.updates / self.run_length
        error = stdev(self.alarms) / sqrt(len(self.alarms))
        return fmean(self.alarms) - 3 * error <= promise and self.any_share <= allowed(promise, len(self.alarms))


def family(pipelines: int, slices: int, run_length: int, updates: int, runs: int, seed: int = 3) -> Family:
    """Pipelines with three metrics each, all moved by one factor; slices arrive one by one, while the clock ticks.

    Scores (Bernoulli) come several in a tick or not at all; latencies (heavy-tailed) and rates once a tick.
    """
    alarms = []
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        budget = Budget(run_length)
        detectors: dict[Series, Conformal | Bounded] = {}
        found = 0
        for tick in range(updates):
            if tick % 10 == 0 and tick // 10 < slices:
                for pipeline in range(pipelines):
                    for metric in ("score", "latency", "error_rate"):
                        series = Series(f"p{pipeline}", metric, f"s{tick // 10}")
                        budget.admit(series)
                        detectors[series] = _detector(metric, run_length, seed=run)
            budget.tick()
            common = rng.normal()
            own = rng.normal(size=(len(detectors), 3))
            for (series, detector), noise in zip(detectors.items(), own.tolist(), strict=True):
                for value in _drawn(series.metric, common, noise, tick):
                    detector.update(value, budget.grant(series))
                    if detector.drift_detected:
                        found += 1
                        budget.alarmed(series)
        alarms.append(found)
    return Family(pipelines * slices * 3, run_length, updates, alarms)


def _detector(metric: str, run_length: int, seed: int) -> Conformal | Bounded:
    return Bounded(run_length, high=0.2) if metric == "error_rate" else Conformal(run_length, seed=seed)


def _drawn(metric: str, common: float, noise: Sequence[float], tick: int) -> list[float]:
    """Values of one tick: each series' are independent over time, and dependent over series by ``common``."""
    mixed = 0.8 * common + 0.6 * noise[0]
    if metric == "latency":
        return [float(np.exp(2 * mixed))]
    if metric == "error_rate":
        return [float(mixed > 0.8416)]
    # The first score of a tick moves with the others' factor, the second is its own; every third tick has none.
    return [] if tick % 3 == 0 else [float(mixed > 0), float(noise[1] > 0)]
