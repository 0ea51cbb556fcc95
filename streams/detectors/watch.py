"""One metric under watch: batches in, notices out.

The first batches make the reference. From then on each batch is a value for the conformal detector: by how many
deviations of the reference it is off. What the detector finds is a notice when the new level lies at least SHIFT (or
what SHIFTS has for the metric) deviations from the reference; a smaller change becomes part of the past. A notice
resolves when the last batches are surely nearer to the reference than to the level that was found.

With a season a batch is compared with what its hour is usually like instead, and the detector gets the residual: no
verdict before the hour is known. While a notice lasts the season learns nothing; it resolves within SHIFT deviations of
the hour, too. What makes a new reference otherwise (a new champion, larger batches) moves all hours by what the next
eight batches are off, where that is SHIFT or more; words begin a new season, since they have another reference.

The false-alarm budget holds for notices: each needs a word of the detector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from streams.alarms import Alarm, Found, Transition, closed
from streams.detectors import warnings
from streams.detectors.baseline import BATCHES, MOST_BATCHES, Level, Measured, level_of, size_for
from streams.detectors.budget import Budget, Series
from streams.detectors.change import split
from streams.detectors.conformal import Conformal, ConformalState, Direction
from streams.detectors.hours import Hours, least_deviation
from streams.detectors.recent import Recent, back
from streams.detectors.season import Period, Usual
from streams.thresholds import dependent
from tidemill.events import subject_of
from tidemill.ids import derived_id
from tidemill.metrics import NOVELTY, WORD_DISTANCE, WORD_METRICS

GONE = "the metric is no longer watched"
SEASON_CHANGED = "the pipeline's season was set anew; so is what is usual"
SHIFT = 1.0
SHIFTS = {NOVELTY: 0.7}
"""Questions about something new, a third of all, hardly move a batch's mean by one deviation."""


class Where(NamedTuple):
    """The series and window that is judged, and the run length that the budget wants."""

    pipeline: str
    metric: str
    start_ms: int
    end_ms: int
    run_length: float
    slice: str = ""
    season: Period | None = None
    """What batches are compared by the hour of."""

    @property
    def series(self) -> Series:
        """The series in the budget."""
        return Series(self.pipeline, self.metric, self.slice)

    @property
    def subject(self) -> str:
        """The series in events, of which their ids are made."""
        return subject_of(self.pipeline, self.metric, self.slice)

    @property
    def rule(self) -> str:
        """The rule that notices on this metric go by."""
        return rule_of(self.metric)


class Seen(NamedTuple):
    """A batch beside what is usual, in the metric's unit; ``z``: by how many deviations it is off."""

    usual: Usual
    z: float
    residual: float
    """What the detector gets: ``z``, less what was seen of a season's hour so far."""


STANDARD = Level(0.0, 1.0)
"""Of what is counted in usual deviations already."""


