"""The walk itself: from a version to its rollout, job, alarm and data, and the champions before it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from retrain.datasets.rows import prompt_key
from retrain.datasets.snapshots import Snapshot
from retrain.lineage.found import (
    Alarm,
    Answered,
    CallLineage,
    Data,
    Declared,
    Held,
    Holder,
    Registered,
    Said,
    Served,
    Training,
    User,
    VersionLineage,
    Way,
)
from retrain.snapshot import OLDER_MS
from tidemill.errors import Stop
from tidemill.events import JobState, RolloutState, ThresholdEvent
from tidemill.events.lifecycle import ENDED_ROLLOUTS
from tidemill.redaction import redact

DAY_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class Known:
    """All that is known of one pipeline."""

    pipeline: str
    champion: str = ""
    """The first champion, by the settings; empty: the settings have no such pipeline."""
    jobs: Mapping[str, JobState] = field(default_factory=dict)
    rollouts: Mapping[str, RolloutState] = field(default_factory=dict)
    alarms: Mapping[str, ThresholdEvent] = field(default_factory=dict)
    """Firing events by alarm id."""
    data: Mapping[str, Snapshot] = field(default_factory=dict)
    """Data sets on this machine, by job id."""
    registered: Mapping[str, Registered] = field(default_factory=dict)
    declared: Mapping[str, Declared] = field(default_factory=dict)
    """Versions that the settings declare."""


def asked_since_ms(change_ms: int, replay_share: float) -> int:
    """From when on a job's data set takes calls: with replay from further back than the change."""
    return max(0, change_ms - OLDER_MS) if replay_share > 0 else change_ms


def spans(known: Known) -> dict[str, tuple[int, int]]:
    """By job with a data set here: the call time [since, until) that its calls were asked from."""
    found = {}
    for job_id, each in known.data.items():
        manifest = each.manifest
        if manifest.get("pipeline", known.pipeline) == known.pipeline and "change_ms" in manifest:
            replay = float(manifest.get("rules", {}).get("replay_share", 0))
            found[job_id] = (asked_since_ms(int(manifest["change_ms"]), replay), int(manifest["until_ms"]))
    return found


def version(
    name: str, known: Known, served: Sequence[Served] = (), labelled: Mapping[str, int] | None = None
) -> VersionLineage:
    """The lineage of one version; ``labelled`` counts its labelled calls by job (see ``spans``). Raises Stop."""
    job = _job_of(name, known)
    ways = [_way(state) for state in _rollouts_of(name, known)]
    named = name == known.champion or name in known.registered or name in known.declared
    if job is None and not ways and not named and not served:
        raise Stop(f"there is no version {name!r}; {_there_are(known)}")
    return VersionLineage(
        version=name,
        pipeline=known.pipeline,
        training=None if job is None else _training(job, known),
        rollouts=ways,
        before=_before(name, known),
        registered=known.registered.get(name),
        served=list(served),
        used_by=[_user(job_id, count, known) for job_id, count in sorted((labelled or {}).items()) if count],
        declared=known.declared.get(name),
    )


def call(
    call_id: str,
    known: Known,
    answers: Sequence[Mapping[str, Any]],
    feedback: Sequence[Said],
    prompt: str | None,
) -> CallLineage:
    """The lineage of one call: its ``answers`` (rows of the store), and in which data sets its ``prompt`` is."""
    first = answers[0]
    time_ms = int(first["call_time_ms"])
    return CallLineage(
        call_id=call_id,
        pipeline=known.pipeline,
        time_ms=time_ms,
        answers=[_answered(row, known) for row in answers],
        feedback=list(feedback),
        used_by=_holders(time_ms, feedback, prompt, known),
    )


def held(prompt: str | None, data: Snapshot) -> Held:
    """What became of a prompt in a data set. Where prompts are scrubbed, they are compared scrubbed."""
    if prompt is None:
        return "not known"
    scrubbed = redact(prompt) if data.manifest.get("rules", {}).get("scrub", True) else prompt
    try:
        if _has(scrubbed, (row.prompt for row in data.rows("train"))):
            return "trained on"
        return "judged by" if _has(scrubbed, (row.prompt for row in data.rows("verified"))) else "not in it"
    except Stop:
        return "not known"


def _has(prompt: str, prompts: Iterable[str]) -> bool:
    key = prompt_key(prompt)
    return any(prompt_key(each) == key for each in prompts)


def _holders(time_ms: int, feedback: Iterable[Said], prompt: str | None, known: Known) -> list[Holder]:
    found = []
    for job_id, (since, until) in sorted(spans(known).items(), key=lambda item: item[1]):
        if since <= time_ms < until and _was_asked_for(time_ms, feedback, until, known.data[job_id].manifest):
            job = known.jobs.get(job_id)
            named = known.data[job_id].version
            phase = job.phase if job else "not known"
            held_as = held(prompt, known.data[job_id])
            found.append(Holder(job_id=job_id, version=named, phase=phase, held=held_as))
    return found


def _was_asked_for(time_ms: int, feedback: Iterable[Said], until: int, manifest: Mapping[str, Any]) -> bool:
    """Whether a data set's queries find a call of its time: by its label, where thumbs were asked for by one, and where
    all calls were, by itself.
    """
    queries = manifest.get("queries", {})
    if "asked_calls" in queries and time_ms >= int(manifest["change_ms"]):
        return True
    kinds = ("label", "correction", *(("thumb",) if "thumbed_calls" in queries else ()))
    return any(each.kind in kinds and each.time_ms < until for each in feedback)


