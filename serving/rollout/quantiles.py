"""Where a quantile lies, at any look and exact at any number of sessions.

Below the true q-quantile lies a share q of values. The mean of "is below" over a session's values is in [0, 1] with
mean q, so the beta-binomial mixture Π-likelihood ratio is a test supermartingale, and every level that it does not
refute gives a quantile that may be the true one.

Source: Howard & Ramdas, "Sequential estimation of quantiles" (2022).
"""

from __future__ import annotations

from math import inf, lgamma, log

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TUNED = 500.0
"""Sessions at which the bounds are tightest."""


def bounds(values: Floats, units: Ints, q: float, alpha: float) -> tuple[float, float]:
    """Interval of the q-quantile of a session's value, at 1 - alpha over all looks; infinite ends where it is open.

    ``units``: the session of each value, 0 to n - 1. Each session weighs the same.
    """
    if not len(values):
        return -inf, inf
    counts = np.bincount(units)
    order = np.argsort(values, kind="stable")
    below = np.cumsum(1 / counts[units[order]])
    low, high = levels(len(counts), q, alpha)
    first = int(np.searchsorted(below, low * len(counts), side="left"))
    last = int(np.searchsorted(below, high * len(counts), side="right"))
    ordered = values[order]
    return (
        float(ordered[first]) if low > 0 else -inf,
        float(ordered[last]) if last < len(ordered) else inf,
    )


def levels(n: int, q: float, alpha: float) -> tuple[float, float]:
    """Shares (lower, upper) of n sessions between which the share below the true q-quantile stays: 0 and 1 if open."""
    return _edge(n, q, alpha, 0.0), _edge(n, q, alpha, 1.0)


def _edge(n: int, q: float, alpha: float, end: float) -> float:
    """The share nearest to ``end`` that is not refuted, by bisection: the wealth grows away from q."""
    if _log_wealth(n, end, q, alpha) < -log(alpha):
        return end
    kept, refuted = q, end
    while abs(kept - refuted) > 1e-6:
        middle = (kept + refuted) / 2
        if _log_wealth(n, middle, q, alpha) < -log(alpha):
            kept = middle
        else:
            refuted = middle
    return kept


def _log_wealth(n: int, share: float, q: float, alpha: float) -> float:
    """Logarithm of the mixture's wealth against "the share is q" when a share of n was below."""
    weight = _TUNED / (-2 * log(alpha) + log(1 - 2 * log(alpha)))
    a, b = weight * q, weight * (1 - q)
    hits = n * share
    mixed = lgamma(hits + a) + lgamma(n - hits + b) - lgamma(n + a + b) - lgamma(a) - lgamma(b) + lgamma(a + b)
    return mixed - hits * log(q) - (n - hits) * log(1 - q)
