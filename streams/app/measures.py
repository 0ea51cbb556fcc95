"""What the role says of itself: Prometheus figures and how long ago it last worked."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter, Gauge

from streams.partition import PartitionFold
from streams.pipeline import Outputs
from tidemill.clock import Clock

PARTIALS = Counter("tidemill_streams_partials", "Partials by outcome (applied, repeated, overlap)", ["outcome"])
WINDOWS = Counter("tidemill_streams_windows", "Window rows emitted")
MISPLACED = Counter("tidemill_streams_misplaced", "Requests and answers outside their window (late, ahead)", ["why"])
EVENTS = Counter("tidemill_streams_threshold_events", "Threshold events by kind and state", ["kind", "state"])
FOLDED = Gauge(
    "tidemill_streams_folded_events", "Events under the version `other`: their windows had too many versions"
)
AGE = Gauge("tidemill_streams_watermark_age_seconds", "How far the watermark is behind the clock")


class Measures:
    """Counts the work of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.messages = 0
        """Messages handled since the start."""
        self._folded: dict[int, int] = {}

    def stepped(self, messages: int, out: Outputs, folds: Mapping[int, PartitionFold]) -> None:
        """Note one batch."""
        self.messages += messages
        WINDOWS.inc(len(out.windows))
        for event in out.events:
            EVENTS.labels(event.data.kind, event.data.state).inc()
        lowest: list[int] = []
        for partition, fold in folds.items():
            self._folded[partition] = sum(pipeline.windows.folded for pipeline in fold)
            for outcome, count in fold.outcomes.items():
                PARTIALS.labels(outcome).inc(count)
            fold.outcomes.clear()
            for why, count in fold.misplaced.items():
                MISPLACED.labels(why).inc(count)
            fold.misplaced.clear()
            lowest += [pipeline.windows.watermark_ms for pipeline in fold if pipeline.windows.watermark_ms]
        FOLDED.set(sum(self._folded.values()))
        if lowest:
            AGE.set((self._clock.now_ms() - min(lowest)) / 1000)