def _answered(row: Mapping[str, Any], known: Known) -> Answered:
    name, time_ms = str(row["model_version"]), int(row["time_ms"])
    under_way = [
        state
        for state in known.rollouts.values()
        if name in (state.candidate_version, state.champion_version) and _went_on(state, time_ms)
    ]
    return Answered(
        answer_id=str(row["answer_id"]),
        role=str(row["role"]),
        variant=str(row["variant"]),
        time_ms=time_ms,
        status=str(row["status"]),
        route_epoch=int(row["route_epoch"]),
        version=name,
        rollout_id=under_way[-1].rollout_id if under_way else "",
        lineage=_or_none(name, known),
    )


def _or_none(name: str, known: Known) -> VersionLineage | None:
    try:
        return version(name, known)
    except Stop:
        return None


def _went_on(state: RolloutState, time_ms: int) -> bool:
    return state.created_ms <= time_ms and (state.phase not in ENDED_ROLLOUTS or time_ms <= state.time_ms)


def _job_of(name: str, known: Known) -> JobState | None:
    made = [job for job in known.jobs.values() if job.candidate_version == name]
    return max(made, key=lambda job: job.time_ms, default=None)


def _rollouts_of(name: str, known: Known) -> list[RolloutState]:
    found = [state for state in known.rollouts.values() if state.candidate_version == name]
    return sorted(found, key=lambda state: (state.created_ms, state.rollout_id))


def _before(name: str, known: Known) -> list[str]:
    """Each champion was compared with the one before it; a circle (an old version took over again) ends the list."""
    found: list[str] = []
    at = name
    while True:
        ways, job = _rollouts_of(at, known), _job_of(at, known)
        then = ways[0].champion_version if ways else job.champion_version if job else ""
        if not then or then == name or then in found:
            return found
        found.append(then)
        at = then


def _training(job: JobState, known: Known) -> Training:
    return Training(
        job_id=job.job_id,
        phase=job.phase,
        reason=job.reason,
        created_ms=job.created_ms,
        ended_ms=job.time_ms,
        run_id=job.run_id,
        base_digest=job.base_digest,
        adapter_digest=job.adapter_digest,
        champion_version=job.champion_version,
        scores=dict(job.scores),
        verdicts=job.verdicts,
        alarm=_alarm(job, known.alarms.get(job.alarm_id)),
        data=_data(job, known.data.get(job.job_id)),
    )


def _alarm(job: JobState, event: ThresholdEvent | None) -> Alarm:
    if event is not None:
        data = event.data
        return Alarm(
            alarm_id=job.alarm_id,
            kind=data.kind,
            metric=data.metric,
            value=data.value,
            reference=data.reference,
            change_time_ms=data.change_time_ms,
            time_ms=event.time_ms,
            summary=data.summary,
        )
    kind = "gone" if job.alarm_metric else "order"
    return Alarm(
        alarm_id=job.alarm_id,
        kind=kind,
        metric=job.alarm_metric,
        value=job.alarm_value,
        change_time_ms=job.change_time_ms,
    )


def _data(job: JobState, here: Snapshot | None) -> Data:
    if here is None:
        return Data(digest=job.data_digest, counts=dict(job.data_counts))
    manifest = here.manifest
    change_ms, replay = int(manifest.get("change_ms", 0)), manifest.get("rules", {}).get("replay_share", 0)
    return Data(
        digest=str(manifest["digest"]),
        counts=dict(manifest.get("counts", {})),
        intact=_intact(here),
        folder=here.folder,
        since_ms=asked_since_ms(change_ms, float(replay)),
        until_ms=int(manifest.get("until_ms", 0)),
        notes=list(manifest.get("notes", ())),
        origins=dict(manifest.get("origins", {})),
        offsets=list(manifest.get("offsets", ())),
    )


def _intact(here: Snapshot) -> bool:
    try:
        return here.intact()
    except Stop:
        return False


def _way(state: RolloutState) -> Way:
    return Way(
        rollout_id=state.rollout_id,
        phase=state.phase,
        reason=state.reason,
        created_ms=state.created_ms,
        ended_ms=state.time_ms if state.phase in ENDED_ROLLOUTS else None,
        champion_version=state.champion_version,
        verdicts=state.verdicts,
    )


def _user(job_id: str, count: int, known: Known) -> User:
    job, data = known.jobs.get(job_id), known.data.get(job_id)
    named = (data.version if data else "") or (job.candidate_version if job else "")
    return User(job_id=job_id, version=named, phase=job.phase if job else "not known", labelled_calls=count)


def _there_are(known: Known) -> str:
    every: Collection[str] = {
        *(job.candidate_version for job in known.jobs.values() if job.candidate_version),
        *(state.candidate_version for state in known.rollouts.values()),
        *known.registered,
        *known.declared,
        *([known.champion] if known.champion else []),
    }
    if not every:
        return f"nothing is known of a pipeline {known.pipeline!r}"
    by_number = sorted(every, key=lambda each: (len(each), each), reverse=True)
    return f"of {known.pipeline!r} there are {', '.join(by_number[:10])}"
