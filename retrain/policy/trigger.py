"""What asks for a retraining: an alarm, a schedule, the age of the champion's data, or a person. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill.clock import rfc3339
from tidemill.events import ThresholdEvent
from tidemill.events.lifecycle import TriggerKind
from tidemill.ids import derived_id

RETRAINING_KINDS = ("quality", "drift")
"""Kinds of alarm that may start a retraining; the others are not about the model."""


def job_id_of(trigger_id: str, attempt: int = 0) -> str:
    """The id of the job a trigger causes: seeing it again finds the same job. ``attempt``: after that many in vain."""
    return derived_id("job", trigger_id, attempt) if attempt else derived_id("job", trigger_id)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One thing that asks for a retraining; the same cause has the same id whenever it is looked at."""

    trigger_id: str
    kind: TriggerKind
    pipeline: str
    time_ms: int
    """When it began to ask."""
    since_ms: int
    """Labels of calls from then on are fresh."""
    words: str
    """Why it asks."""
    until_ms: int | None = None
    """Afterwards it is passed over; None: it asks as long as it holds."""
    alarm: ThresholdEvent | None = None

    @property
    def repeats(self) -> bool:
        """Whether it may cause another job after one in vain; a schedule comes round, and a person asks again."""
        return self.kind in ("quality", "drift", "age")

    @property
    def slice(self) -> str:
        """The part of the traffic that it is about; empty: all of it."""
        return self.alarm.data.slice if self.alarm is not None else ""

    @property
    def loss(self) -> float | None:
        """How far quality has fallen, as an alarm on it says; None: it does not."""
        if self.alarm is None or self.kind != "quality":
            return None
        data = self.alarm.data
        return None if data.value is None or data.reference is None else data.reference - data.value


def by_alarm(event: ThresholdEvent) -> Trigger | None:
    """None where it does not fire, or is not about the model."""
    data = event.data
    if data.state != "firing" or data.kind not in RETRAINING_KINDS:
        return None
    return Trigger(
        trigger_id=data.alarm_id,
        kind="quality" if data.kind == "quality" else "drift",
        pipeline=data.pipeline,
        time_ms=event.time_ms,
        since_ms=data.change_time_ms if data.change_time_ms is not None else data.window_start_ms,
        words=f"{data.kind} alarm: {_fall(event)}",
        alarm=event,
    )


def by_schedule(pipeline: str, occurrence_ms: int, since_ms: int, slack_s: float) -> Trigger:
    """One occurrence of ``trigger.schedule``."""
    return Trigger(
        trigger_id=derived_id("schedule", pipeline, occurrence_ms),
        kind="schedule",
        pipeline=pipeline,
        time_ms=occurrence_ms,
        since_ms=since_ms,
        words=f"scheduled for {rfc3339(occurrence_ms)}",
        until_ms=occurrence_ms + round(slack_s * 1000),
    )


def by_age(pipeline: str, champion: str, data_end_ms: int, days: float) -> Trigger:
    """The champion's data, which ended then, is older than so many days."""
    return Trigger(
        trigger_id=derived_id("age", pipeline, champion),
        kind="age",
        pipeline=pipeline,
        time_ms=data_end_ms + round(days * 86_400_000),
        since_ms=data_end_ms,
        words=f"the data of {champion} ends {rfc3339(data_end_ms)}, more than {days:g} days ago",
    )


def by_order(order_id: str, pipeline: str, time_ms: int, since_ms: int) -> Trigger:
    """A person's order."""
    return Trigger(
        trigger_id=order_id,
        kind="order",
        pipeline=pipeline,
        time_ms=time_ms,
        since_ms=since_ms,
        words="ordered by hand",
    )


def _fall(event: ThresholdEvent) -> str:
    data = event.data
    if data.value is None:
        return data.summary or data.metric
    before = "" if data.reference is None else f" from {data.reference:.2f}"
    return f"{data.metric} fell{before} to {data.value:.2f}" if data.kind == "quality" else f"{data.metric} drifted"
