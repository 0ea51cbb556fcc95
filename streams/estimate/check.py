"""Do labels still say what the calibration foretells? A test on every label, for ever, with a bounded rate of alarms.

Shiryaev-Roberts e-detector: for each of a few bets, R = (R + 1) * (1 + bet * (foretold - score - margin)), and the
same with the sign turned; where the scores are within ``margin`` of what was foretold on average, the mean time to a
false alarm is at least ``labels_per_false_alarm`` labels, on either side. Source: Shin, Ramdas, Rinaldo: E-detectors
(arXiv 2203.03532).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

BETS = (0.05, 0.15, 0.4, 0.8)
"""Small bets find small differences, large ones large differences soon."""
MARGIN = 0.05
"""A calibration that is off by less than this is taken to hold."""

Wrong = Literal["", "too high", "too low"]


class Check(Struct):
    """The test's whole state: eight numbers."""

    above: list[float] = field(default_factory=lambda: [0.0] * len(BETS))
    """Evidence that scores are lower than foretold."""
    below: list[float] = field(default_factory=lambda: [0.0] * len(BETS))
    """Evidence that they are higher."""
    labels: int = 0

    def update(self, foretold: float, score: float, labels_per_false_alarm: float) -> Wrong:
        """Take in one label, judged before anybody learned from it: what the calibration was, if it is proven wrong."""
        self.labels += 1
        short, over = foretold - score - MARGIN, score - foretold - MARGIN
        for index, bet in enumerate(BETS):
            self.above[index] = (self.above[index] + 1) * (1 + bet * short)
            self.below[index] = (self.below[index] + 1) * (1 + bet * over)
        limit = labels_per_false_alarm * len(BETS)
        return "too high" if sum(self.above) >= limit else "too low" if sum(self.below) >= limit else ""
