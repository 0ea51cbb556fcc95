"""The quality detector as the stream runs it, for scores of the past: threshold events as they would have been said."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from streams import thresholds
from streams.detectors.budget import Budget, Series
from streams.detectors.quality import RULE, QualityDetector
from streams.detectors.season import Period, period_of
from streams.false_alarms import LONGEST_S, share_of
from tidemill.events import ScorePoint, ThresholdEvent
from tidemill.settings import QualitySettings, Settings

SHARE = 0.05
"""Part of the budget where nobody says which: that of one of twenty series."""


class ReplayedQuality:
    """Feed it each score of one pipeline once, in event-time order."""

    def __init__(
        self,
        pipeline: str,
        settings: QualitySettings,
        run_length: float = 604_800.0,
        share: float = SHARE,
        season: Period | None = None,
    ) -> None:
        """``run_length``, ``share``: the false-alarm budget and this series' part of it; ``season``: its own."""
        self._pipeline = pipeline
        self._detector = QualityDetector(pipeline, settings, run_length, season=season)
        self._budget = Budget(run_length, share, LONGEST_S)
        self._series = Series(pipeline, RULE)
        self._begun_s: int | None = None
        self._budget.admit(self._series)
        self._cause = thresholds.of_quality(settings.metric)

    def update(self, point: ScorePoint) -> ThresholdEvent | None:
        """The beginning or end of an alarm, said at the time of the score."""
        now_s = point.time_ms // 1000
        self._begun_s = now_s if self._begun_s is None else self._begun_s
        self._budget.tick(max(0, now_s - self._begun_s - self._budget.updates))
        found = self._detector.update(point, self._budget.grant(self._series))
        return found and thresholds.event("replay", self._pipeline, self._cause, found, point.time_ms)


def with_budget_of(settings: Settings, pipeline: str) -> Callable[[str, QualitySettings], ReplayedQuality]:
    """Makes detectors that have the part of the budget that the stream gives to the quality of this pipeline (with
    ``slices`` it splits that over the slices that have a name then, so it is a little slower)."""
    found = settings.pipelines.get(pipeline)
    metrics = len(found.drift.metrics) if found and found.drift.enabled else 0
    share = share_of(pipeline, settings) / (1 + metrics)
    season = period_of(found.season) if found else None
    return partial(ReplayedQuality, run_length=settings.run_length, share=share, season=season)
