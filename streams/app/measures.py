"""What the role says of itself: Prometheus figures and how long ago it last worked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from prometheus_client import Counter, Gauge

from streams.detectors.budget import Spend
from streams.partition import PartitionFold
from streams.pipeline import Outputs
from streams.windows.tally import OTHER
from tidemill.clock import Clock

PARTIALS = Counter(
    "tidemill_streams_partials", "Partials by outcome (applied, repeated, overlap, refused, malformed)", ["outcome"]
)
WINDOWS = Counter("tidemill_streams_windows", "Window rows emitted")
MISPLACED = Counter("tidemill_streams_misplaced", "Requests and answers outside their window (late, ahead)", ["why"])
EVENTS = Counter("tidemill_streams_threshold_events", "Threshold events by kind and state", ["kind", "state"])
FOLDED = Gauge(
    "tidemill_streams_folded_events", "Events under the version `other`: their windows had too many versions"
)
EARLY = Gauge("tidemill_streams_early_windows", "Windows that left early: their pipeline's state was full")
STATE = Gauge("tidemill_streams_state_bytes", "Largest state of a pipeline's windows, bytes at most")
ALLOWED = Gauge(
    "tidemill_streams_false_alarms_allowed", "False alarms that the budget allowed so far, on average", ["pipeline"]
)
DETECTED = Gauge(
    "tidemill_streams_detected_alarms", "Alarms of the detectors on that budget so far, false or not", ["pipeline"]
)
WATCHED = Gauge("tidemill_streams_watched_series", "Series that share the false-alarm budget", ["pipeline"])
WAITING = Gauge(
    "tidemill_streams_waiting_series",
    "Watched series of a pipeline with a season that know too little of their hour",
    ["pipeline"],
)
LEFT = Gauge(
    "tidemill_streams_error_budget_left", "Share of an objective's error budget that is left", ["pipeline", "objective"]
)
AGE = Gauge("tidemill_streams_watermark_age_seconds", "How far the watermark is behind the clock")
AHEAD = Gauge("tidemill_streams_watermark_ahead_seconds", "How far the watermark is ahead of the clock; 0 where behind")


class Measures:
    """Counts the work of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.messages = 0
        """Messages handled since the start."""
        self._oldest_ms = self._newest_ms = 0
        self._labels: defaultdict[Gauge, set[tuple[str, ...]]] = defaultdict(set)
        """Those that each gauge has now."""

    def said(self, out: Outputs) -> None:
        """Note what went out."""
        WINDOWS.inc(len(out.windows))
        for event in out.events:
            EVENTS.labels(event.data.kind, event.data.state).inc()

    def malformed(self) -> None:
        """Note a message that is none: all its figures are missing."""
        PARTIALS.labels("malformed").inc()

    def stepped(self, messages: int, folds: Mapping[int, PartitionFold]) -> None:
        """Note one batch, and where all partitions stand after it."""
        self.messages += messages
        folded = early = largest = 0
        spent: dict[str, list[Spend]] = defaultdict(list)
        left: dict[tuple[str, ...], float] = {}
        waiting: dict[tuple[str, ...], float] = {}
        for fold in folds.values():
            for outcome, count in fold.outcomes.items():
                PARTIALS.labels(outcome).inc(count)
            fold.outcomes.clear()
            for why, count in fold.misplaced.items():
                MISPLACED.labels(why).inc(count)
            fold.misplaced.clear()
            for pipeline in fold:
                windows = pipeline.windows
                folded += windows.folded
                early += windows.early
                largest = max(largest, windows.weight)
                spent[pipeline.name if pipeline.announced else OTHER].append(pipeline.spent)
                left |= {(pipeline.name, objective): share for objective, share in pipeline.error_budgets.items()}
                if pipeline.waiting is not None:
                    waiting[(pipeline.name,)] = pipeline.waiting
        FOLDED.set(folded)
        EARLY.set(early)
        STATE.set(largest)
        self._say(ALLOWED, {(name,): sum(part.allowed for part in parts) for name, parts in spent.items()})
        self._say(DETECTED, {(name,): sum(part.alarms for part in parts) for name, parts in spent.items()})
        self._say(WATCHED, {(name,): sum(part.series for part in parts) for name, parts in spent.items()})
        self._say(LEFT, left)
        self._say(WAITING, waiting)
        known = [fold.watermark_ms for fold in folds.values() if fold.watermark_ms]
        self._oldest_ms, self._newest_ms = min(known, default=0), max(known, default=0)
        self.aged()

    def _say(self, gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
        """Set a gauge by its labels; those that are no more among them go."""
        for gone in self._labels[gauge] - values.keys():
            gauge.remove(*gone)
        self._labels[gauge] = set(values)
        for labels, value in values.items():
            gauge.labels(*labels).set(value)

    def aged(self) -> None:
        """Say how old the watermark is by now: it ages while nothing comes, too."""
        if self._oldest_ms:
            now_ms = self._clock.now_ms()
            AGE.set((now_ms - self._oldest_ms) / 1000)
            AHEAD.set(max(0, self._newest_ms - now_ms) / 1000)
