"""How scores depend on what answers tell of themselves: sums by bin over labelled calls.

Bounded by the grid. Scores are kept in millionths, as whole numbers, so that merging is exactly associative and
commutative.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct, field

from streams.estimate.bins import split_bin, split_rest

MILLION = 1_000_000
STRATUM_LABELS = 5
"""Neighbouring bins are taken together until there are so many labels in them."""
BAND_LABELS = 100
"""A band of drift with fewer labels is estimated from all bands together."""


class ScoreSums(Struct, array_like=True):
    """Scores of labelled calls: count, sum and sum of squares (millionths)."""

    n: int = 0
    total: int = 0
    total_sq: int = 0

    def add(self, other: ScoreSums) -> None:
        """Take in another's."""
        self.n += other.n
        self.total += other.total
        self.total_sq += other.total_sq

    @property
    def mean(self) -> float:
        """Mean score; ask only where n > 0."""
        return self.total / MILLION / self.n

    @property
    def variance(self) -> float:
        """Of one score, with one more observation as far off as can be: a few equal scores do not make certain."""
        around = self.total_sq / MILLION - self.n * self.mean**2
        return (max(around, 0.0) + 0.25) / (self.n + 1)


class Stratum(NamedTuple):
    """Neighbouring bins that are judged together; ``first`` and ``last`` are the labelled ends."""

    first: int
    last: int
    sums: ScoreSums


class Calibration(Struct):
    """Scores by bin. One for each pipeline and version: another model is sure of other things."""

    bins: dict[int, ScoreSums] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Labelled calls."""
        return sum(sums.n for sums in self.bins.values())

    def add(self, number: int, score: float) -> None:
        """Take in one labelled call; ``score`` in [0, 1]."""
        millionths = round(score * MILLION)
        one = ScoreSums(1, millionths, round(millionths * millionths / MILLION))
        self.bins.setdefault(number, ScoreSums()).add(one)

    def merge(self, other: Calibration) -> None:
        """Take in what another one has seen."""
        for number, sums in other.bins.items():
            self.bins.setdefault(number, ScoreSums()).add(sums)

    def scale(self, band: int) -> Scale:
        """How to judge calls of one band of drift by their confidence."""
        split = [(*split_bin(number), sums) for number, sums in self.bins.items()]
        sure = [(of_band, split_rest(rest)[1], sums) for of_band, rest, sums in split]
        own = summed((rest, sums) for of_band, rest, sums in sure if of_band == band)
        if sum(sums.n for sums in own.values()) >= BAND_LABELS:
            return Scale(own, own_band=True)
        return Scale(summed((rest, sums) for _, rest, sums in sure), own_band=False)


class Scale:
    """The strata of some bins, in order."""

    def __init__(self, bins: Mapping[int, ScoreSums], *, own_band: bool) -> None:
        self.own_band = own_band
        """Whether only labels of one band of drift are in it."""
        self.strata = _strata(bins)
        self._lasts = [stratum.last for stratum in self.strata]

    def stratum(self, rest: int) -> tuple[int, bool]:
        """(index of the stratum that judges a bin, whether the bin lies within what has been labelled)."""
        at = min(bisect_right(self._lasts, rest - 1), len(self.strata) - 1)
        first, last = self.strata[0].first, self.strata[-1].last
        return at, first <= rest <= last


def summed(bins: Iterable[tuple[int, ScoreSums]]) -> dict[int, ScoreSums]:
    """Those of the same bin together, in sums of their own."""
    found: dict[int, ScoreSums] = {}
    for number, sums in bins:
        found.setdefault(number, ScoreSums()).add(sums)
    return found


def _strata(bins: Mapping[int, ScoreSums]) -> list[Stratum]:
    """Greedy, in order of the bins; what is left over at the end joins the last one."""
    made: list[Stratum] = []
    first, sums = None, ScoreSums()
    last = 0
    for number, more in sorted(bins.items()):
        first = number if first is None else first
        last = number
        sums.add(more)
        if sums.n >= STRATUM_LABELS:
            made.append(Stratum(first, last, sums))
            first, sums = None, ScoreSums()
    if sums.n and made:
        before = made.pop()
        sums.add(before.sums)
        made.append(Stratum(before.first, last, sums))
    elif sums.n and first is not None:
        made.append(Stratum(first, last, sums))
    return made
