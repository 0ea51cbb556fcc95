"""Where a value stands among all that came before it: a conformal p-value, with bounded memory.

The rank of a new value among the past ones, ties broken by chance, is uniform on [0, 1] and independent of all
earlier ranks, as long as the values are exchangeable (independent and alike, for short): whatever their distribution,
and without any reference set aside. A fixed or sliding reference has no such property.

Values are counted in buckets, so that memory does not grow: a bucket is a function of the value, fixed after the first
WARM values (or ``warm``), which are used for nothing else. Buckets are a sixteenth of the usual deviation wide in the
middle and grow outwards like asinh. With categories (an hour of the week, say) each has its own counts: ranks are then
uniform if values are alike within a category (Mondrian conformal).

Source: Vovk, Petej, Nouretdinov, Ahlberg, Carlsson, Gammerman: Retrain or not retrain (2102.10439).
"""

from __future__ import annotations

import math
from array import array
from statistics import fmean, median

from msgspec import Struct

WARM = 32
"""Values that fix the buckets."""
PER_UNIT = 16
SIDE = 128
"""Buckets on each side of the middle: up to some 1,500 deviations."""
BUCKETS = 2 * SIDE + 1
_MASK = 2**64 - 1


def uniform(seed: int, n: int) -> float:
    """The n-th number of a stream of chance in [0, 1): a function, so that a replay draws the same.

    Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014), splitmix64.
    """
    z = (seed + (n + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 11) / 2**53


class RanksState(Struct, frozen=True, array_like=True):
    """Bounded: the values that fix the buckets, and BUCKETS counts a category."""

    drawn: int = 0
    warm: tuple[float, ...] = ()
    middle: float = 0.0
    scale: float = 0.0
    counts: dict[int, dict[int, int]] = {}
    """Bucket to count, by category; empty buckets are left out."""


class Ranks:
    """The past of one series, as counts."""

    def __init__(self, seed: int, warm: int = WARM) -> None:
        self._seed = seed
        self._needed = warm
        self._drawn = 0
        self.forget()

    def forget(self) -> None:
        """Start a new past; the stream of chance goes on."""
        self._warm: list[float] = []
        self._middle = self._scale = 0.0
        self._counts: dict[int, array[int]] = {}
        self._totals: dict[int, int] = {}

    def rank(self, x: float, category: int = 0) -> float | None:
        """The share of the past below ``x``, ties by chance; ``x`` then joins the past. None for the first."""
        if self._scale == 0.0:
            self._warm.append(x)
            if len(self._warm) == self._needed:
                self._settle()
            return None
        counts = self._counts.get(category)
        if counts is None:
            counts = self._counts[category] = array("I", bytes(4 * BUCKETS))
            self._totals[category] = 0
        bucket = self._bucket(x)
        ties, total = counts[bucket], self._totals[category]
        drawn = uniform(self._seed, self._drawn)
        self._drawn += 1
        found = (sum(counts[:bucket]) + drawn * (ties + 1)) / (total + 1)
        counts[bucket] = ties + 1
        self._totals[category] = total + 1
        return found

    def snapshot(self) -> RanksState:
        """The exact state."""
        counts = {c: {b: n for b, n in enumerate(counts) if n} for c, counts in self._counts.items()}
        return RanksState(self._drawn, tuple(self._warm), self._middle, self._scale, counts)

    def restore(self, state: RanksState) -> None:
        """Go on from ``state``."""
        self.forget()
        self._drawn, self._warm = state.drawn, list(state.warm)
        self._middle, self._scale = state.middle, state.scale
        for category, sparse in state.counts.items():
            counts = self._counts[category] = array("I", bytes(4 * BUCKETS))
            for bucket, n in sparse.items():
                counts[bucket] = n
            self._totals[category] = sum(sparse.values())

    def _settle(self) -> None:
        self._middle = median(self._warm)
        off = [abs(x - self._middle) for x in self._warm]
        self._scale = median(off) or fmean(off) or abs(self._middle) / 1_000 or 1.0
        self._warm = []

    def _bucket(self, x: float) -> int:
        at = math.asinh((x - self._middle) / self._scale) * PER_UNIT
        return SIDE + round(max(-SIDE, min(SIDE, at)))
