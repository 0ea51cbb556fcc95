"""Is a mean difference above some value? Bets that hold however often one looks, exact at any number of scores.

A payoff is an unbiased guess of "champion minus candidate". While the true difference is at most ``null``, the wealth
Π(1 + stake × (payoff - null)) is a test supermartingale, for any stakes that are fixed before their payoff; so it ever
reaches 1/alpha with a chance of at most alpha (Ville 1939). The stakes are those that win most where the candidate is
worse by each of ``HARMS``; the wealth is what they make together.

Where each session meets an arm by chance the payoff is (arm - share)(level - score) / (share (1 - share)), level being
the mean of all scores before: every score counts as it comes, nothing is paired, and what hits both arms cancels out.
For scores of 0 and 1 this is the growth-optimal test of two proportions (Turner, Ly & Grünwald 2024); for scores in
[0, 1] it is the bet of Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting" (2024).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

HARMS = (0.05, 0.2, 0.4)
"""Differences that the stakes are made for; smaller and larger ones, and those between, cost at most a quarter of the
growth from 0.04 upwards."""
_WEIGHTS = np.log([0.3, 0.5, 0.2])
"""Logarithms of the capital's parts that are staked on each."""
_BOLDEST = 0.9
"""No stake is a larger share of the one that can lose everything."""
_PRIOR = 5.0
"""Scores that the guesses of level and variance are worth at first."""
STEP = 0.02
"""How finely an interval is looked for."""
_MEANS = [float(mean) for mean in np.linspace(-1.0, 1.0, 101)]


def _none() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class Payoffs:
    """Guesses of one difference, in order, one a session; arrays of one length. All but ``values`` are known before."""

    values: Floats = field(default_factory=_none)
    low: Floats = field(default_factory=_none)
    """The least that the value can be."""
    high: Floats = field(default_factory=_none)
    variance: Floats = field(default_factory=_none)
    """About what the square of the value will be."""
    information: Floats = field(default_factory=_none)
    """What the session can tell: 1 over the variance of its guess, where that of a score is 1."""

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.values)

    @property
    def mean(self) -> float | None:
        """The difference as it looks now; None without payoffs."""
        return float(self.values.mean()) if self.n else None

    def reversed(self) -> Payoffs:
        """Of candidate minus champion."""
        return Payoffs(-self.values, -self.high, -self.low, self.variance, self.information)


def randomised(candidate: Bools, share: Floats, scores: Floats, guess: float = 0.5) -> Payoffs:
    """Payoffs of sessions that chance gave to an arm, the candidate's with chance ``share`` (in (0, 1)); scores in
    [0, 1], best 1. ``guess``: the level expected before there is any score."""
    spread = share * (1 - share)
    n = np.arange(len(scores))
    level = (np.cumsum(scores) - scores + guess * _PRIOR) / (n + _PRIOR)
    squares = (scores - level) ** 2
    variance = (np.cumsum(squares) - squares + guess * (1 - guess) * _PRIOR) / (n + _PRIOR) / spread
    values = (candidate - share) * (level - scores) / spread
    low = -np.maximum(level / (1 - share), (1 - level) / share)
    high = np.maximum(level / share, (1 - level) / (1 - share))
    return Payoffs(values, low, high, variance, spread)


def paired(differences: Floats, guess: float = 0.5) -> Payoffs:
    """Payoffs of sessions that both arms answered: their differences in [-1, 1] themselves."""
    n = np.arange(len(differences))
    squares = differences**2
    variance = (np.cumsum(squares) - squares + 2 * guess * (1 - guess) * _PRIOR) / (n + _PRIOR)
    ones = np.ones(len(n))
    return Payoffs(differences, -ones, ones, variance, ones / 2)


def alone(scores: Floats, guess: float = 0.5) -> Payoffs:
    """One arm's scores in [0, 1] by themselves: their own mean is what is bet on."""
    n = np.arange(len(scores))
    level = (np.cumsum(scores) - scores + guess * _PRIOR) / (n + _PRIOR)
    squares = (scores - level) ** 2
    variance = (np.cumsum(squares) - squares + guess * (1 - guess) * _PRIOR) / (n + _PRIOR)
    ones = np.ones(len(n))
    return Payoffs(scores, np.zeros(len(n)), ones, variance, ones)


def below(floor: float, scores: Floats, guess: float = 0.5) -> Payoffs:
    """Payoffs of scores in [0, 1] against a level that they should reach: ``floor`` minus score."""
    one = alone(scores, guess)
    return Payoffs(floor - scores, floor - one.high, floor - one.low, one.variance, one.information)


def log_wealth(payoffs: Payoffs, null: float) -> Floats:
    """Logarithm of the wealth after each payoff, of one who bets that the true difference is above ``null``."""
    wish = np.array([steady(payoffs, harm) for harm in HARMS])
    gains = np.log1p(within_means(payoffs, wish, null) * (payoffs.values - null))
    mixed: Floats = np.logaddexp.reduce(_WEIGHTS[:, None] + np.cumsum(gains, axis=1), axis=0)
    return mixed


def steady(payoffs: Payoffs, harm: float) -> Floats:
    """The stakes that win most where the candidate is worse by ``harm``, in the long run."""
    return harm / np.maximum(payoffs.variance, 1e-4)


def within_means(payoffs: Payoffs, stakes: Floats, null: Floats | float = 0.0) -> Floats:
    """The stakes, none so large that one payoff could take everything."""
    return np.minimum(stakes, _BOLDEST / np.maximum(null - payoffs.low, 1e-9))


def interval(payoffs: Payoffs, alpha: float) -> tuple[float, float]:
    """Where the true difference lies, at 1 - alpha over all looks, to STEP: values that no bet of either side refuted.

    (-1, 1) without payoffs. Each gain falls as the null grows, so both ends are looked for by halving. A millisecond
    for hundreds of payoffs: for figures, not for inner loops.
    """
    limit, other = np.log(2 / alpha), payoffs.reversed()
    low = bisect_left(_MEANS, True, key=lambda null: _peak(payoffs, null) < limit)
    high = bisect_left(_MEANS, True, key=lambda null: _peak(other, -null) >= limit) - 1
    if low > high:
        middle = payoffs.mean or 0.0
        return middle, middle
    return float(_MEANS[low]), float(_MEANS[high])


def _peak(payoffs: Payoffs, null: float) -> float:
    """The largest logarithm of wealth ever reached against the null; 0 at the begin."""
    return float(log_wealth(payoffs, null).max(initial=0.0))
