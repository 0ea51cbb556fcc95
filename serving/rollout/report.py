"""One turn of the wheel, told at its end: what changed, what it cost, what it gained. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from serving.rollout.decide import WATCH
from tidemill.events import JobState, RolloutState, StationTime, Verdict

_ENDS = {"champion": "took over from", "rolled_back": "was rolled back, it stays", "failed": "never answered, it stays"}


def ended(state: RolloutState) -> bool:
    """Whether nothing more comes of it: a champion's watch is a part of the turn."""
    return state.phase in ("rolled_back", "failed") or (state.phase == "champion" and state.watch != "open")


def summary(state: RolloutState, job: JobState | None) -> str:
    """The turn in three sentences."""
    return f"{changed(state, job)}. Cost: {cost(state, job)}. Gain: {gain(state)}."


def changed(state: RolloutState, job: JobState | None) -> str:
    """What changed, and why it was begun."""
    why = next((f"by order of {o.by or 'somebody'}: {o.reason}" for o in state.orders if o.act == "start"), "")
    if job is not None and job.alarm_metric:
        value = f" at {job.alarm_value:.2f}" if job.alarm_value is not None else ""
        why = f"after an alarm on {job.alarm_metric}{value}"
    begun = f", begun {why}" if why else ""
    end = f" ({state.reason})" if state.phase != "champion" else ""
    return f"{state.candidate_version} {_ENDS[state.phase]} {state.champion_version}{begun}{end}"


def cost(state: RolloutState, job: JobState | None) -> str:
    """Labels, training and rollout time, and what of the traffic was put at risk."""
    parts = []
    if job is not None:
        parts.append(f"{job.fresh_labels} fresh labels")
        if (trained := seconds(job.stations, "train")) is not None:
            parts.append(f"{trained:.0f} s of training")
    parts.append(f"{(state.step_started_ms - state.created_ms) / 1000:.0f} s of rollout")
    answers = sum(v.figures.get("candidate_answers") or 0 for v in state.verdicts if v.check.startswith("canary"))
    parts.append(f"{answers:.0f} answers of the canary to clients")
    return ", ".join(parts)


def gain(state: RolloutState) -> str:
    """What clients have of it, by the last comparison of both versions."""
    if (found := _last(state)) is None:
        return "not known, as nothing was scored"
    ours, theirs = found.figures["candidate_mean"], found.figures["champion_mean"]
    assert ours is not None and theirs is not None
    said = f"quality {ours:.2f} beside {theirs:.2f} of {state.champion_version}, in {found.check}"
    watched = next((v.reason for v in reversed(state.verdicts) if v.check == WATCH), "")
    return f"{said}; {watched}" if watched else said


def seconds(stations: tuple[StationTime, ...], name: str) -> float | None:
    """How long a station took, all its stretches together; None where it was not reached or has not ended."""
    took = [s.ended_ms - s.started_ms for s in stations if s.station == name and s.ended_ms is not None]
    return sum(took) / 1000 if took else None


def page(state: RolloutState, job: JobState | None) -> str:
    """The whole report as Markdown."""
    lines = [
        f"# {state.candidate_version}: {state.phase}{f' ({state.hold})' if state.hold else ''}",
        "",
        f"- **What changed**: {changed(state, job) if ended(state) else state.reason}",
        f"- **What it cost**: {cost(state, job)}",
        f"- **What it gained**: {gain(state)}",
        "",
        "| when (UTC) | check | outcome | why |",
        "|---|---|---|---|",
        *(_row(v.time_ms, v.check, v.outcome, v.reason) for v in (*(job.verdicts if job else ()), *state.verdicts)),
    ]
    if state.orders:
        lines += ["", "| when (UTC) | who | order | why | refused |", "|---|---|---|---|---|"]
        lines += [_row(o.time_ms, o.by, o.act, o.reason, o.refused) for o in state.orders]
    return "\n".join(lines) + "\n"


def _row(time_ms: int, *cells: str) -> str:
    at = f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}" if time_ms else ""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in (at, *cells)) + " |"


def _last(state: RolloutState) -> Verdict | None:
    """The last verdict in which both versions answered in the same time."""
    for verdict in reversed(state.verdicts):
        figures = verdict.figures
        if verdict.check != WATCH and None not in (figures.get("candidate_mean"), figures.get("champion_mean")):
            return verdict
    return None
