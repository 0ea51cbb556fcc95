"""The season of scores in [0, 1], one by one: where a score stands among those that its hour would give.

A mean of scores near 1 is skewed, and more so in a good hour; residuals in deviations would then tell the hours apart,
and waiting for batches would cost time. So chance makes a 0 or a 1 of each score, with the score as its probability:
that has the hour's level as its only parameter, whatever scores are like. The level is the hour's, earlier visits and
this one together, one step ahead; and the 0 or 1 stands at a place in [0, 1] that chance draws in its part. Such places
are uniform and independent if the level is right, so hours with other levels look alike (Rosenblatt 1952; Dawid 1984).
"""

from __future__ import annotations

from math import inf

from streams.detectors.season import Period, Season, SeasonState


class ScoreHours:
    """The season of one pipeline's scores; a score belongs to the hour in which it was given (event time, UTC)."""

    def __init__(self, period: Period, seed: int, state: SeasonState | None = None) -> None:
        self._season = Season(period, seed, clip=inf)
        if state is not None:
            self._season.restore(state)

    def usual(self, time_ms: int) -> float | None:
        """The mean score that earlier visits say for this time; None where they say too little."""
        usual = self._season.usual(max(time_ms, self._season.hour_ms))
        return usual and usual.level

    def take(self, score: float, time_ms: int) -> float | None:
        """The place of a score, which the season learns from; None as for ``usual``."""
        season, at_ms = self._season, max(time_ms, self._season.hour_ms)
        one = season.draw() < score
        forecast = season.forecast(at_ms)
        season.update(float(one), at_ms)
        if forecast is None:
            return None
        n = forecast.n
        zero = 1 - min(n + 1, max(1, forecast.level * n + 1)) / (n + 2)  # Laplace's rule: never sure
        return zero + season.draw() * (1 - zero) if one else season.draw() * zero

    def skip_visit(self) -> None:
        """As for ``Season``."""
        self._season.skip_visit()

    def snapshot(self) -> SeasonState:
        """The exact state."""
        return self._season.snapshot()
