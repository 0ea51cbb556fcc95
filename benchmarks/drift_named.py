"""Which of many series have changed? Those above the threshold, or those that e-BH names: who is right how often.

SERIES conformal detectors on one budget watch independent normal values; after BEFORE updates some of them shift. At
the first alarm and a little later one looks, once, whom to name.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np

from benchmarks.frame import Table
from streams.detectors.conformal import Conformal
from streams.detectors.e_bh import changed

RUN_LENGTH = 1_000
SERIES = 20
BEFORE = 100
SHIFT = 1.5
LATER = 5
CHANGED = (1, 5, 10)
QUIET = 250
"""Updates without a change, before somebody looks."""


class Named(NamedTuple):
    """Over some runs, what was named: by itself, and judged together."""

    changed: int
    when: str
    alone: float
    """The share of the changed series above the threshold by then …"""
    together: float
    """… and of those that e-BH names."""
    false_alone: float
    """The share of unchanged ones among the named …"""
    false_together: float
    """… and among those that e-BH names."""


class NoChange(NamedTuple):
    """Nothing has changed, and still some are named."""

    false: list[float]
    """The share of the named that have not changed: 1 if any is named. For each run."""

    @property
    def holds(self) -> bool:
        """At most T / N on average, by three standard errors."""
        return fmean(self.false) - 3 * stdev(self.false) / sqrt(len(self.false)) <= QUIET / RUN_LENGTH


def named(runs: int) -> list[Named]:
    """How many of the changed are named, and how many of the named have not changed."""
    found = []
    for n in CHANGED:
        looks = [_looks(n, run) for run in range(runs)]
        for when, at in (("at the first alarm", 0), (f"{LATER} updates later", 1)):
            rows = [look[at] for look in looks]
            found.append(Named(n, when, *(fmean(column) for column in zip(*rows, strict=True))))
    return found


def no_change(runs: int) -> NoChange:
    """Somebody looks after QUIET updates."""
    false = []
    for run in range(runs):
        rng, detectors = np.random.default_rng([21, run]), _detectors(run)
        for _ in range(QUIET):
            _update(detectors, rng.normal(size=SERIES).tolist())
        false.append(float(bool(changed(_wealth(detectors), RUN_LENGTH))))
    return NoChange(false)


def named_table(found: Sequence[Named], quiet: NoChange) -> Table:
    """As people read it."""
    rows = [
        (
            f"{each.changed} of {SERIES}",
            each.when,
            f"{each.alone:.0%} ({each.false_alone:.3f})",
            f"{each.together:.0%} ({each.false_together:.3f})",
        )
        for each in found
    ]
    share = f"any: {fmean(quiet.false):.3f} (≤ {QUIET / RUN_LENGTH:g}: {'holds' if quiet.holds else 'does not hold'})"
    rows.append((f"0 of {SERIES}", f"after {QUIET} updates", "", share))
    columns = ("series that changed", "looked", "named by themselves (share of false ones)", "together, e-BH")
    return Table(f"Who has changed, of K = {SERIES} series (N = {RUN_LENGTH:,})", columns, rows)


def _looks(n: int, run: int) -> list[tuple[float, float, float, float]]:
    rng, detectors = np.random.default_rng([22, n, run]), _detectors(run)
    alarmed: set[int] = set()
    first: int | None = None
    looks: list[tuple[float, float, float, float]] = []
    update = 0
    while len(looks) < 2:
        update += 1
        values = rng.normal(size=SERIES)
        values[:n] += SHIFT * (update > BEFORE)
        # A detector that has alarmed starts anew: it stays named, and goes on with no more.
        alarmed |= {index for index in _update(detectors, values.tolist(), alarmed) if update > BEFORE}
        if alarmed and first is None:
            first = update
        if first is not None and update in (first, first + LATER):
            wealth = _wealth(detectors) | {index: float(RUN_LENGTH) for index in alarmed}
            looks.append(_share(n, alarmed) + _share(n, set(changed(wealth, RUN_LENGTH))))
    return [(one[0], one[2], one[1], one[3]) for one in looks]


def _share(n: int, who: set[int]) -> tuple[float, float]:
    """Of the changed the share that is named, and of the named the share that has not changed."""
    right = len(who & set(range(n)))
    return right / n, (len(who) - right) / len(who) if who else 0.0


def _detectors(run: int) -> list[Conformal]:
    return [Conformal(RUN_LENGTH, seed=SERIES * run + index) for index in range(SERIES)]


def _wealth(detectors: Sequence[Conformal]) -> dict[int, float]:
    return {index: detector.wealth for index, detector in enumerate(detectors)}


def _update(detectors: Sequence[Conformal], values: Sequence[float], done: set[int] | None = None) -> list[int]:
    """The indices of those that alarm."""
    found = []
    for index, (detector, value) in enumerate(zip(detectors, values, strict=True)):
        if done is None or index not in done:
            detector.update(value, 1 / SERIES)
            if detector.drift_detected:
                found.append(index)
    return found
