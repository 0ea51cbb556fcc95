"""New and next states of a job: the only place that builds ``JobState``. Pure."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from retrain.policy import Decision, job_id_of
from tidemill.events import JobState, StationTime, ThresholdEvent
from tidemill.events.lifecycle import Station

SINCE = "since_ms"
"""Figure: labels of calls from then on are fresh."""
UNTIL = "until_ms"
"""Figure: the data set ends there."""
GPU_SECONDS = "gpu_seconds"
"""Figure: GPUs held times seconds, over all tries of all works that are behind the job."""


def changed_ms(event: ThresholdEvent) -> int:
    """When what an alarm is about changed, as far as it says; labels of calls from then on are fresh."""
    data = event.data
    return data.change_time_ms if data.change_time_ms is not None else data.window_start_ms


def from_alarm(
    event: ThresholdEvent, decision: Decision, now_ms: int, champion: str, before: JobState | None, attempt: int = 0
) -> JobState:
    """The state that records a decision on an alarm.

    ``before``: it had been declined for a while; ``attempt``: that many jobs of this alarm were in vain.
    """
    data, since = event.data, changed_ms(event)
    figures: dict[str, float | None] = {SINCE: since, "reference": data.reference}
    if data.change_time_ms is not None:
        figures["change_to_alarm_s"] = (event.time_ms - data.change_time_ms) / 1000
    stations: tuple[StationTime, ...] = ()
    if decision.act == "open":
        stations = (
            StationTime(station="watch", started_ms=min(since, event.time_ms), ended_ms=event.time_ms),
            StationTime(station="alarm", started_ms=event.time_ms, ended_ms=max(now_ms, event.time_ms)),
            StationTime(station="data", started_ms=max(now_ms, event.time_ms)),
        )
    return JobState(
        job_id=job_id_of(data.alarm_id, attempt),
        seq=0 if before is None else before.seq + 1,
        time_ms=now_ms,
        pipeline=data.pipeline,
        phase="collecting" if decision.act == "open" else "declined",
        reason=decision.reason,
        alarm_id=data.alarm_id,
        alarm_metric=data.metric,
        alarm_value=data.value,
        change_time_ms=data.change_time_ms,
        created_ms=now_ms,
        deadline_ms=decision.deadline_ms if decision.act == "open" else decision.again_ms,
        needed_labels=decision.needed,
        champion_version=champion,
        stations=stations,
        figures=figures,
    )


def from_order(order_id: str, pipeline: str, decision: Decision, now_ms: int, champion: str, since_ms: int) -> JobState:
    """The state that records a decision on a person's order."""
    opened = decision.act == "open"
    return JobState(
        job_id=job_id_of(order_id),
        seq=0,
        time_ms=now_ms,
        pipeline=pipeline,
        phase="collecting" if opened else "declined",
        reason=decision.reason,
        alarm_id=order_id,
        created_ms=now_ms,
        deadline_ms=decision.deadline_ms,
        needed_labels=decision.needed,
        champion_version=champion,
        stations=(StationTime(station="data", started_ms=now_ms),) if opened else (),
        figures={SINCE: since_ms},
    )


def following(job: JobState, now_ms: int, **changes: Any) -> JobState:
    """The state after ``job``; ``figures`` given are added to those there."""
    if "figures" in changes:
        changes["figures"] = job.figures | changes["figures"]
    return replace(job, seq=job.seq + 1, time_ms=max(now_ms, job.time_ms), **changes)


def entering(job: JobState, station: Station | None, now_ms: int) -> tuple[StationTime, ...]:
    """The stations with the open one closed and ``station`` entered (None: the job's last one is left)."""
    closed = tuple(
        replace(known, ended_ms=max(now_ms, known.started_ms)) if known.ended_ms is None else known
        for known in job.stations
    )
    return closed if station is None else (*closed, StationTime(station=station, started_ms=now_ms))


def ended(job: JobState, phase: str, reason: str, now_ms: int, **changes: Any) -> JobState:
    """The job's last state."""
    stations = entering(job, None, now_ms)
    return following(job, now_ms, phase=phase, reason=reason[:1000], deadline_ms=None, stations=stations, **changes)
