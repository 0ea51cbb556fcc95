"""What happened, newest first, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dashboards.console.view import Picture, Pipeline
from tidemill.events import JobState, OrderTaken, RolloutState, ThresholdData, ThresholdEvent
from tidemill.events.lifecycle import Hold, JobPhase, RolloutPhase


@dataclass(frozen=True)
class Entry:
    """One line of the timeline."""

    time_ms: int
    icon: str
    colour: str
    text: str
    link: str = ""
    link_words: str = "why?"


def timeline(pipeline: Pipeline, limit: int = 40) -> list[Entry]:
    """Alarms, jobs and rollout steps of one pipeline, newest first."""
    entries = [*_alarms(pipeline.alarms), *_jobs(pipeline), *_steps(pipeline)]
    return sorted(entries, key=lambda entry: entry.time_ms, reverse=True)[:limit]


def of_system(picture: Picture) -> list[Entry]:
    """Alarms about the deployment itself, newest first."""
    return sorted(_alarms(picture.system), key=lambda entry: entry.time_ms, reverse=True)


def _alarms(events: Iterable[ThresholdEvent]) -> list[Entry]:
    found = []
    for event in events:
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
        told = f"; the detector stood at {data.statistic:,.0f}, it alarms at {data.statistic_limit:,.0f}"
    return told + (f"; {data.warning}" if data.warning and data.warning not in data.summary else "")


def _jobs(pipeline: Pipeline) -> list[Entry]:
    found = []
    for job in pipeline.jobs:
        before = [step for step in pipeline.job_steps if step.job_id == job.job_id and step.seq < job.seq]
        found += [_job(state) for state in _phases(before, job)]
        found += [
            Entry(verdict.time_ms, "fact_check", "grey", f"gate, {verdict.check}: {verdict.outcome}, {verdict.reason}")
            for verdict in job.verdicts
            if verdict.time_ms
        ]
    return found


def _phases(before: list[JobState], job: JobState) -> list[JobState]:
    """The first state of each phase of a job, and its state now where that says more."""
    firsts: dict[JobPhase, JobState] = {}
    for state in (*before, job):
        firsts.setdefault(state.phase, state)
    said = firsts[job.phase].reason.startswith(job.reason)
    return [*firsts.values(), *([] if said else [job])]


def _job(state: JobState) -> Entry:
    icons = {
        "declined": ("block", "grey"),
        "rejected": ("cancel", "red"),
        "failed": ("error", "red"),
        "registered": ("verified", "teal"),
    }
    icon, colour = icons.get(state.phase, ("model_training", "purple"))
    link = f"/gate/{state.job_id}" if state.phase in ("registered", "rejected") and state.verdicts else ""
    about = f" for the alarm on {state.alarm_metric}" if state.phase == "declined" and state.alarm_metric else ""
    text = f"{_JOB_WORDS[state.phase]}{about}: {state.reason}"
    return Entry(state.time_ms, icon, colour, text, link, "the gate's report")


def _steps(pipeline: Pipeline) -> list[Entry]:
    found = []
    before: tuple[str, str, int, str] = ("", "", -1, "")
    told: set[str] = set()
    for step in pipeline.steps:
        for order in step.orders:
            if order.order_id not in told:
                told.add(order.order_id)
                found.append(Entry(order.time_ms, "person", "indigo", f"{step.candidate_version}: {ordered(order)}"))
        now = (step.rollout_id, step.phase, step.weight, step.hold)
        if now == before:
            continue
        before = now
        bad = step.phase in ("rolled_back", "failed")
        good = step.phase == "champion"
        icon = "undo" if bad else "star" if good else "pause" if step.hold else "trending_up"
        colour = "red" if bad else "teal"
        found.append(Entry(step.time_ms, icon, colour, f"{standing(step)}: {step.reason}"))
    found += [
        Entry(step.time_ms, "summarize", "teal", f"this turn: {step.summary}")
        for number, step in enumerate(pipeline.steps)
        if step.summary and all(step.rollout_id != s.rollout_id or not s.summary for s in pipeline.steps[:number])
    ]
    return found


_JOB_WORDS: dict[JobPhase, str] = {
    "declined": "no retraining",
    "collecting": "retraining collects labels",
    "snapshot": "retraining freezes its data",
    "training": "retraining trains an adapter",
    "gating": "retraining has its candidate judged by the gate",
    "approving": "retraining has its candidate wait for approval",
    "registered": "retraining made a new version",
    "rejected": "retraining ended, its candidate did not pass the gate",
    "failed": "retraining failed",
}
_STANDING: dict[RolloutPhase, str] = {
    "pending": "is on its way into the engine",
    "shadow": "is the shadow (it answers, but is not shown to clients)",
    "canary": "is the canary",
    "promoting": "takes over",
    "champion": "is the champion",
    "rolled_back": "was rolled back",
    "failed": "failed",
}


HELD: dict[Hold, str] = {
    "paused": "paused by order",
    "frozen": "held by a freeze window",
    "blind": "held: its figures cannot be seen",
    "inconclusive": "held: nothing is proven yet",
}


def standing(rollout: RolloutState) -> str:
    """Where the candidate of a rollout stands, in words."""
    share = f" with {rollout.weight} % of the traffic" if rollout.phase == "canary" else ""
    held = f", {HELD[rollout.hold]}" if rollout.hold else ""
    return f"{rollout.candidate_version} {_STANDING[rollout.phase]}{share}{held}"


def ordered(order: OrderTaken) -> str:
    """A person's order, and what became of it, in words."""
    refused = f"; refused: {order.refused}" if order.refused else ""
    return f"{order.by or 'somebody'} ordered {order.act}: {order.reason}{refused}"


def compared(rollout: RolloutState) -> str:
    """Both arms of the step under way beside each other, in words; empty where nothing was compared yet."""
    figures = rollout.figures
    shown = [("quality", "mean", "{:.2f}"), *((name, name, "{:.4g}") for name in ("ttft_ms", "e2e_ms"))]
    pairs = [(word, form, figures.get(f"candidate_{of}"), figures.get(f"champion_{of}")) for word, of, form in shown]
    parts = [f"{word} {form.format(a)} beside {form.format(b)}" for word, form, a, b in pairs if None not in (a, b)]
    if answers := figures.get("candidate_answers"):
        parts.append(f"{figures.get('candidate_failed') or 0:.0f} of {answers:.0f} answers failed")
    return " · ".join(parts)
