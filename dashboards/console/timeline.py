"""What happened, newest first, in sentences. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.console.view import Pipeline
from tidemill.events import ThresholdData


@dataclass(frozen=True)
class Entry:
    """One line of the timeline."""

    time_ms: int
    icon: str
    colour: str
    text: str
    link: str = ""


def timeline(pipeline: Pipeline, limit: int = 40) -> list[Entry]:
    """Alarms, jobs and rollout steps of one pipeline, newest first."""
    entries = [*_alarms(pipeline), *_jobs(pipeline), *_steps(pipeline)]
    return sorted(entries, key=lambda entry: entry.time_ms, reverse=True)[:limit]


def _alarms(pipeline: Pipeline) -> list[Entry]:
    found = []
    for event in pipeline.alarms:
        data = event.data
        firing = data.state == "firing"
        notice = data.severity == "info" or data.kind == "drift" or data.rule.startswith("drift_")
        icon, colour = ("info", "amber") if notice else ("notifications_active", "red")
        if not firing:
            icon, colour = "check_circle", "teal"
        text = data.summary or f"{data.metric} {'breached' if firing else 'recovered'}"
        text += _evidence(data) if firing else ""
        link = f"/alarms/{data.alarm_id}" if firing else ""
        found.append(Entry(event.time_ms, icon, colour, text, link))
    return found


def _evidence(data: ThresholdData) -> str:
    """What the detector had against there being no change, and what is wrong with its assumptions."""
    told = ""
    if data.statistic is not None and data.statistic_limit is not None and data.kind != "system":
        told = f"; wealth {data.statistic:,.0f}, it alarms at {data.statistic_limit:,.0f}"
    return told + (f"; {data.warning}" if data.warning and data.warning not in data.summary else "")


def _jobs(pipeline: Pipeline) -> list[Entry]:
    icons = {
        "declined": ("block", "grey"),
        "rejected": ("cancel", "red"),
        "failed": ("error", "red"),
        "registered": ("verified", "teal"),
    }
    found = []
    for job in pipeline.jobs:
        icon, colour = icons.get(job.phase, ("model_training", "purple"))
        found.append(Entry(job.time_ms, icon, colour, f"retraining {job.phase}: {job.reason}"))
        found += [
            Entry(verdict.time_ms, "fact_check", "grey", f"gate, {verdict.check}: {verdict.outcome}, {verdict.reason}")
            for verdict in job.verdicts
            if verdict.time_ms
        ]
    return found


def _steps(pipeline: Pipeline) -> list[Entry]:
    found = []
    before: tuple[str, str, int] = ("", "", -1)
    for step in pipeline.steps:
        now = (step.rollout_id, step.phase, step.weight)
        if now == before:
            continue
        before = now
        bad = step.phase in ("rolled_back", "failed")
        good = step.phase == "champion"
        icon = "undo" if bad else "star" if good else "trending_up"
        colour = "red" if bad else "teal"
        text = f"{step.candidate_version} {step.phase.replace('_', ' ')} at {step.weight} %: {step.reason}"
        found.append(Entry(step.time_ms, icon, colour, text))
    return found
