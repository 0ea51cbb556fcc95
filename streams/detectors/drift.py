"""Drift of the input: has the text of calls moved away from the reference?

Conservative by design: it informs, and starts no retraining by itself. Word metrics count only when they rise,
lengths both ways. A notice resolves when its metric is back, or a new champion (trained on the new text) took over;
then a new reference is gathered.
"""

from __future__ import annotations

import math

from msgspec import Struct, field

from streams.alarms import Alarm, Transition
from streams.detectors.baseline import BATCHES, WORD_METRICS, Batch, Level, joined_words, levels, word_metric
from streams.detectors.cusum import Cusum
from streams.windows.figures import Figure
from streams.windows.tally import Tally
from tidemill.ids import derived_id
from tidemill.settings import DriftSettings

BACK = 2.0
"""Deviations within which a metric counts as back …"""
BACK_BATCHES = 4
"""… for this many batches in a row."""


class Watch(Struct, omit_defaults=True):
    """One metric under watch."""

    level: Level
    cusum: Cusum = field(default_factory=Cusum)
    alarm: Alarm | None = None
    back: int = 0


class Drift(Struct, omit_defaults=True):
    """The drift state of one pipeline."""

    champion: str = ""
    gathered: list[Batch] = field(default_factory=list)
    """Whole batches of the reference that is being gathered."""
    batch: Batch = field(default_factory=Batch)
    reference: dict[int, int] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)
    """Empty while the reference is gathered."""

    def word_figures(self, tally: Tally) -> dict[str, Figure]:
        """The word metrics of one window against the reference; none while it is gathered."""
        found: dict[str, Figure] = {}
        if self.watches and tally.words:
            n = sum(tally.words.values())
            for metric in WORD_METRICS:
                value = word_metric(metric, tally.words, self.reference)
                if value is not None:
                    found[metric] = Figure(n, value * n, value * value * n, value)
        return found

    def judge(
        self, pipeline: str, tally: Tally, champion: str | None, start_ms: int, end_ms: int, settings: DriftSettings
    ) -> list[tuple[str, Transition]]:
        """Take in one closed, complete window of the clients' calls; give back (metric, transition) pairs.

        ``champion`` is the version most client answers of the window came from, None where there were none.
        """
        if not settings.enabled:
            return []
        found: list[tuple[str, Transition]] = []
        if champion is not None and champion != self.champion:
            if self.champion:
                found += self._start_anew(champion, start_ms, end_ms)
            self.champion = champion
        if tally.sampled:
            self.batch.add(tally, start_ms, settings.metrics)
        if self.batch.calls >= math.ceil(settings.reference_calls / BATCHES):
            batch, self.batch = self.batch, Batch()
            if self.watches:
                found += self._compare(pipeline, batch, start_ms, end_ms, settings)
            else:
                self._gather(batch, settings)
        return found

    def _gather(self, batch: Batch, settings: DriftSettings) -> None:
        self.gathered.append(batch)
        if len(self.gathered) >= BATCHES:
            self.reference = joined_words(self.gathered)
            known = levels(self.gathered, settings.metrics)
            self.watches = {metric: Watch(level) for metric, level in known.items()}
            self.gathered = []

    def _compare(
        self, pipeline: str, batch: Batch, start_ms: int, end_ms: int, settings: DriftSettings
    ) -> list[tuple[str, Transition]]:
        found: list[tuple[str, Transition]] = []
        threshold = 2 * math.log(1 / settings.delta)
        anew = False
        for metric in sorted(self.watches):
            watch = self.watches[metric]
            value = batch.value(metric, self.reference)
            if value is None:
                continue
            z = watch.level.z(value)
            if watch.alarm is not None:
                watch.back = watch.back + 1 if abs(z) <= BACK else 0
                if watch.back >= BACK_BATCHES:
                    found.append((metric, Transition("resolved", watch.alarm, start_ms, end_ms, value)))
                    watch.alarm, anew = None, True
                continue
            direction = watch.cusum.update(z, batch.start_ms, threshold)
            if direction == "down" and metric in WORD_METRICS:
                watch.cusum = Cusum()
            elif direction is not None:
                found.append((metric, self._fire(pipeline, metric, watch, direction, value, start_ms, end_ms)))
        if anew and not any(watch.alarm for watch in self.watches.values()):
            self._forget()
        return found

    def _fire(
        self, pipeline: str, metric: str, watch: Watch, direction: str, value: float, start_ms: int, end_ms: int
    ) -> Transition:
        up = direction == "up"
        level = watch.level
        watch.alarm = Alarm(
            alarm_id=derived_id(f"drift_{metric}", f"{pipeline}//{metric}", start_ms),
            started_ms=end_ms,
            value=value,
            threshold=level.mean + (BACK if up else -BACK) * level.deviation,
            reference=level.mean,
            change_time_ms=watch.cusum.up_since_ms if up else watch.cusum.down_since_ms,
        )
        watch.cusum, watch.back = Cusum(), 0
        return Transition("firing", watch.alarm, start_ms, end_ms, value)

    def _start_anew(self, champion: str, start_ms: int, end_ms: int) -> list[tuple[str, Transition]]:
        reason = f"{champion} became champion; a new reference is gathered"
        found = [
            (metric, Transition("resolved", watch.alarm, start_ms, end_ms, None, reason))
            for metric, watch in sorted(self.watches.items())
            if watch.alarm is not None
        ]
        self._forget()
        return found

    def _forget(self) -> None:
        self.gathered, self.batch, self.reference, self.watches = [], Batch(), {}, {}
