"""Small values that the retraining tests share."""

from __future__ import annotations

from typing import Any, Literal

from retrain.datasets.rules import Rules
from retrain.policy import Trigger, by_alarm
from tidemill.events import JobState, ThresholdData, ThresholdEvent
from tidemill.settings import GateSettings, PipelineSettings, RetrainSettings

NOW = 1_800_000_000_000


def pipeline(**changes: Any) -> PipelineSettings:
    """A pipeline with small numbers; ``retrain`` and ``gate`` take what differs."""
    retrain: dict[str, Any] = {
        "min_fresh_labels": 300,
        "floor_labels": 100,
        "collect_deadline_s": 240,
        "cooldown_s": 60,
    }
    retrain |= changes.pop("retrain", {})
    gate: dict[str, Any] = {"min_quality": 0.6, "min_gain": 0.05, "min_verified": 20, "golden_set": "golden.jsonl"}
    gate |= changes.pop("gate", {})
    return PipelineSettings(
        engine="local",
        champion="schedule-v1",
        retrain=RetrainSettings(**retrain),
        gate=GateSettings(**gate),
        **changes,
    )


def rules(**changes: Any) -> Rules:
    """Rules of small data sets."""
    given: dict[str, Any] = {
        "holdout_share": 0.3,
        "replay_share": 0.5,
        "trusted_sources": ("audit",),
        "floor_labels": 10,
        "min_verified": 5,
        "metric": "exact_match",
        "max_tenant_share": 0.5,
        "max_source_share": 0.8,
        "max_contradiction": 0.1,
        "max_wrong_share": 0.05,
        "near_duplicate": 0.9,
        "scrub": True,
    }
    return Rules(**(given | changes))


def alarm(
    kind: Literal["quality", "drift", "latency"] = "quality",
    state: Literal["firing", "resolved"] = "firing",
    alarm_id: str = "alarm-1",
    name: str = "schedule",
    time_ms: int = NOW,
) -> ThresholdEvent:
    """A threshold event of one pipeline; the change is ten seconds before it."""
    return ThresholdEvent(
        id=f"{alarm_id}-{state}",
        source="tidemill",
        type="tidemill.threshold.breached" if state == "firing" else "tidemill.threshold.resolved",
        subject=f"{name}//{kind}",
        time="2027-01-15T08:00:00Z",
        time_ms=time_ms,
        data=ThresholdData(
            state=state,
            rule=kind,
            kind=kind,
            severity="page",
            pipeline=name,
            metric="quality" if kind == "quality" else "input_chars",
            value=0.2,
            reference=0.9,
            window_start_ms=time_ms - 5_000,
            window_end_ms=time_ms,
            change_time_ms=time_ms - 10_000,
            alarm_id=alarm_id,
            started_ms=time_ms,
        ),
    )


def trigger(**changes: Any) -> Trigger:
    """What ``alarm(**changes)`` asks for."""
    made = by_alarm(alarm(**changes))
    assert made is not None
    return made


def collecting(**changes: Any) -> JobState:
    """A job that waits for labels."""
    given: dict[str, Any] = {
        "job_id": "job-1",
        "seq": 0,
        "time_ms": NOW,
        "pipeline": "schedule",
        "phase": "collecting",
        "reason": "quality alarm",
        "alarm_id": "alarm-1",
        "created_ms": NOW,
        "deadline_ms": NOW + 240_000,
        "needed_labels": 300,
        "champion_version": "schedule-v1",
        "change_time_ms": NOW - 10_000,
        "figures": {"since_ms": NOW - 10_000},
    }
    return JobState(**(given | changes))
