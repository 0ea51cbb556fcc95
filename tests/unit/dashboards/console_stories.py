"""Stories of alarms for the console's tests."""

from __future__ import annotations

from typing import Any

from dashboards.console.story import Story
from dashboards.console.view import Point
from tests.unit.dashboards.console_pictures import ALARM_ID, CHANGE, FROM, NOW, alarm, job, rollout
from tidemill.evidence import Evidence, Example, Side, Slice

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)> \u202etxt"


def some_slice(**fields: Any) -> Slice:
    made: dict[str, Any] = {
        "dimension": "tenant",
        "value": "acme",
        "calls_before": 400,
        "calls_after": 60,
        "share_before": 0.2,
        "share_after": 0.24,
        "mean_before": 0.95,
        "mean_after": 0.1,
        "within": -0.187,
        "mix": -0.013,
        "explains": 0.98,
        "p_value": 0.002,
    }
    return Slice(**(made | fields))


def some_evidence(**fields: Any) -> Evidence:
    regions = (("eu", 0.12, -0.11, 0.74, 0.48), ("us", 0.05, -0.07, 0.75, 0.36), ("apac", -0.02, -0.018, 0.77, 0.16))
    others = [
        some_slice(
            dimension="attributes.region",
            value=value,
            explains=explains,
            within=within,
            mean_after=mean,
            share_before=share,
            share_after=share,
        )
        for value, explains, within, mean, share in regions
    ]
    questions = ("can we do half past three the day after tomorrow, say room four?", HOSTILE)
    made: dict[str, Any] = {
        "alarm_id": ALARM_ID,
        "pipeline": "schedule",
        "metric": "quality",
        "figure": "quality",
        "made_ms": CHANGE + 45_000,
        "change_ms": CHANGE,
        "capture": "full",
        "before": Side(from_ms=FROM, until_ms=CHANGE, calls=2000, known=2000, mean=0.95),
        "after": Side(from_ms=CHANGE, until_ms=CHANGE + 40_000, calls=250, known=250, mean=0.75),
        "found": "slice",
        "slices": (some_slice(), *others, some_slice(value="", rest=True, explains=None, within=-0.002, mix=0.0)),
        "telling": 1,
        "examples": tuple(
            Example(
                call_id=f"0199-{number}",
                time_ms=CHANGE + 30_000 + number,
                figure=0.0,
                slices={"tenant": "acme", "model_version": "schedule-v1", "attributes.region": "eu"},
                question=question,
                answer="mon 15:30 room 4",
                expected="tue 15:30 room 4",
            )
            for number, question in enumerate(questions)
        ),
    }
    return Evidence(**(made | fields))


def story(**fields: Any) -> Story:
    points = tuple(
        Point(start, 0.95 if start < CHANGE else 0.75 if start < CHANGE + 150_000 else 0.94, 30, 0.9, 0.99)
        for start in range(FROM, NOW, 5_000)
    )
    steps = (
        rollout("shadow", 0, time_ms=CHANGE + 160_000),
        rollout("canary"),
        rollout("champion", 100, time_ms=CHANGE + 230_000),
    )
    made: dict[str, Any] = {
        "alarm": alarm(summary="schedule: quality (exact_match) fell from 0.95 to 0.75 since 08:21:40 UTC"),
        "now_ms": NOW,
        "resolved": alarm("resolved", summary="schedule: quality is back at 0.94"),
        "points": {"schedule-v1": points},
        "jobs": (job("registered"),),
        "steps": steps,
        "evidence": some_evidence(),
        "has_report": True,
    }
    return Story(**(made | fields))
