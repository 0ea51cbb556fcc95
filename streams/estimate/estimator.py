"""The estimate: labelled calls say what a score is worth in each stratum, unlabelled calls how many are in which.

Post-stratification, which is importance weighting on a grid: it holds where the mix of calls changes and the score of
a call still depends on its features as before (covariate shift). Where that dependence changes (concept shift) no
estimate without labels can hold; labels that arrive are checked against what was foretold, and when they prove it
wrong the calibration begins anew.

Ideas: average calibrated confidence (NannyML's CBPE), average thresholded confidence (Garg et al. 2022,
arXiv 2201.04234).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist

from msgspec import Struct, field

from streams.estimate.bins import Features, bin_of, split_bin, split_rest
from streams.estimate.calibration import Calibration, Scale
from streams.estimate.check import Check, Wrong
from streams.estimate.second import LEAST_CALLS, Second, second_of

LEAST_LABELS = 100
"""Fewer labelled calls than this say nothing."""
LABELS_PER_FALSE_ALARM = 10_000


class Estimate(Struct, frozen=True, kw_only=True):
    """The mean score that labels of all these calls would give, with an interval around it."""

    calls: int
    labels: int
    """Labelled calls behind it."""
    value: float | None
    """None: ``reason`` says why nothing can be said."""
    low: float | None = None
    high: float | None = None
    outside: float = 0.0
    """Share of the calls that are surer or less sure than any labelled one, or whose second answers agree more or less;
    the interval allows any score for them."""
    unconfirmed: float = 0.0
    """Share of the calls whose text has drifted where too few labels are of such text. Labels of usual text speak for
    them; the interval allows any lower score, since a model may be sure and wrong about what it never saw."""
    reason: str = ""


class EstimatorState(Struct):
    """All that an estimator knows; a few kilobytes however many calls there were."""

    calibration: Calibration = field(default_factory=Calibration)
    check: Check = field(default_factory=Check)
    wrong: Wrong = ""
    """What the calibration before this one was, when labels proved it wrong; empty for the first."""
    restarts: int = 0


class Estimator:
    """Estimates one version's quality in one pipeline. Labels must be of calls chosen by chance among those with like
    features: corrections alone, which come from users who got a wrong answer, would bias it.

    Deterministic, never blocks. A new version needs a new one.
    """

    def __init__(
        self, state: EstimatorState | None = None, *, labels_per_false_alarm: float = LABELS_PER_FALSE_ALARM
    ) -> None:
        """``state``: what ``snapshot`` gave; it is then this estimator's own."""
        self._state = state or EstimatorState()
        self._budget = labels_per_false_alarm
        self._scales: dict[int, Scale] = {}
        self._second: Second | None = None
        self._second_known = False

    def snapshot(self) -> EstimatorState:
        """The whole state, to be encoded: an estimator made from it goes on as this one would."""
        return self._state

    def label(self, features: Features, score: float) -> Wrong:
        """Take in one labelled call, once, ``score`` in [0, 1].

        Says when labels have proven the calibration wrong; it then begins anew with the labels that follow.
        """
        state, number = self._state, bin_of(features)
        if state.calibration.n >= LEAST_LABELS:
            wrong = state.check.update(self._foretold(number), score, self._budget)
            if wrong:
                self._state = EstimatorState(wrong=wrong, restarts=state.restarts + 1)
                self._forget()
                return wrong
        state.calibration.add(number, score)
        self._forget()
        return ""

    def estimate(self, bins: Mapping[int, int], level: float = 0.95) -> Estimate:
        """For unlabelled calls, counted by bin (``count_bins``); ``level``: how often the interval shall cover."""
        calls, labels = sum(bins.values()), self._state.calibration.n
        if not calls:
            return Estimate(calls=0, labels=labels, value=None, reason="no calls")
        if labels < LEAST_LABELS:
            again = f"; labels proved the calibration before this one {self._state.wrong}" if self._state.wrong else ""
            reason = f"{labels} of {LEAST_LABELS} labelled calls{again}"
            return Estimate(calls=calls, labels=labels, value=None, reason=reason)
        outside = unconfirmed = 0.0
        twice: dict[int, int] = {}
        inside: dict[tuple[bool, int, int], int] = {}
        value = higher = lower = 0.0
        for number, count in sorted(bins.items()):
            band, rest = split_bin(number)
            scale, (asked_twice, sure) = self._scale(band), split_rest(rest)
            at, within = scale.stratum(sure)
            if asked_twice:
                twice[rest] = twice.get(rest, 0) + count
            mean = scale.strata[at].sums.mean
            value += count * mean
            if within:
                key = (scale.own_band, band if scale.own_band else 0, at)
                inside[key] = inside.get(key, 0) + count
            else:
                outside += count
                higher += count * (1 - mean)
            confirmed = scale.own_band or not band
            unconfirmed += 0 if confirmed else count
            lower += 0 if within and confirmed else count * mean
        value /= calls
        variance, second = self._variance(inside, calls), self._agreement()
        if second and sum(twice.values()) >= LEAST_CALLS:
            change = second.change(twice, calls)
            value, variance = min(max(value + change.value, 0.0), 1.0), variance + change.variance
            unlike = change.outside * calls
            outside, lower, higher = outside + unlike, lower + unlike * value, higher + unlike * (1 - value)
        reach = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
        return Estimate(
            calls=calls,
            labels=labels,
            value=value,
            low=max(0.0, value - reach - lower / calls),
            high=min(1.0, value + reach + higher / calls),
            outside=min(outside / calls, 1.0),
            unconfirmed=unconfirmed / calls,
        )

    def _variance(self, inside: Mapping[tuple[bool, int, int], int], calls: int) -> float:
        """Of the labels' part and of the calls' own chance."""
        total = 0.0
        for (own, band, at), count in inside.items():
            scale = self._scale(band) if own else self._pooled()
            sums, share = scale.strata[at].sums, count / calls
            total += share * share * sums.variance / sums.n + share * sums.variance / calls
        return total

    def _foretold(self, number: int) -> float:
        band, rest = split_bin(number)
        asked_twice, sure = split_rest(rest)
        if asked_twice and (second := self._agreement()):
            return second.foretold(rest)
        scale = self._scale(band)
        return scale.strata[scale.stratum(sure)[0]].sums.mean

    def _agreement(self) -> Second | None:
        if not self._second_known:
            self._second, self._second_known = second_of(self._state.calibration), True
        return self._second

    def _forget(self) -> None:
        """What was made of the calibration."""
        self._scales, self._second_known = {}, False

    def _scale(self, band: int) -> Scale:
        if band not in self._scales:
            self._scales[band] = self._state.calibration.scale(band)
        return self._scales[band]

    def _pooled(self) -> Scale:
        """The strata of all bands together: any band without labels enough of its own has them."""
        return next(scale for scale in self._scales.values() if not scale.own_band)
