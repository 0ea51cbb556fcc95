"""Ways to watch ten series with a season, on one budget of one false alarm in a week: stage 2's own, and others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.detectors.budget import Budget, Series
from streams.detectors.conformal import Conformal, slot_of_week
from streams.detectors.quality import RULE, QualityDetector, QualityState
from streams.detectors.season import Season
from streams.detectors.watch import Watch, Where, judged
from streams.false_alarms import LONGEST_S
from tidemill.events import ScorePoint
from tidemill.settings import QualitySettings

RUN_LENGTH = 604_800
SERIES = 10
BATCH = 25
"""Calls, as stage 2 has it by default."""
MIN_DROP = 0.05
"""Of stage 2's quality; its default. With 0.1 falls of 10 points lie on the limit: now and then they are no alarm."""
WINDOW_MS = 10_000
SLOT_MS = 600_000
Values = NDArray[np.float64]


class Calls(NamedTuple):
    """Calls in order of time: when they were, and what their score or length is."""

    times_ms: NDArray[np.int64]
    values: Values


class Way(Protocol):
    """Watches one series of a kind, ``quality`` or ``length``. A deep copy goes on as it would."""

    def alarms(self, calls: Calls) -> Iterator[int]:
        """Take calls; the times of alarms that begin, milliseconds."""

    def snapshot(self) -> Any:
        """All that it keeps."""


class Scores:
    """Stage 2's quality: scores one by one."""

    def __init__(self, seed: int, min_drop: float = MIN_DROP, kept: QualityState | None = None) -> None:
        """``kept``: what it goes on from."""
        self._seed = seed
        pipeline, settings = f"pipeline-{seed}", QualitySettings(min_drop=min_drop)
        self._detector = QualityDetector(pipeline, settings, RUN_LENGTH, kept, season="week")
        self._series = Series(pipeline, RULE)
        self._budget = _budget(self._series)

    def with_min_drop(self, min_drop: float) -> Scores:
        """A copy that has it."""
        copy = Scores(self._seed, min_drop, self.snapshot())
        copy._budget.restore(self._budget.snapshot())
        return copy

    def alarms(self, calls: Calls) -> Iterator[int]:
        """As for ``Way``."""
        budget, series, update = self._budget, self._series, self._detector.update
        for at_ms, score in zip(calls.times_ms.tolist(), calls.values.tolist(), strict=True):
            budget.tick(at_ms // 1000 - budget.updates)
            point = ScorePoint(
                time_ms=at_ms,
                call_time_ms=at_ms,
                feedback_id="",
                metric="exact_match",
                score=score,
                model_version="",
                variant="champion",
                source="scorer",
            )
            found = update(point, budget.grant(series))
            if found is not None and found.state == "firing":
                yield at_ms

    def snapshot(self) -> QualityState:
        """As for ``Way``."""
        return self._detector.snapshot()


class Lengths:
    """Stage 2's watch of the mean length of answers: windows make batches, batches residuals."""

    def __init__(self, seed: int) -> None:
        self._where = Where(f"pipeline-{seed}", "output_chars", 0, 0, RUN_LENGTH, season="week")
        self._watch = Watch()
        self._budget = _budget(self._where.series)

    def alarms(self, calls: Calls) -> Iterator[int]:
        """As for ``Way``; the calls begin and end with a window."""
        windows, at = np.unique(calls.times_ms // WINDOW_MS, return_inverse=True)
        counts, totals = np.bincount(at), np.bincount(at, calls.values)
        for window, n, total in zip(windows.tolist(), counts.tolist(), totals.tolist(), strict=True):
            start_ms, end_ms = window * WINDOW_MS, (window + 1) * WINDOW_MS
            self._budget.tick(end_ms // 1000 - self._budget.updates)
            full = self._watch.add(n, total, start_ms, BATCH)
            if full is None:
                continue
            where = self._where._replace(start_ms=start_ms, end_ms=end_ms)
            for rule, found in judged(self._watch, full, self._budget, where):
                if rule == where.rule and found.state == "firing":
                    yield end_ms - 1

    def snapshot(self) -> Any:
        """As for ``Way``."""
        return self._watch


class Seen(NamedTuple):
    """One batch of ``Batches``, for a picture."""

    time_ms: int
    value: float
    wealth: float
    alarmed: bool


class Batches:
    """The conformal detector on means of calls in a row: on residuals (``season``), on values, or with a past for each
    slot of the week."""

    def __init__(self, seed: int, kind: str, season: bool = False, slots: bool = False) -> None:
        self._step = 1 / BATCH if kind == "quality" else 0.0
        self._season = Season("week", seed) if season else None
        self._slots = slots
        self._conformal = Conformal(RUN_LENGTH, seed=seed, keep_past=slots)
        self._last_ms = 0

    def alarms(self, calls: Calls) -> Iterator[int]:
        """As for ``Way``."""
        return (seen.time_ms for seen in self.watch(calls) if seen.alarmed)

    def watch(self, calls: Calls) -> Iterator[Seen]:
        """Batch by batch."""
        whole = len(calls.values) // BATCH * BATCH
        means = calls.values[:whole].reshape(-1, BATCH).mean(axis=1)
        for at_ms, value in zip(calls.times_ms[BATCH - 1 : whole : BATCH].tolist(), means.tolist(), strict=True):
            alarmed = self._update(at_ms, value)
            yield Seen(at_ms, value, self._conformal.wealth, alarmed)

    def snapshot(self) -> Any:
        """As for ``Way``."""
        return self._season and self._season.snapshot(), self._conformal.snapshot(), self._last_ms

    def _update(self, at_ms: int, value: float) -> bool:
        mass = (at_ms - self._last_ms) / 1000 / SERIES
        self._last_ms = at_ms
        found = self._season.update(value, at_ms, self._step) if self._season else value
        if found is None:
            return False
        self._conformal.update(found, mass, slot_of_week(at_ms, SLOT_MS) if self._slots else 0)
        return bool(self._conformal.drift_detected)


def stage2(seed: int, kind: str) -> Way:
    """What stage 2 does."""
    return Scores(seed) if kind == "quality" else Lengths(seed)


STAGE2 = "stage 2: `ScoreHours` for scores, residuals for lengths"
WAYS: dict[str, Callable[[int, str], Way]] = {
    STAGE2: stage2,
    '`Season("week")`, then `Conformal`': partial(Batches, season=True),
    "`Conformal`, a past for each 10 minutes of the week": partial(Batches, slots=True),
    "`Conformal` alone": Batches,
}


def state_bytes(way: Way) -> int:
    """Of one series, encoded."""
    return len(msgspec.msgpack.encode(way.snapshot()))


def _budget(series: Series) -> Budget:
    budget = Budget(RUN_LENGTH, 1 / SERIES, LONGEST_S)
    budget.admit(series)
    return budget
