"""Two-sided CUSUM on a mean and a deviation that are known, with its exact run length.

Its run length is a fact only for independent normal values around the mean with that deviation; for anything else it
is a rule of thumb, and the detector's alarms are outside the false-alarm budget.

Sources: Page: Continuous inspection schemes (Biometrika 1954); run length by Goel, Wu (Technometrics 1971).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from msgspec import Struct
from river.base import DriftDetector

from streams.detectors.cusum import Cusum

NODES = 64


class CusumState(Struct, frozen=True):
    """Both sums."""

    up: float
    down: float


class CusumChart(DriftDetector):
    """Alarm when the sum of deviations beyond ``allowance`` (k) passes ``threshold`` (h), both in sigmas."""

    def __init__(self, mean: float, sigma: float, allowance: float = 0.5, threshold: float = 5.0) -> None:
        super().__init__()
        if not sigma > 0:
            raise ValueError(f"sigma is {sigma}; it is the deviation of the values, above zero")
        self.mean = mean
        self.sigma = sigma
        self.allowance = allowance
        self.threshold = threshold
        self._cusum = Cusum()

    def update(self, x: float) -> None:
        """Take one value."""
        if self.drift_detected:
            self._cusum = Cusum()
        way = self._cusum.update((x - self.mean) / self.sigma, 0, self.threshold, self.allowance)
        self._drift_detected = way is not None

    def snapshot(self) -> CusumState:
        """The exact state; an alarm that was told is not told again."""
        return CusumState(0.0, 0.0) if self.drift_detected else CusumState(self._cusum.up, self._cusum.down)

    def restore(self, state: CusumState) -> None:
        """Go on as the detector with the same parameters whose snapshot this is."""
        self._cusum = Cusum(state.up, state.down)
        self._drift_detected = False


@cache
def run_length(threshold: float, shift: float = 0.0, allowance: float = 0.5) -> float:
    """Mean updates to an alarm of the two-sided chart for values from N(shift, 1), in sigmas.

    The one-sided run length solves an integral equation over the sum's level (here by Gauss-Legendre quadrature); the
    sides' rates add up.
    """
    return 1 / (1 / _one_sided(threshold, shift, allowance) + 1 / _one_sided(threshold, -shift, allowance))


def _one_sided(threshold: float, shift: float, allowance: float) -> float:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    levels = np.concatenate([[0.0], threshold * (nodes + 1) / 2])
    drift = shift - allowance
    jump = np.exp(-((levels[1:] - levels[:, None] - drift) ** 2) / 2) / math.sqrt(2 * math.pi) * weights * threshold / 2
    to_zero = np.array([0.5 * math.erfc((level + drift) / math.sqrt(2)) for level in levels])
    system = np.eye(len(levels)) - np.column_stack([to_zero, jump])
    return float(np.linalg.solve(system, np.ones(len(levels)))[0])
