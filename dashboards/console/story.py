"""All that is kept of one alarm: its two ends, the figure around it, what was done about it, its evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from dashboards.console.feed import events_of, jobs_of, latest_jobs, rollouts_of, series_of
from dashboards.console.muted import muted
from dashboards.console.view import Point
from tidemill.clock import Clock
from tidemill.events import JobState, RolloutState, ThresholdEvent
from tidemill.evidence import Evidence, Example, Slice, evidence_file, read, report_page
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings
from tidemill.silences import Mutes, labels_of
from tidemill.slices import ATTRIBUTE

AROUND_MS = 600_000
"""What is shown of the figure before the change and after the alarm; jobs so near belong to the same trouble."""
_LATER_MS = 6 * 3_600_000
_ALARM_ID = re.compile(r"[0-9a-f]{8,64}")
_ENDS = """
SELECT id, source, type, subject, time_ms, data FROM events
WHERE position(data, {alarm:String}) > 0 ORDER BY time_ms, id LIMIT 1 BY id LIMIT 100
"""
_WINDOWS = """
SELECT pipeline, metric, model_version, start_ms, end_ms, value, p50, p95, n FROM windows
WHERE pipeline = {pipeline:String} AND metric = {metric:String} AND role = 'client' AND slice = {slice:String}
  AND start >= fromUnixTimestamp64Milli({from_ms:Int64}) AND start < fromUnixTimestamp64Milli({to_ms:Int64})
ORDER BY start_ms DESC, revision DESC LIMIT 1 BY model_version, variant, start_ms LIMIT 20000
"""
_JOBS = """
SELECT state FROM jobs
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({from_ms:Int64})
ORDER BY time_ms, seq LIMIT 1 BY job_id, seq LIMIT 2000
"""
_ROLLOUTS = """
SELECT state FROM rollouts
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({from_ms:Int64})
ORDER BY time_ms, seq LIMIT 1 BY rollout_id, seq LIMIT 2000
"""


@dataclass(frozen=True)
class Story:
    """One alarm as its page tells it."""

    alarm: ThresholdEvent
    """Its beginning; its end where the beginning is not kept any more."""
    now_ms: int
    resolved: ThresholdEvent | None = None
    points: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    """The metric's windows around the alarm, by version."""
    statistic: str = ""
    """Which figure of a window the alarm's rule looks at; empty: no rule of the settings."""
    jobs: tuple[JobState, ...] = ()
    job_steps: tuple[JobState, ...] = ()
    """Every recorded state of the jobs, oldest first."""
    steps: tuple[RolloutState, ...] = ()
    neighbour: str = ""
    """The other alarm of the same trouble that the jobs were opened by; empty: they are this alarm's own."""
    evidence: Evidence | None = None
    has_report: bool = False
    muted: tuple[str, ...] = ()
    """What keeps it from being told now, in words; empty: nothing, or nothing is known."""


def is_alarm_id(text: str) -> bool:
    """Whether a text can be the id of an alarm (and so a part of a file's name)."""
    return _ALARM_ID.fullmatch(text) is not None


