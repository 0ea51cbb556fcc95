"""New and next states of a job: the only place that builds ``JobState``. Pure."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from retrain.policy import Decision, Trigger, job_id_of
from tidemill.events import JobState, StationTime, ThresholdEvent
from tidemill.events.lifecycle import Station

SINCE = "since_ms"
"""Figure: labels of calls from then on are fresh."""
UNTIL = "until_ms"
"""Figure: the data set ends there."""
GPU_SECONDS = "gpu_seconds"
"""Figure: GPUs held times seconds, over all tries of all works that are behind the job."""


def from_trigger(
    trigger: Trigger, decision: Decision, now_ms: int, champion: str, before: JobState | None = None, attempt: int = 0
) -> JobState:
    """The state that records a decision on a trigger.

    ``before``: it had been declined for a while; ``attempt``: that many jobs of this trigger were in vain.
    """
    opened = decision.act == "open"
    state = JobState(
        job_id=job_id_of(trigger.trigger_id, attempt),
        seq=0 if before is None else before.seq + 1,
        time_ms=now_ms,
        pipeline=trigger.pipeline,
        phase="collecting" if opened else "declined",
        reason=decision.reason,
        alarm_id=trigger.trigger_id,
        created_ms=now_ms,
        deadline_ms=decision.deadline_ms if opened else decision.again_ms,
        needed_labels=decision.needed,
        champion_version=champion,
        stations=(StationTime(station="data", started_ms=max(now_ms, trigger.time_ms)),) if opened else (),
        figures={SINCE: trigger.since_ms},
    )
    return state if trigger.alarm is None else _of_alarm(state, trigger, trigger.alarm)


def _of_alarm(state: JobState, trigger: Trigger, event: ThresholdEvent) -> JobState:
    """With what the alarm says, and with the stations that led to it."""
    data, figures = event.data, state.figures | {"reference": event.data.reference}
    if data.change_time_ms is not None:
        figures["change_to_alarm_s"] = (event.time_ms - data.change_time_ms) / 1000
    led = (
        StationTime(station="watch", started_ms=min(trigger.since_ms, event.time_ms), ended_ms=event.time_ms),
        StationTime(station="alarm", started_ms=event.time_ms, ended_ms=max(state.time_ms, event.time_ms)),
    )
    return replace(
        state,
        alarm_metric=data.metric,
        alarm_value=data.value,
        change_time_ms=data.change_time_ms,
        stations=(*led, *state.stations) if state.stations else (),
        figures=figures,
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
