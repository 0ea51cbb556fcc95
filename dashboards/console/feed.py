"""Keeps the picture fresh: one thread asks the store, however many pages are open."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from dashboards.console.view import Picture, Pipeline, Point
from tidemill.clock import Clock
from tidemill.codec import Decoder
from tidemill.errors import TidemillError
from tidemill.events import JobProgress, JobState, RolloutState, Route, ThresholdData, ThresholdEvent
from tidemill.io.clickhouse import Store
from tidemill.io.decisions import latest
from tidemill.io.spend import allowed_a_day, spent
from tidemill.settings import Settings
from tidemill.troubles import SYSTEM

log = logging.getLogger(__name__)
SHOWN_MINUTES = 20
NOBODY_LOOKS_S = 10.0
SHOWN_DECISIONS = 5
SYSTEM_MS = 24 * 3_600_000
"""So old may an alarm about the deployment itself be that is shown."""
SHOWN_SYSTEM = 10
FIRST_LOOK_S = 2.0
"""The longest that a page waits for its first figures."""
_WINDOWS = """
SELECT pipeline, metric, model_version, start_ms, end_ms, value, p50, p95, n FROM windows
WHERE start >= fromUnixTimestamp64Milli({from_ms:Int64}) AND role = 'client' AND slice = ''
ORDER BY revision DESC LIMIT 1 BY pipeline, metric, model_version, variant, start_ms
"""
_EVENTS = """
SELECT id, source, type, subject, time_ms, data FROM events
WHERE time >= fromUnixTimestamp64Milli({from_ms:Int64}) ORDER BY time_ms LIMIT 1 BY id LIMIT 2000
"""
_SYSTEM = """
SELECT id, source, type, subject, time_ms, data FROM events
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({from_ms:Int64})
ORDER BY time_ms DESC LIMIT 1 BY id LIMIT {most:UInt32}
"""
_JOBS = """
SELECT state FROM (SELECT seq, time_ms, state FROM jobs WHERE time >= fromUnixTimestamp64Milli({from_ms:Int64})
ORDER BY time_ms DESC, seq DESC LIMIT 1 BY job_id, seq LIMIT 2000) ORDER BY time_ms, seq
"""
_ROLLOUTS = """
SELECT state FROM rollouts WHERE time >= fromUnixTimestamp64Milli({from_ms:Int64})
ORDER BY time_ms, seq LIMIT 1 BY rollout_id, seq LIMIT 2000
"""
_ROUTES = "SELECT state FROM routes ORDER BY epoch DESC LIMIT 1 BY pipeline"
_PROGRESS = """
SELECT job_id, time_ms, pipeline, phase, done, of, loss, note FROM progress
WHERE time >= fromUnixTimestamp64Milli({from_ms:Int64}) ORDER BY time_ms DESC LIMIT 1 BY pipeline
"""


class Feed:
    """The latest picture. ``picture`` never blocks; ``run`` refreshes it until told to stop."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._store = Store(settings)
        self._picture = Picture(0, 0, settings.windows.size_s, {}, trouble="no data has been read yet")
        self._looked_s = clock.monotonic_s()
        self._taken = threading.Condition()
        self.minutes = SHOWN_MINUTES

    @property
    def picture(self) -> Picture:
        """What was true at ``taken_ms``. Looking keeps it fresh: while nobody does, the store is left alone."""
        self._looked_s = self._clock.monotonic_s()
        return self._picture

    def fresh(self) -> None:
        """Wait until the picture is as young as that of an open page; FIRST_LOOK_S at most: the store may be away."""
        oldest_ms = self._clock.now_ms() - round(1000 * self._settings.console.refresh_s)
        with self._taken:
            self._taken.wait_for(lambda: self.picture.taken_ms >= oldest_ms, FIRST_LOOK_S)

    def run(self, stop: threading.Event) -> None:
        """Refresh until ``stop``; a store that does not answer leaves the last picture standing and says so."""
        while not stop.is_set():
            if self._clock.monotonic_s() - self._looked_s > NOBODY_LOOKS_S:
                stop.wait(0.2)
                continue
            try:
                self._picture = self.take()
                with self._taken:
                    self._taken.notify_all()
            except TidemillError as error:
                log.warning("the store does not answer: %s", error)
                words = f"the store does not answer; figures stand still ({type(error).__name__})"
                self._picture = replace(self._picture, trouble=words)
            except Exception:
                log.exception("the picture could not be taken")
            stop.wait(self._settings.console.refresh_s)

    def take(self) -> Picture:
        """One fresh picture. Raises Retry or StoreError."""
        now_ms = self._clock.now_ms()
        from_ms = now_ms - self.minutes * 60_000
        since = {"from_ms": from_ms}
        series = series_of(self._store.rows(_WINDOWS, since))
        alarms = _by_pipeline(events_of(self._store.rows(_EVENTS, since)), lambda e: e.data.pipeline)
        job_steps = _by_pipeline(jobs_of(self._store.rows(_JOBS, since)), lambda s: s.pipeline)
        steps = _by_pipeline(rollouts_of(self._store.rows(_ROLLOUTS, since)), lambda s: s.pipeline)
        routes = {route.pipeline: route for route in _states(self._store.rows(_ROUTES), _route)}
        progress = {row["pipeline"]: JobProgress(**row) for row in self._store.rows(_PROGRESS, since)}
        decisions = latest(self._store, now_ms, SHOWN_DECISIONS)
        spend, a_day = spent(self._settings), allowed_a_day(self._settings)
        names = [*self._settings.pipelines, *sorted(set(series) - set(self._settings.pipelines))]
        pipelines = {
            name: Pipeline(
                name,
                self._settings.pipelines[name].description if name in self._settings.pipelines else "",
                series=series.get(name, {}),
                alarms=tuple(alarms.get(name, ())),
                jobs=latest_jobs(job_steps.get(name, ())),
                job_steps=tuple(job_steps.get(name, ())),
                rollouts=_latest(steps.get(name, ())),
                steps=tuple(steps.get(name, ())),
                decisions=tuple(decisions.get(name, ())),
                route=routes.get(name),
                progress=progress.get(name),
                spend=spend.get(name) if name in self._settings.pipelines else None,
                allowed_a_day=a_day,
                content_free=name in self._settings.pipelines and self._settings.pipelines[name].capture == "off",
            )
            for name in names
        }
        own = {"pipeline": SYSTEM, "from_ms": now_ms - SYSTEM_MS, "most": SHOWN_SYSTEM}
        system = tuple(events_of(self._store.rows(_SYSTEM, own)))
        return Picture(now_ms, from_ms, self._settings.windows.size_s, pipelines, system)


