"""The quality detector as the stream runs it, for scores of the past: threshold events as they would have been said."""

from __future__ import annotations

from streams import thresholds
from streams.detectors.quality import RULE, QualityDetector
from streams.thresholds import Cause
from tidemill.events import ScorePoint, ThresholdEvent
from tidemill.settings import QualitySettings


class ReplayedQuality:
    """Feed it each score of one pipeline once, in event-time order."""

    def __init__(self, pipeline: str, settings: QualitySettings) -> None:
        self._pipeline = pipeline
        self._detector = QualityDetector(pipeline, settings)
        self._cause = Cause(RULE, "quality", "page", "quality", f"quality ({settings.metric})", settings.detector)

    def update(self, point: ScorePoint) -> ThresholdEvent | None:
        """The beginning or end of an alarm, said at the time of the score."""
        found = self._detector.update(point)
        return found and thresholds.event("replay", self._pipeline, self._cause, found, point.time_ms)
