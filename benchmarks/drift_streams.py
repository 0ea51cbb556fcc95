"""The public yardsticks for change detectors: 60 streams of bits, repeatable to the bit in any language, and one of
numbers.

Source: the MOA experiments of OPTWIN (2305.11942), ``java.util.Random(seed)`` for seeds 1..30; CapyMOA's example of a
change of level, drawn with numpy's ``default_rng(42)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import NamedTuple, Protocol

import numpy as np

SEEDS = range(1, 31)

MOA_ADWIN = {
    "abrupt": "56 56 56 24 24 56 24 56 56 56 24 56 56 56 24 56 56 56 56 56 24 56 56 56 24 56 24 24 24 56",
    "gradual": "336 240 240 272 304 272 272 240 336 240 240 304 304 272 240 272 "
    "304 336 272 304 240 240 336 272 304 272 336 240 272 272",
}
"""Delays of MOA's own ADWIN(0.002) on streams from Java's own Random (moa 2024.07.0 from Maven Central, one
``setInput`` a bit); the paper counts one more."""
PUBLISHED = {
    "MOA ADWIN": ("46.33", "0", "280.47", "0"),
    "MOA DDM": ("64.50", "0.20", "365.17", "0.30"),
    "MOA EDDM": ("26.77", "3.47", "148.10", "6.33"),
    "MOA STEPD": ("13.00", "0.20", "180.73", "0.70"),
    "OPTWIN, ρ = 0.1": ("75.13", "0.20", "328.0", "0.30"),
    "OPTWIN, ρ = 0.5": ("28.17", "0.10", "278.9", "0.10"),
    "OPTWIN, ρ = 1.0": ("18.33", "0.07", "317.0", "0.07"),
}
"""From 2305.11942: delay and false alarms, abrupt and gradual."""
CAPYMOA = {"ADWIN": 1_024, "PageHinkley": 1_007, "CUSUM": 1_005}
"""The value, from 1, at which CapyMOA's detectors (MOA's, default parameters) alarm first on ``capymoa``."""


class Detector(Protocol):
    """River's interface, all that is asked of a detector here."""

    @property
    def drift_detected(self) -> bool:
        """Of the last update."""

    def update(self, x: float) -> None:
        """Take one value."""


class JavaRandom:
    """``java.util.Random``: a linear congruential generator of 48 bits, as its documentation defines it."""

    def __init__(self, seed: int) -> None:
        self._state = (seed ^ 0x5DEECE66D) & (2**48 - 1)

    def next_double(self) -> float:
        """Uniform on [0, 1), of 53 bits."""
        return ((self._next(26) << 27) + self._next(27)) / 2**53

    def _next(self, bits: int) -> int:
        self._state = (self._state * 0x5DEECE66D + 0xB) & (2**48 - 1)
        return self._state >> (48 - bits)


class Stream(NamedTuple):
    """Values, and the number (from 1) of the first one after the change."""

    values: list[float]
    change: int


class Found(NamedTuple):
    """What a detector made of one stream: alarms before the change, and updates after it until the first one."""

    false: int
    delay: int | None


def abrupt(seed: int) -> Stream:
    """1,999 bits; ones have probability 0.2, from the 1,000th on 0.8."""
    chance = JavaRandom(seed)
    return Stream([float(chance.next_double() <= (0.2 if k < 1000 else 0.8)) for k in range(1, 2000)], 1000)


def gradual(seed: int) -> Stream:
    """10,000 bits; 0.2, from the 2,000th on rising by 0.001 a bit up to 1."""
    chance = JavaRandom(seed)
    levels = (0.2 if k < 2000 else min(1.0, 0.2 + 0.001 * (k - 2000)) for k in range(1, 10_001))
    return Stream([float(chance.next_double() <= level) for level in levels], 2000)


def capymoa() -> Stream:
    """2,000 numbers: 0 or 1, from the 1,001st on 6 to 11. Drawn so that CAPYMOA holds: all 2,000 first, then those."""
    chance = np.random.default_rng(42)
    values = chance.integers(0, 2, size=2_000)
    values[1_000:] = chance.integers(6, 12, size=1_000)
    return Stream(values.astype(float).tolist(), 1_001)


def find(detector: Detector, stream: Stream) -> Found:
    """Run a detector, which starts anew by itself after an alarm, up to the first alarm after the change."""
    false = 0
    for k, value in enumerate(stream.values, 1):
        detector.update(value)
        if detector.drift_detected:
            if k >= stream.change:
                return Found(false, k - stream.change)
            false += 1
    return Found(false, None)


class Score(NamedTuple):
    """Over all streams: how many changes were found, the mean delay of those, false alarms a stream."""

    found: int
    streams: int
    delay: float | None
    false: float


def score(make: Callable[[], Detector], streams: Sequence[Stream]) -> Score:
    """A new detector for each stream."""
    results = [find(make(), stream) for stream in streams]
    delays = [result.delay for result in results if result.delay is not None]
    false = fmean(result.false for result in results)
    return Score(len(delays), len(streams), fmean(delays) if delays else None, false)