_job = Decoder[JobState](JobState)
_rollout = Decoder[RolloutState](RolloutState)
_route = Decoder[Route](Route)
_data = Decoder[ThresholdData](ThresholdData)


def series_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, tuple[Point, ...]]]]:
    """pipeline → metric → version → points; a version's variants are put together, weighted by their counts."""
    cells: dict[tuple[str, str, str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        cells[row["pipeline"], row["metric"], row["model_version"], row["start_ms"]].append(row)
    found: dict[str, dict[str, dict[str, list[Point]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for (pipeline, metric, version, start_ms), parts in sorted(cells.items()):
        found[pipeline][metric][version].append(_together(start_ms, metric, parts))
    return {
        pipeline: {
            metric: {version: tuple(points) for version, points in versions.items()}
            for metric, versions in metrics.items()
        }
        for pipeline, metrics in found.items()
    }


_SUMS = frozenset({"requests", "answers", "input_tokens", "cached_tokens", "output_tokens", "cost", "unpriced"})


def _together(start_ms: int, metric: str, parts: list[Mapping[str, Any]]) -> Point:
    n = sum(part["n"] for part in parts)
    known = [part for part in parts if part["value"] is not None]
    if not known:
        value = None
    elif metric in _SUMS:
        value = sum(part["value"] for part in known)
    else:
        weight = sum(part["n"] for part in known)
        value = sum(part["value"] * part["n"] for part in known) / weight if weight else known[0]["value"]
    biggest = max(parts, key=lambda part: part["n"])
    return Point(start_ms, value, n, biggest["p50"], biggest["p95"], biggest["end_ms"])


def events_of(rows: Iterable[Mapping[str, Any]]) -> list[ThresholdEvent]:
    """Threshold events from rows of table ``events``."""
    return [_event(row) for row in rows]


def jobs_of(rows: Iterable[Mapping[str, Any]]) -> list[JobState]:
    """States of jobs from rows with a ``state``."""
    return _states(rows, _job)


def latest_jobs(states: Iterable[JobState]) -> tuple[JobState, ...]:
    """The latest state of each job, in the order of their times."""
    latest: dict[str, JobState] = {}
    for state in states:
        if state.job_id not in latest or state.seq > latest[state.job_id].seq:
            latest[state.job_id] = state
    return tuple(sorted(latest.values(), key=lambda state: state.time_ms))


def rollouts_of(rows: Iterable[Mapping[str, Any]]) -> list[RolloutState]:
    """States of rollouts from rows with a ``state``."""
    return _states(rows, _rollout)


def _event(row: Mapping[str, Any]) -> ThresholdEvent:
    return ThresholdEvent(
        id=row["id"],
        source=row["source"],
        type=row["type"],
        subject=row["subject"],
        time="",
        time_ms=row["time_ms"],
        data=_data(row["data"].encode()),
    )


def _states(rows: Iterable[Mapping[str, Any]], decode: Decoder[Any]) -> list[Any]:
    return [decode(row["state"].encode()) for row in rows]


def _by_pipeline(items: Iterable[Any], key: Any) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        grouped[key(item)].append(item)
    return grouped


def _latest(steps: Iterable[RolloutState]) -> tuple[RolloutState, ...]:
    latest: dict[str, RolloutState] = {}
    for step in steps:
        if step.rollout_id not in latest or step.seq > latest[step.rollout_id].seq:
            latest[step.rollout_id] = step
    return tuple(sorted(latest.values(), key=lambda step: step.created_ms))
