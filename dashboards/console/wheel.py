"""Where a pipeline's wheel stands: one entry a station, with the figures of this turn. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dashboards.console.timeline import standing
from dashboards.console.view import Pipeline
from tidemill.events import JobState, RolloutState

STATIONS = ("watch", "alarm", "data", "train", "gate", "shadow", "canary", "champion")
Light = Literal["ahead", "done", "now", "failed"]

_JOB_AT = {
    "collecting": "data",
    "snapshot": "data",
    "training": "train",
    "gating": "gate",
    "approving": "gate",
    "registered": "gate",
    "rejected": "gate",
    "failed": "train",
}
_ROLLOUT_AT = {
    "pending": "shadow",
    "shadow": "shadow",
    "canary": "canary",
    "promoting": "champion",
    "champion": "champion",
    "rolled_back": "canary",
    "failed": "shadow",
}
_ENDED = ("rejected", "failed", "champion", "rolled_back")


@dataclass(frozen=True)
class StationShown:
    """One station of the wheel as it is shown."""

    station: str
    light: Light
    figure: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Wheel:
    """The whole wheel, and the sentence in its middle."""

    stations: tuple[StationShown, ...]
    headline: str
    detail: str
    version: str


def wheel(pipeline: Pipeline, now_ms: int) -> Wheel:
    """Where the pipeline stands."""
    job, rollout = pipeline.job, pipeline.rollout
    phase = rollout.phase if rollout is not None else job.phase if job is not None else ""
    ended = phase in _ENDED
    alarms = pipeline.open_alarms
    last = _last_station(job, rollout)
    at = last if last is not None and not ended else "alarm" if alarms else "watch"
    seconds = _seconds(job, rollout, now_ms)
    figures = _figures(pipeline, job, rollout)
    if rollout is not None and last is not None and rollout.phase == "rolled_back":
        figures[last] = "rolled back"
    reached = STATIONS.index(last or at)
    failed_at = last if ended and phase != "champion" else None
    stations = tuple(
        StationShown(name, _light(name, at, reached, failed_at), figures.get(name, ""), seconds.get(name))
        for name in STATIONS
    )
    headline, detail = _words(pipeline, job, rollout, ended=ended, alarmed=bool(alarms))
    return Wheel(stations, headline, detail, pipeline.champion)


def _last_station(job: JobState | None, rollout: RolloutState | None) -> str | None:
    """The farthest station of the latest turn; of an ended one it is that where it ended."""
    for state, station_of in ((rollout, _ROLLOUT_AT), (job, _JOB_AT)):
        if state is not None:
            ended = state.phase in _ENDED and state.stations
            return state.stations[-1].station if ended else station_of[state.phase]
    return None


def _light(name: str, at: str, reached: int, failed_at: str | None) -> Light:
    if name == at:
        return "now"
    if name == failed_at:
        return "failed"
    return "done" if STATIONS.index(name) <= reached else "ahead"


def _seconds(job: JobState | None, rollout: RolloutState | None, now_ms: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for state in (job, rollout):
        for each in state.stations if state is not None else ():
            found[each.station] = max(0.0, ((each.ended_ms or now_ms) - each.started_ms) / 1000)
    return found


def _figures(pipeline: Pipeline, job: JobState | None, rollout: RolloutState | None) -> dict[str, str]:
    quality = pipeline.recent("quality")
    figures = {"watch": "quality –" if quality is None else f"quality {quality:.2f}", "champion": pipeline.champion}
    if job is None:
        if pipeline.open_alarms:
            figures["alarm"] = pipeline.open_alarms[-1].data.metric
        return figures
    figures["alarm"] = f"{job.alarm_metric} {job.alarm_value:.2f}" if job.alarm_value is not None else job.alarm_metric
    figures["data"] = f"{job.fresh_labels} of {job.needed_labels} labels"
    if steps := job.figures.get("train_steps"):
        figures["train"] = f"{steps:.0f} steps"
    figures |= _progress(pipeline, job)
    if job.scores:
        ours, theirs = job.scores.get("candidate/verified"), job.scores.get("champion/verified")
        if ours is not None and theirs is not None and ours.mean is not None and theirs.mean is not None:
            figures["gate"] = f"{ours.mean:.2f} against {theirs.mean:.2f}"
    if rollout is not None:
        figures["canary"] = f"{rollout.weight} %" if rollout.phase != "shadow" else ""
        figures["shadow"] = rollout.candidate_version
    return figures


def _progress(pipeline: Pipeline, job: JobState) -> dict[str, str]:
    """How far the job is at the station where the progress was last told."""
    told = pipeline.progress
    if told is None or told.job_id != job.job_id or not told.of:
        return {}
    if told.phase == "collecting":
        return {"data": f"{told.done} of {told.of} labels"} if job.phase == "collecting" else {}
    return {"train": f"step {told.done} of {told.of}"} if told.phase == "training" else {}


def _words(
    pipeline: Pipeline, job: JobState | None, rollout: RolloutState | None, *, ended: bool, alarmed: bool
) -> tuple[str, str]:
    if rollout is not None and not ended:
        held = f", {rollout.hold}" if rollout.hold else ""
        return (
            f"{rollout.phase} {rollout.weight} %{held}" if rollout.weight else f"{rollout.phase}{held}",
            rollout.reason,
        )
    if job is not None and not ended:
        return job.phase, job.reason
    if alarmed:
        return "alarm", pipeline.open_alarms[-1].data.summary
    if rollout is not None and rollout.phase == "champion":
        return "healthy", f"last turn: {rollout.candidate_version} took over from {rollout.champion_version}"
    if rollout is not None:
        return "healthy", f"last turn: {standing(rollout)}: {rollout.reason}"
    if job is not None:
        return "healthy", f"last turn: {job.phase}: {job.reason}"
    if pipeline.is_unanswered:
        return "no answers yet", "questions arrive; quality, latency and cost need answers"
    return "healthy", "nothing has changed so far"
