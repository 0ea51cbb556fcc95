"""The quality of one pipeline under watch: its scores as a whole, and once more by slice.

Changes the parts of the pipeline's state that it is handed; never blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

import msgspec

from streams.alarms import Found, Transition
from streams.detectors import set_back
from streams.detectors.budget import Budget, Series
from streams.detectors.quality import RULE, QualityDetector, QualityState, judged
from streams.detectors.slice_quality import About
from streams.pipeline_state import PipelineState
from streams.thresholds import Cause, of_dependence, of_quality
from tidemill.events import ScorePoint


class Said(NamedTuple):
    """What begins or ends, and what stands behind it."""

    transition: Transition
    cause: Cause


class Quality:
    """The detectors; those of slices are made of their states while they judge."""

    def __init__(self, about: About, kept: PipelineState) -> None:
        self._about = about
        self._kept = kept
        self._whole: QualityDetector | None = None
        """Decoded with the first score: many pipelines have none."""
        self._moved = False

    @property
    def waiting(self) -> int:
        """Series without a verdict on their last score, as too little is known of its hour."""
        if self._about.season is None:
            return 0
        return self._detector().waits + len(self._kept.slice_quality.waiting)

    @property
    def state(self) -> QualityState:
        """The whole's detector, to look at."""
        return self._detector().snapshot()

    def snapshot(self) -> None:
        """Bring the pipeline's state up to date."""
        if self._moved:
            self._kept.quality = msgspec.Raw(_encoder.encode(self.state))
            self._moved = False

    def judge(self, ready: Iterable[ScorePoint], has_name: Callable[[str, int], bool], budget: Budget) -> list[Said]:
        """Judge these scores, each once, in event-time order. ``has_name``: whether a slice has one at a time (ms)."""
        points = sorted(ready, key=lambda point: (point.time_ms, point.feedback_id))
        by_slice: dict[str, list[ScorePoint]] = {}
        for point in points:
            for name in point.slices:
                if has_name(name, point.time_ms):
                    by_slice.setdefault(name, []).append(point)
        self._moved = True
        found = [("", judged(self._detector(), points, budget, Series(self._about.pipeline, RULE)))]
        if by_slice:
            found += self._kept.slice_quality.judge(by_slice, budget, self._about)
        return self._said(found)

    def keep_only(self, names: Collection[str], budget: Budget, start_ms: int, end_ms: int) -> list[Said]:
        """Watch no slices but those that have a name now; alarms of the others end."""
        return self._said(self._kept.slice_quality.keep_only(names, budget, self._about, start_ms, end_ms))

    def set_back(self, time_ms: int) -> None:
        """The clock was ahead and is back at ``time_ms``; needed with a season only."""
        self._whole, self._moved = self._made_of(set_back.quality(self.state, time_ms)), True
        self._kept.slice_quality.set_back(time_ms)

    def _said(self, found: list[tuple[str, Found]]) -> list[Said]:
        metric = self._about.settings.quality.metric
        return [
            Said(transition, of_quality(metric, name) if rule == RULE else of_dependence(RULE)._replace(slice=name))
            for name, several in found
            for rule, transition in several
        ]

    def _detector(self) -> QualityDetector:
        if self._whole is None:
            self._whole = self._made_of(_decoder.decode(self._kept.quality))
        return self._whole

    def _made_of(self, known: QualityState) -> QualityDetector:
        name, settings, run_length, season = self._about
        return QualityDetector(name, settings.quality, run_length, known, season)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(QualityState)
