"""E-detector for values in [0, 1] whose usual mean is declared: quality, error rate, any share.

While nothing has changed, each value's mean given the past is at most ``high`` (and at least ``low``). Nothing else is
assumed: values may depend on each other, and their distribution may move within the bounds.

A bet of fraction f against ``high`` pays 1 + f (x - high) / high: never below zero, at most 1 on average.

Source: Shin, Ramdas, Rinaldo: E-detectors (2203.03532), section on bounded means.
"""

from __future__ import annotations

from streams.detectors.betting import EDetector, Sums, SumsState

FRACTIONS = (0.05, 0.1, 0.2, 0.4, 0.7)
"""Shares of the most that can be staked; the larger, the larger the changes it is best for."""


class Bounded(EDetector):
    """Alarm when the mean rises above ``high`` or falls below ``low``; give one of them, or both."""

    def __init__(self, run_length: float = 10_000.0, *, high: float | None = None, low: float | None = None) -> None:
        super().__init__()
        if high is None and low is None:
            raise ValueError("declare high, low or both: the bounds of the usual mean")
        for name, bound in (("high", high), ("low", low)):
            if bound is not None and not 0 < bound < 1:
                raise ValueError(f"{name} is {bound}; the bound of a mean of values in [0, 1] lies between 0 and 1")
        if high is not None and low is not None and low > high:
            raise ValueError(f"low is {low}, above high, which is {high}")
        self.run_length = run_length
        self.high = high
        self.low = low
        bets = [(high, f / high) for f in FRACTIONS] if high is not None else []
        bets += [(low, -f / (1 - low)) for f in FRACTIONS] if low is not None else []
        self._bets = bets
        self._sums = Sums([1 / len(bets)] * len(bets), run_length)

    def update(self, x: float, mass: float = 1.0) -> None:
        """Take one value in [0, 1]."""
        if not 0 <= x <= 1:
            raise ValueError(f"the value is {x}; this detector takes values in [0, 1]: scale them, or use Conformal")
        self._drift_detected = self._sums.stake([1 + slope * (x - bound) for bound, slope in self._bets], mass)

    def snapshot(self) -> SumsState:
        """The exact state."""
        return self._sums.snapshot()

    def restore(self, state: SumsState) -> None:
        """Go on as the detector with the same parameters whose snapshot this is."""
        self._sums.restore(state)
