"""What second answers add: how far they agree speaks for all calls, though only a share of them is asked for twice.

Two-phase sampling with a regression estimator: to what confidence says of all calls comes the mean, over the calls that
were asked for twice, of what their agreement changes about it. Both sides of that change are from the same labels, so
it is nothing where second answers agree as often as in the calibration, and costs little width there.

Source: Särndal, Swensson, Wretman: Model Assisted Survey Sampling (1992), chapter 9.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from streams.estimate.bins import split_bin, split_rest
from streams.estimate.calibration import Calibration, Scale, ScoreSums, summed

LEAST_LABELS = 100
"""Fewer labels of calls that were asked for twice say nothing of agreement …"""
LEAST_CALLS = 20
"""… nor do fewer such calls."""


class Change(NamedTuple):
    """What agreement changes of an estimate."""

    value: float
    variance: float
    """Of the labels' part, and of which calls, labelled or not, were asked for twice."""
    outside: float
    """Share of the calls asked for twice that agree more, or less, than any labelled one."""


class Second:
    """Labels of calls that were asked for twice, of all bands of drift together."""

    def __init__(self, bins: Mapping[int, ScoreSums], labels: int) -> None:
        """``bins``: by agreement and confidence, not empty; ``labels``: of all calls, however often asked for."""
        self._bins = bins
        self._agreeing = Scale(bins, own_band=False)
        self._sure = Scale(summed((split_rest(rest)[1], sums) for rest, sums in bins.items()), own_band=False)
        self._chance = self._of_choice({rest: sums.n for rest, sums in bins.items()}, labels)

    def foretold(self, rest: int) -> float:
        """The mean score of such calls."""
        return self._agreeing.strata[self._agreeing.stratum(rest)[0]].sums.mean

    def change(self, twice: Mapping[int, int], calls: int) -> Change:
        """For ``calls`` calls, of which those were asked for ``twice``: how many, by agreement and confidence."""
        n = sum(twice.values())
        value = sum(count * self._changed(rest) for rest, count in twice.items()) / n
        outside = sum(count for rest, count in twice.items() if not self._agreeing.stratum(rest)[1]) / n
        return Change(value, self._of_labels(twice, n) + self._of_choice(twice, calls) + self._chance, outside)

    def _changed(self, rest: int) -> float:
        return self.foretold(rest) - self._sure.strata[self._confident(rest)].sums.mean

    def _confident(self, rest: int) -> int:
        return self._sure.stratum(split_rest(rest)[1])[0]

    def _of_choice(self, twice: Mapping[int, int], of: int) -> float:
        """The variance that comes of which of some calls were asked for twice."""
        n = sum(twice.values())
        changes = [(self._changed(rest), count) for rest, count in twice.items()]
        total = sum(change * count for change, count in changes)
        around = sum(change**2 * count for change, count in changes) - total**2 / n
        return (max(around, 0.0) + 0.25) / (n + 1) / n * (1 - n / of)

    def _of_labels(self, twice: Mapping[int, int], n: int) -> float:
        """The variance that comes of the labels: each weighs on both sides of the change, with opposite signs."""
        agreeing: Counter[int] = Counter()
        sure: Counter[int] = Counter()
        for rest, count in twice.items():
            agreeing[self._agreeing.stratum(rest)[0]] += count
            sure[self._confident(rest)] += count
        total = 0.0
        for rest, sums in self._bins.items():
            at, beside = self._agreeing.stratum(rest)[0], self._confident(rest)
            own = self._agreeing.strata[at].sums
            weight = agreeing[at] / own.n - sure[beside] / self._sure.strata[beside].sums.n
            total += sums.n * (weight / n) ** 2 * own.variance
        return total


def second_of(calibration: Calibration) -> Second | None:
    """What labels tell of agreement; None: too few of them are of calls that were asked for twice."""
    rests = ((split_bin(number)[1], sums) for number, sums in calibration.bins.items())
    bins = summed((rest, sums) for rest, sums in rests if split_rest(rest)[0])
    return Second(bins, calibration.n) if sum(sums.n for sums in bins.values()) >= LEAST_LABELS else None