def told(settings: Settings, store: Store, clock: Clock, alarm_id: str, mutes: Mutes | None = None) -> Story | None:
    """The story of an alarm; None where nothing is kept of it. Blocks. Raises Retry or StoreError."""
    if not is_alarm_id(alarm_id):
        return None
    rows = store.rows(_ENDS, {"alarm": alarm_id})
    ends = [event for event in events_of(rows) if event.data.alarm_id == alarm_id]
    if not ends:
        return None
    firing = next((event for event in ends if event.data.state == "firing"), ends[0])
    resolved = next((event for event in ends if event.data.state == "resolved"), None)
    data, now_ms = firing.data, clock.now_ms()
    changed_ms = data.change_time_ms if data.change_time_ms is not None else data.window_start_ms
    until_ms = resolved.time_ms if resolved is not None else min(now_ms, firing.time_ms + _LATER_MS)
    given = {"pipeline": data.pipeline, "metric": data.metric, "slice": data.slice}
    given |= {"from_ms": changed_ms - AROUND_MS, "to_ms": until_ms + AROUND_MS}  # type: ignore[dict-item]
    job_steps = jobs_of(store.rows(_JOBS, given))
    jobs, neighbour = _answers_to(data.alarm_id, latest_jobs(job_steps), data.started_ms, until_ms)
    ids = {job.job_id for job in jobs}
    steps = [step for step in rollouts_of(store.rows(_ROLLOUTS, given)) if step.job_id in ids]
    pipeline = settings.pipelines.get(data.pipeline)
    rules = {rule.name: rule.statistic for rule in pipeline.rules} if pipeline is not None else {}
    return Story(
        alarm=firing,
        now_ms=now_ms,
        resolved=resolved,
        points=series_of(store.rows(_WINDOWS, given)).get(data.pipeline, {}).get(data.metric, {}),
        statistic=rules.get(data.rule, ""),
        jobs=jobs,
        job_steps=tuple(step for step in job_steps if step.job_id in ids),
        steps=tuple(steps),
        neighbour=neighbour,
        evidence=evidence_of(settings, alarm_id),
        muted=muted(mutes, now_ms, labels_of(data)) if resolved is None else (),
        has_report=report_file(settings, alarm_id) is not None,
    )


def evidence_of(settings: Settings, alarm_id: str) -> Evidence | None:
    """The evidence of an alarm; without texts and attributes where its pipeline keeps none any more."""
    found = read(evidence_file(settings.data_dir, alarm_id))
    if found is None or not _is_withheld(settings, found):
        return found
    telling, others = ([each for each in part if not _is_attribute(each)] for part in _parted(found))
    bare = [Example(call_id=each.call_id, time_ms=each.time_ms, figure=each.figure) for each in found.examples]
    return replace(found, capture="off", slices=(*telling, *others), telling=len(telling), examples=tuple(bare))


def report_file(settings: Settings, alarm_id: str) -> Path | None:
    """The report of an alarm; None where the id is none, there is no report, or it has texts of a pipeline that keeps
    none any more.
    """
    file = report_page(settings.data_dir, alarm_id)
    if not is_alarm_id(alarm_id) or not file.is_file():
        return None
    found = read(evidence_file(settings.data_dir, alarm_id))
    return None if found is not None and _is_withheld(settings, found) else file


def gate_file(settings: Settings, job_id: str) -> Path | None:
    """The gate's report on a job's candidate; None where the id is none, or there is no report."""
    file = settings.data_dir / "jobs" / job_id / "gate" / "report.html"
    return file if is_alarm_id(job_id) and file.is_file() else None


def _is_withheld(settings: Settings, found: Evidence) -> bool:
    pipeline = settings.pipelines.get(found.pipeline)
    return pipeline is not None and pipeline.capture == "off" and found.capture != "off"


def _parted(found: Evidence) -> tuple[tuple[Slice, ...], tuple[Slice, ...]]:
    return found.slices[: found.telling], found.slices[found.telling :]


def _is_attribute(each: Slice) -> bool:
    return each.dimension.startswith(ATTRIBUTE)


def _answers_to(
    alarm_id: str, jobs: Iterable[JobState], started_ms: int, until_ms: int
) -> tuple[tuple[JobState, ...], str]:
    """The jobs that the alarm opened; else those that another alarm of the same time did, and that alarm."""
    jobs = [job for job in jobs if job.alarm_id]
    own = tuple(job for job in jobs if job.alarm_id == alarm_id)
    near = [job for job in jobs if started_ms - AROUND_MS <= job.created_ms <= until_ms and job.phase != "declined"]
    if own or not near:
        return own, ""
    other = near[0].alarm_id
    return tuple(job for job in near if job.alarm_id == other), other if is_alarm_id(other) else ""