class Watch(Struct, omit_defaults=True):
    """The state of one metric. Words are counted elsewhere (``drift``); all else is added up here."""

    level: Level | None = None
    """None while the reference is gathered."""
    alarm: Alarm | None = None
    warning: Alarm | None = None
    size: int = 0
    """Observations that make a batch, at least; it grows (``size_for``)."""
    n: int = 0
    total: float = 0.0
    start_ms: int = 0
    """Of the batch that is being filled."""
    gathered: list[Measured] = field(default_factory=list)
    recent: Recent = field(default_factory=Recent)
    """Deviations since the reference, or since the last notice began."""
    detector: bytes = b""
    """A ConformalState; encoded apart, since most windows fill no batch."""
    hours: bytes = b""
    """Where there is a season, what the hours are like; encoded apart, too."""
    halfway: float = 0.0
    """Deviations beyond which the notice that fires goes on; 0 for one that an earlier version began."""
    waits: bool = False
    """Whether the last batch had no verdict, as too little is known of its hour."""

    def add(self, n: int, total: float, start_ms: int, least: int) -> Measured | None:
        """Take in a window's observations and their sum; the batch, where it is full with them."""
        size = max(self.size, least)
        if self.alarm is None and (grown := size_for(size, n)) > size:
            self.begin()
            self.size = size = grown
        self.start_ms = self.start_ms or start_ms
        self.n += n
        self.total += total
        if self.n < size:
            return None
        full = Measured(self.n, self.total / self.n, self.start_ms)
        self.n, self.total, self.start_ms = 0, 0.0, 0
        return full

    def add_each(self, values: NDArray[np.float64], start_ms: int, least: int) -> Iterator[Measured]:
        """Take in a window's observations one by one: no batch holds more than it needs; over MOST_BATCHES are one."""
        while len(values):
            size = max(self.size, least)
            taken = values if len(values) > MOST_BATCHES * size else values[: max(0, size - self.n)]
            values = values[len(taken) :]
            if (full := self.add(len(taken), float(taken.sum()), start_ms, least)) is not None:
                yield full

    def begin(self) -> None:
        """Gather a new reference; the detector forgets its past, its wealth stays, and so does the season."""
        self.level, self.alarm, self.gathered, self.recent = None, None, [], Recent()
        self.size, self.n, self.total, self.start_ms = 0, 0, 0.0, 0

    def take(self, found: Measured, where: Where, mass: float) -> Found:
        """Judge a batch; ``mass``: what the budget grants for it."""
        seen = self._in_season(found, where, where.season) if where.season else self._beside_reference(found, where)
        if seen is None:
            return []
        self.recent.add(seen.z, found.start_ms)
        if self.alarm is not None:
            return self._back(self.alarm, found.value, where)
        detector = self._restored(where)
        detector.update(seen.residual, mass)
        said = self._watch_assumptions(detector, where)
        if detector.drift_detected:
            said += self._changed(seen.usual, detector, found.value, where)
        self.detector = _encoder.encode(detector.snapshot())
        return said

    def settle(self, level: Level, gathered: list[Measured], where: Where) -> None:
        """The reference is there; its batches fix the detector's buckets and are used for nothing else."""
        if where.season:  # the distances are from other words now, so the hours say nothing any more
            self.hours = b""
            self._settle(Level(0.0, 1.0, level.usual), [], where)
        else:
            self._settle(level, [level.off(where.metric, found) for found in gathered], where)

    def _settle(self, level: Level, values: list[float], where: Where) -> None:
        detector = self._restored(where)
        detector.forget()
        if self.warning is None:
            detector.dependence.clear()
        self.level, self.gathered, self.recent = level, [], Recent()
        for value in values:
            detector.update(value, 0.0)
        self.detector = _encoder.encode(detector.snapshot())

    def _beside_reference(self, found: Measured, where: Where) -> Seen | None:
        if self.level is not None:
            z = self.level.off(where.metric, found)
            return Seen(Usual(self.level.mean, self.level.deviation), z, z)
        self.gathered.append(found)
        if len(self.gathered) == BATCHES:
            self.settle(level_of(self.gathered, least_deviation(where.metric)), self.gathered, where)
        return None

    def _in_season(self, found: Measured, where: Where, period: Period) -> Seen | None:
        if self.level is None and not self.hours:
            self._settle(STANDARD, [], where)
        if self.level is not None and where.metric == WORD_DISTANCE:
            found = found._replace(value=self.level.distance_as_usual(found))
        hours = Hours(where.metric, where.subject, period, self.hours)
        residual = None if self.alarm is not None else hours.take(found)
        usual = hours.usual(found)
        self.waits = usual is None
        seen = None
        if usual is not None:
            z = (found.value - usual.level) / usual.deviation
            if self.level is None:
                self._move(hours, found._replace(value=z), where)
            else:
                seen = Seen(usual, z, z if residual is None else residual)
        self.hours = hours.raw
        return seen

    def _move(self, hours: Hours, off: Measured, where: Where) -> None:
        """Gather the first batches of another champion; then the hours are moved to them."""
        self.gathered.append(off)
        if len(self.gathered) < BATCHES:
            return
        values = [each.value for each in self.gathered]
        mean = sum(values) / len(values)
        if abs(mean) >= SHIFT:
            hours.shift(mean)
            values = [value - mean for value in values]
        self._settle(STANDARD, values, where)

    def close(self, where: Where, reason: str) -> Found:
        """Take back what is said of the metric, for a reason that is none of its values."""
        alarms = ((where.rule, self.alarm), (dependent(where.metric), self.warning))
        said = closed(alarms, where.start_ms, where.end_ms, reason)
        self.alarm = self.warning = None
        return said

    def _restored(self, where: Where) -> Conformal:
        direction: Direction = "up" if where.metric in WORD_METRICS else "both"
        detector = Conformal(where.run_length, direction, warm=BATCHES)
        if self.detector:
            detector.restore(_decoder.decode(self.detector))
        return detector

    def _watch_assumptions(self, detector: Conformal, where: Where) -> Found:
        said = warnings.judge(
            where.metric, where.subject, detector.dependence, self.warning, where.start_ms, where.end_ms
        )
        if said is None:
            return []
        self.warning = said.alarm if said.state == "firing" else None
        return [(dependent(where.metric), said)]

    def _changed(self, usual: Usual, detector: Conformal, value: float, where: Where) -> Found:
        found, times = split(self.recent.numbers()), self.recent.times_ms()
        if found is None:
            return []
        if abs(found.after) < SHIFTS.get(where.metric, SHIFT) or (found.after < 0 and where.metric in WORD_METRICS):
            self.recent.keep(len(self.recent) - found.start)
            return []
        self.halfway = found.after / 2
        if where.season:  # a change may be smaller in another hour
            self.halfway = math.copysign(min(abs(self.halfway), SHIFT), found.after)
        self.alarm = Alarm(
            alarm_id=derived_id(where.rule, where.subject, where.start_ms),
            started_ms=where.end_ms,
            value=value,
            threshold=usual.level + self.halfway * usual.deviation,
            reference=usual.level,
            change_time_ms=times[found.start],
            change_from_ms=times[found.first - 1],
            change_until_ms=next((ms for ms in times[found.last + 1 :] if ms > times[found.last]), where.end_ms),
            statistic=detector.wealth,
            statistic_limit=where.run_length,
            warning=self.warning.warning if self.warning else "",
            season=where.season,
        )
        self.recent = Recent()
        if where.season:
            hours = Hours(where.metric, where.subject, where.season, self.hours)
            hours.skip_visit()
            self.hours = hours.raw
        return [(where.rule, Transition("firing", self.alarm, where.start_ms, where.end_ms, value))]

    def _back(self, alarm: Alarm, value: float, where: Where) -> Found:
        if not back(self.recent.numbers(), self.halfway or (self.level or STANDARD).z(alarm.threshold)):
            return []
        self.alarm, self.recent = None, Recent()
        return [(where.rule, Transition("resolved", alarm, where.start_ms, where.end_ms, value))]


def judged(watch: Watch, full: Measured, budget: Budget, where: Where) -> Found:
    """What a full batch begins or ends, staked with what the budget grants its series."""
    budget.admit(where.series)
    said = watch.take(full, where, budget.grant(where.series))
    if any(rule == where.rule and found.state == "firing" for rule, found in said):
        budget.alarmed(where.series)
    return said


def dropped(watch: Watch, budget: Budget, where: Where) -> Found:
    """What ends because the metric is watched no longer."""
    if where.series in budget.series:
        budget.retire(where.series)
    return watch.close(where, GONE)


def rule_of(metric: str) -> str:
    """The rule that notices on a metric go by."""
    return f"drift_{metric}"


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ConformalState)
