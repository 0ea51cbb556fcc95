"""Quality of slices: a detector for each slice that has a name, on quality's part of the budget.

That part is split over the whole and these slices, equally. A score is judged once in each slice that its call is known
to be of; what counts as `other` is watched by no detector.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from streams.alarms import Found
from streams.detectors import set_back
from streams.detectors.budget import Budget, Series
from streams.detectors.quality import RULE, QualityDetector, QualityState, judged
from streams.detectors.season import Period
from tidemill.events import ScorePoint
from tidemill.settings import PipelineSettings
from tidemill.settings.slices import scores_kept

GONE = "the slice is no longer watched: another value has its name, or the settings leave it out"


class About(NamedTuple):
    """Whose slices they are, and what is asked of them."""

    pipeline: str
    settings: PipelineSettings
    run_length: float
    season: Period | None = None


class SliceQuality(Struct, array_like=True):
    """The detectors of a pipeline's slices as data."""

    states: dict[str, bytes] = field(default_factory=dict)
    """A QualityState by slice; encoded apart, since few scores move few of them."""
    waiting: list[str] = field(default_factory=list)
    """Slices without a verdict on their last score, as too little is known of its hour."""

    def judge(
        self, scores: Mapping[str, Iterable[ScorePoint]], budget: Budget, about: About
    ) -> list[tuple[str, Found]]:
        """Take in scores by slice, each in event-time order; give back what begins or ends, by slice."""
        said, waiting = [], set(self.waiting)
        for name, points in sorted(scores.items()):
            detector = self._detector(name, about)
            said.append((name, judged(detector, points, budget, Series(about.pipeline, RULE, name))))
            self.states[name] = _encoder.encode(detector.snapshot())
            (waiting.add if detector.waits else waiting.discard)(name)
        self.waiting = sorted(waiting)
        return said

    def keep_only(
        self, names: Collection[str], budget: Budget, about: About, start_ms: int, end_ms: int
    ) -> list[tuple[str, Found]]:
        """Watch no slices but those of ``names``, the ones that have a name now; alarms of the others end."""
        said = []
        for name in sorted(self.states.keys() - set(names)):
            said.append((name, self._detector(name, about).close(start_ms, end_ms, GONE)))
            del self.states[name]
            series = Series(about.pipeline, RULE, name)
            if series in budget.series:
                budget.retire(series)
        self.waiting = [name for name in self.waiting if name in self.states]
        return said

    def set_back(self, time_ms: int) -> None:
        """The clock was ahead and is back at ``time_ms``."""
        for name, kept in self.states.items():
            self.states[name] = _encoder.encode(set_back.quality(_decoder.decode(kept), time_ms))

    def _detector(self, name: str, about: About) -> QualityDetector:
        kept = self.states.get(name)
        state = None if kept is None else _decoder.decode(kept)
        settings = about.settings
        recent = scores_kept(len(settings.slices) * settings.max_slices)
        return QualityDetector(about.pipeline, settings.quality, about.run_length, state, about.season, name, recent)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(QualityState)
