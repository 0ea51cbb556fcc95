"""Is a mean that has no bound (time, money) above another's? An answer for any look, from 100 sessions an arm on.

A difference of means is refuted where it lies beyond a boundary that Brownian motion ever crosses with a chance of at
most alpha. It is exact in the limit only, so nothing is said before ``LEAST`` sessions of each arm.

Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences" (2024), one-sided form.
"""

from __future__ import annotations

from math import inf, log, sqrt

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEAST = 100
TUNED = 300.0
"""Where the boundary is tightest: a harmonic sum of 1,200 sessions at a canary of 25 %, in round figures."""


def deviations(n: float, alpha: float) -> float:
    """How many standard errors below the estimate the bound lies after ``n`` observations, valid for all n at once."""
    least = -2 * log(2 * alpha) if alpha < 0.25 else 2 * log(2)
    rho2 = (least + log(least + 1)) / TUNED
    t = n * rho2 + 1
    return sqrt(2 * t / (n * rho2) * log(1 + sqrt(t) / (2 * alpha)))


def excess(candidate: Floats, champion: Floats, ratio: float, alpha: float) -> float:
    """Lower bound of the candidate's mean minus ``ratio`` times the champion's, at 1 - alpha over all looks.

    Both are means of sessions, one a session. Minus infinity before ``LEAST`` sessions of each.
    """
    if min(len(candidate), len(champion)) < LEAST:
        return -inf
    error = sqrt(candidate.var(ddof=1) / len(candidate) + ratio**2 * champion.var(ddof=1) / len(champion))
    n = 1 / (1 / len(candidate) + 1 / len(champion))
    return float(candidate.mean() - ratio * champion.mean() - deviations(n, alpha) * error)
