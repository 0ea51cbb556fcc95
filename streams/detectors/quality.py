"""Falls of quality, one update per score; of a pipeline as a whole, or of one of its slices.

The conformal detector says that the scores changed; the least-squares split of the recent scores, in call time, says
where and by how much. A fall of at least ``min_drop`` is an alarm; a rise never is; smaller falls are remembered, so
that a slow decay adds up. The alarm resolves when the last ``recover_scores`` scores are surely back within
``min_drop`` of the reference, or have as surely made up most of the fall; the detector then compares with what comes
from there on.

With a season a score is compared with what its hour is usually like: the detector gets its place among such scores, the
rest what it is off. No verdict before the hour is known; while an alarm lasts the season learns nothing.

The false-alarm budget holds for these alarms: each needs a word of the detector since the one before it ended. What
comes after that word (the size, the memory) only keeps alarms back.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from streams.alarms import Alarm, Found, Transition, closed
from streams.detectors import warnings
from streams.detectors.budget import Budget, Series
from streams.detectors.change import Split, split
from streams.detectors.conformal import Conformal, ConformalState
from streams.detectors.hours import seed_of
from streams.detectors.score_hours import ScoreHours
from streams.detectors.season import Period, SeasonState
from streams.thresholds import dependent
from tidemill.events import ScorePoint, subject_of
from tidemill.ids import derived_id
from tidemill.settings import QualitySettings
from tidemill.settings.slices import RECENT_SCORES

RULE = "quality"
WARM = 8
"""Scores that it is blind for after it has spoken: scores take few values, so buckets for them are soon found."""
SURE = 2.0
"""Standard errors by which the new level must be low enough: a split looks for extremes, and finds them in noise."""
STILL_GONE = 0.15
"""Part of a large fall that may be left when it counts as recovered: who comes back from 0.1 to 0.92 has, from 1.0."""
LEAST = 30
"""Scores after a small fall before it is looked at again."""


class When(NamedTuple):
    """An estimated time of change, and its interval."""

    at_ms: int
    from_ms: int | None = None
    until_ms: int | None = None


class QualityState(Struct, frozen=True, omit_defaults=True):
    """The detector as plain data: at most ``recent`` points of some 14 bytes, and a kilobyte of ranks and bets."""

    conformal: ConformalState | None = None
    times: tuple[int, ...] = ()
    """Call times of the recent scores in order of arrival, each as the difference to the one before."""
    scores: tuple[float, ...] = ()
    """With a season what they are off."""
    held: float | None = None
    """The level before falls that were too small for an alarm."""
    alarm: Alarm | None = None
    warning: Alarm | None = None
    """That scores depend on each other, while they do."""
    wealth: float | None = None
    """Of the detector, when it last spoke."""
    season: Period | None = None
    hours: SeasonState | None = None
    waits: bool = False
    """Whether the last score had no verdict, as too little is known of its hour."""


class QualityDetector:
    """Watches the scores of one pipeline, or of a slice. Feed it each score once, in event-time order."""

    def __init__(
        self,
        pipeline: str,
        settings: QualitySettings,
        run_length: float,
        state: QualityState | None = None,
        season: Period | None = None,
        slice: str = "",
        recent: int = RECENT_SCORES,
    ) -> None:
        """``run_length``: at most one false alarm in so many units of mass. With another ``season`` than the state's it
        begins anew, once no alarm is on. ``slice``: whose scores they are, if not the whole's; ``recent``: so many are
        kept to find the change among (one further back is reported at the oldest of them), ``recover_scores`` at
        least.
        """
        state = state or QualityState()
        self._subject = subject_of(pipeline, RULE, slice)
        self._settings = settings
        self._run_length = run_length
        self._conformal = Conformal(run_length, warm=WARM)
        if state.conformal is not None:
            self._conformal.restore(state.conformal)
        self._points: deque[tuple[int, float]] = deque(maxlen=recent)
        time_ms = 0
        for difference, score in zip(state.times, state.scores, strict=True):
            time_ms += difference
            self._points.append((time_ms, score))
        self._held = state.held
        self._alarm = state.alarm
        self._warning = state.warning
        self._wealth = state.wealth
        self._wanted, self._season = season, state.season
        self._hours = None if self._season is None else ScoreHours(self._season, self._seed, state.hours)
        self._waits = state.waits
        if self._alarm is None:
            self._follow_settings()

    @property
    def alarm(self) -> Alarm | None:
        """The alarm that fires now."""
        return self._alarm

    @property
    def waits(self) -> bool:
        """Whether the last score had no verdict, as too little is known of its hour."""
        return self._waits

    def snapshot(self) -> QualityState:
        """The exact state: a detector made from it goes on as this one would."""
        times = [0, *(time_ms for time_ms, _ in self._points)]
        differences = tuple(now - before for before, now in pairwise(times))
        scores = tuple(score for _, score in self._points)
        return QualityState(
            conformal=self._conformal.snapshot(),
            times=differences,
            scores=scores,
            held=self._held,
            alarm=self._alarm,
            warning=self._warning,
            wealth=self._wealth,
            season=self._season,
            hours=None if self._hours is None else self._hours.snapshot(),
            waits=self._waits,
        )

    def update(self, point: ScorePoint, mass: float) -> Transition | None:
        """Take one score and what the budget grants for it; tell when the alarm begins or ends."""
        usual, seen = 0.0, point.score
        if self._hours is not None:
            place = None if self._alarm else self._hours.take(point.score, point.time_ms)
            known = self._hours.usual(point.time_ms)
            self._waits = known is None
            if known is None:
                return None
            usual, seen = known, point.score if place is None else place
        self._points.append((point.call_time_ms, point.score - usual))
        if self._alarm is not None:
            return self._recovered(self._alarm, point, usual)
        self._conformal.update(seen, mass)
        if self._conformal.drift_detected:
            return self._changed(point, usual)
        return self._sunk(point, usual)

    def warn(self, at_ms: int) -> Transition | None:
        """Whether scores were found to depend on each other, or do so no more; ask after each score."""
        found = warnings.judge(RULE, self._subject, self._conformal.dependence, self._warning, at_ms, at_ms)
        if found is not None:
            self._warning = found.alarm if found.state == "firing" else None
        return found

    def close(self, start_ms: int, end_ms: int, reason: str) -> Found:
        """What ends because it is watched no longer."""
        said = closed(((RULE, self._alarm), (dependent(RULE), self._warning)), start_ms, end_ms, reason)
        self._alarm = self._warning = None
        return said

    def _changed(self, point: ScorePoint, usual: float) -> Transition | None:
        self._wealth = self._conformal.wealth
        ordered = sorted(self._points, key=lambda p: p[0])
        found = split([score for _, score in ordered])
        if found is None:
            return None
        self._keep(ordered[found.start :])
        rose = found.after >= found.before
        if rose and (self._hours is None or found.after >= 0):
            self._held = None
            return None
        reference = max(found.before, self._held or 0.0) if self._hours is None else usual
        after = _score(usual + found.after)
        if self._surely_below(reference, after, len(ordered) - found.start):
            # What rises and still lies below its hour fell before the oldest score that is kept.
            return self._fire(point, reference, after, When(ordered[0][0]) if rose else _when(ordered, found))
        self._held = reference
        return None

    def _sunk(self, point: ScorePoint, usual: float) -> Transition | None:
        """Below a remembered level since then: falls too small, too slow or too unsure for an alarm at once."""
        n = len(self._points)
        if self._held is None or n < LEAST:
            return None
        reference = self._held if self._hours is None else usual
        mean = _score(usual + sum(score for _, score in self._points) / n)
        if not self._surely_below(reference, mean, n):
            return None
        first_ms = min(time_ms for time_ms, _ in self._points)
        return self._fire(point, reference, mean, When(first_ms))

    def _surely_below(self, reference: float, mean: float, n: int) -> bool:
        """Whether the level behind ``mean`` is at least ``min_drop`` under the reference, by SURE standard errors."""
        return mean + SURE * _error(mean, n) <= reference - self._settings.min_drop

    def _fire(self, point: ScorePoint, reference: float, value: float, when: When) -> Transition:
        self._alarm = Alarm(
            alarm_id=derived_id(RULE, self._subject, point.time_ms),
            started_ms=point.time_ms,
            value=value,
            threshold=reference - self._settings.min_drop,
            reference=reference,
            change_time_ms=when.at_ms,
            change_from_ms=when.from_ms,
            change_until_ms=when.until_ms,
            statistic=self._wealth,
            statistic_limit=self._run_length,
            warning=self._warning.warning if self._warning else "",
            season=self._season,
        )
        self._points.clear()
        if self._hours is not None:
            self._hours.skip_visit()
        return Transition("firing", self._alarm, point.time_ms, point.time_ms, value)

    def _recovered(self, alarm: Alarm, point: ScorePoint, usual: float) -> Transition | None:
        count = self._settings.recover_scores
        if len(self._points) < count:
            return None
        mean = _score(usual + self._last_mean(count))
        before, fallen = alarm.reference or 0.0, alarm.value or 0.0
        gone = max(self._settings.min_drop, STILL_GONE * (before - fallen))
        if mean - SURE * _error(mean, count) < (before if self._hours is None else usual) - gone:
            return None
        self._alarm = None
        self._held = None
        self._points.clear()
        self._conformal.forget()
        self._follow_settings()
        return Transition("resolved", alarm, point.time_ms, point.time_ms, mean)

    def _follow_settings(self) -> None:
        """Begin anew where the settings name another season now."""
        if self._season == self._wanted:
            return
        self._season, self._held, self._waits = self._wanted, None, False
        self._hours = None if self._season is None else ScoreHours(self._season, self._seed)
        self._points.clear()
        self._conformal.forget()

    @property
    def _seed(self) -> int:
        return seed_of(self._subject)

    def _last_mean(self, count: int) -> float:
        return sum(score for _, score in list(self._points)[-count:]) / count

    def _keep(self, points: list[tuple[int, float]]) -> None:
        self._points.clear()
        self._points.extend(points)


def judged(detector: QualityDetector, points: Iterable[ScorePoint], budget: Budget, series: Series) -> Found:
    """What these scores begin or end, in order, each staked with what the budget grants their series."""
    said: Found = []
    budget.admit(series)
    for point in points:
        found = detector.update(point, budget.grant(series))
        if found is not None:
            said.append((RULE, found))
            if found.state == "firing":
                budget.alarmed(series)
        warned = detector.warn(point.time_ms)
        if warned is not None:
            said.append((dependent(RULE), warned))
    return said


def _error(mean: float, n: int) -> float:
    """Standard error of a mean of ``n`` scores at most: none in [0, 1] vary more."""
    likely = (mean * n + 1) / (n + 2)  # a few equal scores do not make certain
    return math.sqrt(likely * (1 - likely) / n)


def _score(mean: float) -> float:
    """What is made of a level and a mean of differences may lie a little outside."""
    return min(1.0, max(0.0, mean))


def _when(ordered: list[tuple[int, float]], found: Split) -> When:
    """The change lies between the last score of the old level and the first of the new one."""
    return When(ordered[found.start][0], ordered[found.first - 1][0], ordered[found.last][0])
