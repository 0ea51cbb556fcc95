"""What had been heard by a moment of the replay: labels, scores and estimates, as the store would have told of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from retrain.controller.labels import BEFORE_MS, DAY_MS, Counted, calls_per_day, losses
from retrain.datasets import dataset
from retrain.datasets.rules import rules_of
from retrain.replay.history import Estimate, History
from tidemill.settings import PipelineSettings


@dataclass
class _Change:
    """What is known of one change so far; grows with each look."""

    since_ms: int
    labels: int = 0
    scores: int = 0
    """How many were looked at."""
    prompts: set[str] = field(default_factory=set)
    before: tuple[float, int] = (0.0, 0)
    after: tuple[float, int] = (0.0, 0)
    """Sum and number of the scores."""


class Heard:
    """Grows by ``score`` and ``estimate``; labels are those of the history."""

    def __init__(self, history: History, pipeline: PipelineSettings) -> None:
        self._pipeline = pipeline
        self._labels = history.labels
        self._by_time = [label.time_ms for label in history.labels]
        self._scores: list[tuple[int, float]] = []
        self._newest: Estimate | None = None
        self._changes: dict[int, _Change] = {}
        self._windows = history.calls.windows
        self._window_starts = [start for start, _, _ in history.calls.windows]

    def score(self, call_time_ms: int, score: float) -> None:
        self._scores.append((call_time_ms, score))

    def estimate(self, said: Estimate) -> None:
        if self._newest is None or said.start_ms >= self._newest.start_ms:
            self._newest = said

    def since(self, since_ms: int, now: int) -> Counted:
        """What labels, scores and the newest estimate say of a change; ``now`` never goes back. ``verified`` is 0: not
        counted.
        """
        change = self._changes.setdefault(since_ms, _Change(since_ms))
        heard = bisect_right(self._by_time, now)
        for label in self._labels[change.labels : heard]:
            if label.call_time_ms >= since_ms:
                change.prompts.add(label.prompt)
        change.labels = heard
        for call_time_ms, score in self._scores[change.scores :]:
            if call_time_ms >= since_ms:
                change.after = (change.after[0] + score, change.after[1] + 1)
            elif call_time_ms >= since_ms - BEFORE_MS:
                change.before = (change.before[0] + score, change.before[1] + 1)
        change.scores = len(self._scores)
        newest = self._newest
        high = newest.high if newest is not None and newest.start_ms >= since_ms else None
        loss, sure = losses(self._pipeline, _mean(*change.before), _mean(*change.after), high)
        fresh, calls = len(change.prompts), self._calls_per_day(now)
        return Counted(fresh=fresh, verified=0, estimated_loss=loss, sure_loss=sure, calls_per_day=calls)

    def _calls_per_day(self, now: int) -> float | None:
        if self._pipeline.trigger.usd_per_point is None:
            return None
        since, until = (bisect_left(self._window_starts, at) for at in (now - DAY_MS, now))
        lately = self._windows[since:until]
        return calls_per_day(sum(n for _, _, n in lately), lately[-1][1] - lately[0][0]) if lately else None

    def counted(self, since_ms: int, now: int) -> tuple[int, int]:
        """(fresh labels, verified ones of them) of calls since then, as the store would have counted them now."""
        return self._counted_first(since_ms, bisect_right(self._by_time, now))

    def enough_ms(self, since_ms: int, now: int, needed: int) -> int | None:
        """When there will be ``needed`` fresh labels and the gate's verified ones; None: not after now."""
        low, high = bisect_right(self._by_time, now), len(self._by_time)
        least = self._pipeline.gate.min_verified

        def enough(first: int) -> bool:
            fresh, verified = self._counted_first(since_ms, first)
            return fresh >= needed and verified >= least

        at = bisect_left(range(low, high + 1), True, key=enough) + low
        return self._by_time[at - 1] if low < at <= high else None

    def _counted_first(self, since_ms: int, first: int) -> tuple[int, int]:
        fresh = (
            (label.session, label.source, label.prompt)
            for label in self._labels[:first]
            if label.call_time_ms >= since_ms
        )
        return dataset.count(fresh, rules_of(self._pipeline))


def _mean(total: float, n: int) -> float | None:
    return total / n if n else None
