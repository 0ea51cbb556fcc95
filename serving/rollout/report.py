"""One turn of the wheel, told at its end: what changed, what it cost, what it gained. Pure.

A turn that ended before a rollout (refused by the gate, failed, given up) is told from its job alone.
``usd_per_hour`` is the price of a GPU, or of the machine that trains (gpu.usd_per_hour); None: not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from serving.rollout.decide import WATCH
from serving.rollout.moves import last_of
from tidemill.events import JobState, RolloutState, StationTime, Verdict
from tidemill.events.lifecycle import OPEN_JOBS, gpu_seconds

_ENDS = {"champion": "took over from", "rolled_back": "was rolled back, it stays", "failed": "never answered, it stays"}

_IN_VAIN: Mapping[str, str] = {"rejected": "was rejected", "failed": "failed", "declined": "was given up"}


def ended(state: RolloutState) -> bool:
    """Whether nothing more comes of it: a champion's watch is a part of the turn."""
    return state.phase in ("rolled_back", "failed") or (state.phase == "champion" and state.watch != "open")


def last_turn(
    pipeline: str, rollouts: Iterable[RolloutState], jobs: Iterable[JobState]
) -> tuple[RolloutState | None, JobState | None]:
    """Rollout and job of a pipeline's last turn, from all their states; both None: it has had none.

    A job that has begun since the last rollout is a turn by itself; one that was declined before it began is none.
    """
    newest: dict[str, JobState] = {}
    for job in jobs:
        if job.pipeline == pipeline and (job.job_id not in newest or job.seq >= newest[job.job_id].seq):
            newest[job.job_id] = job
    known = [each for each in rollouts if each.pipeline == pipeline]
    state = last_of(known).get(pipeline)
    rolled_out = {each.job_id for each in known}
    without = [job for job in newest.values() if job.stations and job.job_id not in rolled_out]
    last = max(without, key=lambda job: (job.created_ms, job.job_id), default=None)
    if state is None or (last is not None and last.created_ms > state.created_ms):
        return None, last
    return state, newest.get(state.job_id)


def summary(state: RolloutState, job: JobState | None, usd_per_hour: float | None = None) -> str:
    """The turn in three sentences."""
    return f"{changed(state, job)}. Cost: {cost(state, job, usd_per_hour)}. Gain: {gain(state)}."


def changed(state: RolloutState, job: JobState | None) -> str:
    """What changed, and why it was begun."""
    why = next((f"by order of {o.by or 'somebody'}: {o.reason}" for o in state.orders if o.act == "start"), "")
    begun = _begun(job) or (f", begun {why}" if why else "")
    end = f" ({state.reason})" if state.phase != "champion" else ""
    return f"{state.candidate_version} {_ENDS[state.phase]} {state.champion_version}{begun}{end}"


def cost(state: RolloutState | None, job: JobState | None, usd_per_hour: float | None = None) -> str:
    """Labels, time of training, GPU and rollout, money where its price is known, and what traffic was put at risk."""
    parts = []
    if job is not None:
        parts.append(f"{job.fresh_labels} fresh labels")
        if (trained := seconds(job.stations, "train")) is not None:
            parts.append(f"{trained:.0f} s of training")
        if (held := gpu_seconds(job, job.time_ms)) > 0:
            parts.append(f"{_held(held, job)}{_price(held, usd_per_hour)}")
    if state is not None:
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


def page(state: RolloutState, job: JobState | None, usd_per_hour: float | None = None) -> str:
    """The whole report as Markdown."""
    hold = f" ({state.hold})" if state.hold else ""
    told = changed(state, job) if ended(state) else state.reason, cost(state, job, usd_per_hour), gain(state)
    verdicts = (*(job.verdicts if job else ()), *state.verdicts)
    lines = _lines(f"{state.candidate_version}: {state.phase}{hold}", told, verdicts)
    if state.orders:
        lines += ["", "| when (UTC) | who | order | why | refused |", "|---|---|---|---|---|"]
        lines += [_row(o.time_ms, o.by, o.act, o.reason, o.refused) for o in state.orders]
    return "\n".join(lines) + "\n"


def page_of_job(job: JobState, usd_per_hour: float | None = None) -> str:
    """The whole report, as Markdown, of a turn that has come to no rollout, or not yet."""
    told = changed_by_job(job), cost(None, job, usd_per_hour), gain_of_job(job)
    return "\n".join(_lines(f"{job.pipeline}, job {job.job_id[:8]}: {job.phase}", told, job.verdicts)) + "\n"


def changed_by_job(job: JobState) -> str:
    """What changed without a rollout: nothing, and why."""
    if job.phase == "registered":
        return f"nothing yet{_begun(job)}: {job.candidate_version} waits for its rollout"
    if job.phase in OPEN_JOBS:
        return f"nothing yet{_begun(job)}: {job.reason}"
    begun = f"{_begun(job)}," if _begun(job) else ""
    stays = f"nothing, it stays {job.champion_version or 'the champion'}"
    return f"{stays}: the job{begun} {_IN_VAIN[job.phase]}: {job.reason}"


def gain_of_job(job: JobState) -> str:
    """What the gate measured of a candidate that no client has met."""
    beside = job.champion_version or "the champion"
    measured = []
    for name, ours in job.scores.items():
        model, _, data_set = name.partition("/")
        theirs = job.scores.get(f"champion/{data_set}")
        if model == "candidate" and ours.mean is not None and theirs is not None and theirs.mean is not None:
            means = f"quality {ours.mean:.2f} beside {theirs.mean:.2f} of {beside}"
            measured.append(f"{means} on {ours.n} rows ({data_set})")
    if not measured:
        return "nothing, and nothing was scored"
    return f"nothing, as no client has met it; the gate measured {', '.join(measured)}"


def _lines(title: str, told: tuple[str, str, str], verdicts: Sequence[Verdict]) -> list[str]:
    return [
        f"# {title}",
        "",
        f"- **What changed**: {told[0]}",
        f"- **What it cost**: {told[1]}",
        f"- **What it gained**: {told[2]}",
        "",
        "| when (UTC) | check | outcome | why |",
        "|---|---|---|---|",
        *(_row(v.time_ms, v.check, v.outcome, v.reason) for v in verdicts),
    ]


def _begun(job: JobState | None) -> str:
    if job is None or not job.alarm_metric:
        return ""
    value = f" at {job.alarm_value:.2f}" if job.alarm_value is not None else ""
    return f", begun after an alarm on {job.alarm_metric}{value}"


def _held(held_s: float, job: JobState) -> str:
    measured = (job.figures.get("gpu_seconds") or 0.0) > 0
    return f"{held_s:.0f} GPU-seconds" if measured else f"{held_s:.0f} s of training and gate without a GPU"


def _price(held_s: float, usd_per_hour: float | None) -> str:
    if usd_per_hour is None:
        return ""
    usd = held_s / 3600 * usd_per_hour
    return f" ({usd:,.2f} USD)" if usd >= 0.1 else f" ({usd:.2g} USD)"


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
