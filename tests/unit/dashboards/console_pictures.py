"""Pictures for the console's tests: a pipeline in the middle of a turn."""

from __future__ import annotations

from typing import Any, Literal

from dashboards.console.view import Picture, Pipeline, Point
from tidemill.events import (
    Arm,
    JobState,
    RetrainDecision,
    RolloutState,
    Route,
    Score,
    StationTime,
    ThresholdData,
    ThresholdEvent,
    Verdict,
)

NOW = 1_763_800_000_000
FROM = NOW - 600_000
CHANGE = NOW - 300_000
ALARM_ID = "a" * 32


def alarm(state: str = "firing", kind: str = "quality", summary: str = "quality fell") -> ThresholdEvent:
    data = ThresholdData(
        state=state,  # type: ignore[arg-type]
        rule=kind,
        kind=kind,  # type: ignore[arg-type]
        severity="info" if kind == "drift" else "page",
        pipeline="schedule",
        metric="quality",
        value=0.1,
        reference=0.97,
        window_start_ms=CHANGE,
        window_end_ms=CHANGE + 5_000,
        change_time_ms=CHANGE,
        alarm_id=ALARM_ID,
        started_ms=CHANGE + 15_000,
        summary=summary,
    )
    offset = 15_000 if state == "firing" else 200_000
    return ThresholdEvent(
        id=f"{kind}-{state}",
        source="test",
        type="tidemill.threshold.breached",
        subject="schedule//quality",
        time="",
        time_ms=CHANGE + offset,
        data=data,
    )


def job(phase: str, **fields: Any) -> JobState:
    made = {
        "job_id": "j1",
        "seq": 3,
        "time_ms": CHANGE + 60_000,
        "pipeline": "schedule",
        "phase": phase,
        "reason": f"it is {phase}",
        "alarm_id": ALARM_ID,
        "alarm_metric": "quality",
        "alarm_value": 0.1,
        "created_ms": CHANGE + 16_000,
        "fresh_labels": 120,
        "needed_labels": 300,
        "scores": {"candidate/verified": Score(n=60, mean=0.93), "champion/verified": Score(n=60, mean=0.08)},
        "stations": (StationTime(station="data", started_ms=CHANGE + 16_000, ended_ms=CHANGE + 76_000),),
        "verdicts": (Verdict(check="verified", outcome="pass", reason="0.93 against 0.08", time_ms=CHANGE + 59_000),),
    }
    return JobState(**(made | fields))  # type: ignore[arg-type]


def decision(act: Literal["ignore", "decline", "open"] = "decline", **fields: Any) -> RetrainDecision:
    made: dict[str, Any] = {
        "decision_id": "d1",
        "trigger_id": ALARM_ID,
        "seq": 0,
        "time_ms": CHANGE + 16_000,
        "pipeline": "schedule",
        "trigger": "quality",
        "act": act,
        "cause": "cooldown",
        "reasons": ("cooling down for another 600 s", "it does not pay"),
        "signals": {"loss": 0.87, "fresh_labels": 120, "needed_labels": 300, "gain_usd": None, "budget_gpu_s": 36_000},
        "again_ms": CHANGE + 616_000,
    }
    return RetrainDecision(**(made | fields))


def rollout(phase: str, weight: int = 25, **fields: Any) -> RolloutState:
    made = {
        "rollout_id": "r1",
        "seq": 2,
        "time_ms": CHANGE + 200_000,
        "pipeline": "schedule",
        "phase": phase,
        "reason": f"it is {phase}",
        "job_id": "j1",
        "candidate_version": "schedule-v2",
        "candidate_adapter_dir": "a",
        "champion_version": "schedule-v1",
        "steps": (25, 50, 100),
        "weight": weight,
        "step_started_ms": CHANGE + 190_000,
        "created_ms": CHANGE + 150_000,
        "stations": (StationTime(station="canary", started_ms=CHANGE + 190_000),),
    }
    return RolloutState(**(made | fields))  # type: ignore[arg-type]


def route() -> Route:
    arm = Arm(variant="champion", model_version="schedule-v1", model="schedule-v1", engine="local", weight=100)
    return Route(pipeline="schedule", epoch=1, time_ms=FROM, arms=(arm,))


def points(value: float, n: int = 10) -> tuple[Point, ...]:
    return tuple(Point(start, value, n, value * 0.5, value * 1.5) for start in range(FROM, NOW, 5_000))


def pipeline(**fields: Any) -> Pipeline:
    series: dict[str, Any] = {
        "quality": {"schedule-v1": points(0.9)},
        "e2e_ms": {"schedule-v1": points(200.0)},
        "answers": {"schedule-v1": points(30.0)},
        "requests": {"": points(30.0)},
        "input_unseen_share": {"": points(0.1)},
    }
    defaults: dict[str, Any] = {"series": series, "route": route()}
    return Pipeline("schedule", "for tests", **(defaults | fields))


def picture(**fields: Any) -> Picture:
    return Picture(NOW, FROM, 5, {"schedule": pipeline(**fields)})
