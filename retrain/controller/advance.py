"""One step of one job: what is seen of its work → its next state and what to start or stop. Pure.

Order of effects: the next state is recorded first, then work is stopped or started; all of it may be repeated. So
whoever takes over finds in the state what was meant, on the disk what was done, and goes on from there.

`TABLE` is the whole machine: what a job waits for, what may be seen then, and the step that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from retrain import approval
from retrain.controller.states import GPU_SECONDS, SINCE, UNTIL, ended, entering, following
from retrain.gate import gate
from retrain.launchers.launcher import WorkSeen
from retrain.policy import Collected, while_collecting
from tidemill.events import JobState
from tidemill.io.rulings import Ruling
from tidemill.settings import PipelineSettings

WORKS = ("snapshot", "train", "evaluate", "parity", "register")
TIMED = ("train", "evaluate", "parity")
"""Works that retrain.timeout_s bounds."""
COLLECTING = "collecting"
APPROVAL = "approval"
"""What a job waits for whose candidate a person must approve."""
_ABSENT = WorkSeen(state="absent")
Event = Literal["counted", "absent", "running", "overdue", "done", "refused", "ended", "cancelled", "ruled"]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is seen of one job at one tick."""

    now_ms: int
    resolved: bool = False
    fresh: int | None = None
    verified: int | None = None
    works: Mapping[str, WorkSeen] = field(default_factory=dict)
    cancelled: str = ""
    """Why a person wants the job to end; empty: nobody does."""
    ruling: Ruling | None = None
    """What a person says of the candidate; None: nothing yet."""
    waited_out: bool = False
    """Whether the time to say so is over."""

    def work(self, name: str) -> WorkSeen:
        return self.works.get(name, _ABSENT)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What to do, in this order: record ``state``, stop ``stop``, start ``start``."""

    state: JobState | None = None
    start: str | None = None
    stop: str | None = None
    pause: str = ""
    """Why nothing is started yet, in words."""


def advance(job: JobState, pipeline: PipelineSettings, seen: Seen) -> Step:
    """The next step of an open job; an empty Step when there is nothing to do but wait."""
    name = waits_for(job)
    return TABLE[name, event_of(name, pipeline, seen)](job, pipeline, seen, name)


def waits_for(job: JobState) -> str:
    """What an open job waits for: labels (``collecting``), a person (``approval``), or a piece of work."""
    if job.phase == approval.PHASE:
        return APPROVAL
    return COLLECTING if job.phase == "collecting" else work_of(job)


def event_of(name: str, pipeline: PipelineSettings, seen: Seen) -> Event:
    """What has happened to that which the job waits for."""
    if seen.cancelled:
        return "cancelled"
    if name == COLLECTING:
        return "counted"
    if name == APPROVAL:
        return "ruled" if seen.ruling is not None else "overdue" if seen.waited_out else "running"
    work = seen.work(name)
    if work.state == "running":
        late = name in TIMED and work.took_s(seen.now_ms) > pipeline.retrain.timeout_s
        return "overdue" if late else "running"
    if work.state == "done":
        return "refused" if work.result.get("refused") else "done"
    return work.state


def work_of(job: JobState) -> str:
    """The work that a job past collecting waits for."""
    if job.phase in ("snapshot", "training"):
        return "snapshot" if job.phase == "snapshot" else "train"
    if not job.verdicts:
        return "evaluate"
    compared = any(verdict.check == "parity" for verdict in job.verdicts)
    return "register" if compared or not gate.passes(job.verdicts) else "parity"


def pause_s(pipeline: PipelineSettings, in_vain: int) -> float:
    """Seconds between a try and the next one, after so many in vain in a row."""
    policy = pipeline.retrain.launcher
    return float(min(policy.max_backoff_s, policy.backoff_s * 2.0 ** min(max(in_vain - 1, 0), 60)))


def _collecting(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    collected = Collected(now_ms=seen.now_ms, resolved=seen.resolved, fresh=seen.fresh, verified=seen.verified)
    act, reason = while_collecting(job, pipeline, collected)
    counted: dict[str, Any] = {"fresh_labels": seen.fresh or 0}
    if act == "wait":
        return Step()
    if act == "cancel":
        return Step(state=ended(job, "declined", reason, seen.now_ms, **counted))
    if act == "give_up":
        return Step(state=ended(job, "failed", reason, seen.now_ms, **counted))
    figures = {UNTIL: seen.now_ms}
    state = following(job, seen.now_ms, phase="snapshot", reason=reason, deadline_ms=None, figures=figures, **counted)
    return Step(state=state, start="snapshot")


def _absent(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    return Step(start=name)


def _running(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    work = seen.work(name)
    if name == "train" and work.pid and work.pid != job.trainer_pid:
        again = f", try {work.attempts}" if work.attempts > 1 else ""
        reason = f"training on {job.data_counts.get('train', 0)} rows{again}"
        return Step(state=following(job, seen.now_ms, trainer_pid=work.pid, reason=reason))
    return Step()


def _overdue(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    reason = f"{name} took longer than retrain.timeout_s = {pipeline.retrain.timeout_s:g}"
    return Step(state=_over(job, "failed", reason, seen, name), stop=name)


def _refused(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    return Step(state=_over(job, "failed", f"{name}: {seen.work(name).result['refused']}", seen, name))


def _ended(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    work, most = seen.work(name), pipeline.retrain.launcher.max_tries
    if work.in_vain >= most:
        tries = f"ended without a result {work.attempts} times"
        further = "" if work.in_vain == work.attempts else f", the last {work.in_vain} without a further checkpoint"
        reason = f"{name} {tries}{further}; its last words: {work.last_words}"
        return Step(state=_over(job, "failed", reason, seen, name))
    pause = pause_s(pipeline, work.in_vain)
    left_s = ((work.ended_ms or 0) - seen.now_ms) / 1000 + pause
    if 0 < left_s <= 2 * pause:  # longer: the clock was set back
        return Step(pause=f"{name} ended ({work.last_words}); it is tried again in {left_s:.0f} s")
    return Step(start=name)


def _cancelled(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    reason = f"cancelled by hand ({seen.cancelled}) while it waited for {name}"
    if name in (COLLECTING, APPROVAL):
        return Step(state=ended(job, "declined", reason, seen.now_ms))
    return Step(state=_over(job, "declined", reason, seen, name), stop=name)


def _over(job: JobState, phase: str, reason: str, seen: Seen, name: str) -> JobState:
    """The job's last state, with what its last work has held."""
    return ended(job, phase, reason, seen.now_ms, figures=_with_gpu_seconds(job, seen.work(name)))


def _with_gpu_seconds(job: JobState, work: WorkSeen) -> dict[str, float | None]:
    """What the job has held of GPUs once this work is left behind."""
    return {GPU_SECONDS: round((job.figures.get(GPU_SECONDS) or 0.0) + work.gpu_seconds, 1)}


def _trained_next(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    work = seen.work(name)
    counts = {str(name): int(count) for name, count in work.result["counts"].items()}
    reason = f"training on {counts.get('train', 0)} rows, {counts.get('replay', 0)} of them older"
    state = following(
        job,
        seen.now_ms,
        phase="training",
        reason="; ".join((reason, *work.result.get("notes", ())))[:1000],
        snapshot_dir=work.result["folder"],
        data_digest=work.result["digest"],
        base_digest=work.result["base_digest"],
        data_counts=counts,
        stations=entering(job, "train", seen.now_ms),
    )
    return Step(state=state, start="train")


def _judged_next(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    work = seen.work(name)
    result = work.result
    figures = {
        "train_loss": result.get("loss"),
        "train_steps": result.get("steps"),
        "train_seconds": result.get("seconds"),
        "train_tokens_per_s": result.get("tokens_per_s"),
        "train_mfu": result.get("mfu"),
        "known_rows": result.get("known_rows"),
        "train_attempts": work.attempts,
        "too_long_left_out": result.get("too_long_left_out"),
    }
    figures |= _with_gpu_seconds(job, work)
    state = following(
        job,
        seen.now_ms,
        phase="gating",
        reason="scoring candidate and champion on the same trusted data",
        adapter_digest=result["adapter_sha256"],
        figures=figures,
        stations=entering(job, "gate", seen.now_ms),
    )
    return Step(state=state, start="evaluate")


def _evaluated(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    work, now = seen.work(name), seen.now_ms
    paired = work.result.get("paired", {})
    verdicts = [gate.integrity(work.result["problems"], now)]
    if not work.result["problems"]:
        verdicts += gate.scored(paired, pipeline.gate, now)
        calibrated = gate.calibration(work.result.get("certain", {}), pipeline.gate, now)
        verdicts += [calibrated] if calibrated is not None else []
    good = gate.passes(verdicts)
    reason = "asking the engine for the same answers" if good else f"rejected: {gate.refusal(verdicts)}"
    scores, figures = gate.scores(paired), _with_gpu_seconds(job, work)
    state = following(job, now, reason=reason[:1000], scores=scores, verdicts=tuple(verdicts), figures=figures)
    return Step(state=state, start=work_of(state))


def _compared(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    result, now = seen.work(name).result, seen.now_ms
    verdict = gate.parity(result["asked"], result["equal"], pipeline.gate, now, result.get("problem", ""))
    verdicts = (*job.verdicts, verdict, *gate.smoke(result.get("ratios", {}), pipeline.gate, now))
    good = gate.passes(verdicts)
    if good and pipeline.retrain.approval == "required":
        return Step(state=approval.asked(job, verdicts, pipeline, now))
    reason = "passed; writing it to the registry" if good else f"rejected: {gate.refusal(verdicts)}"
    return Step(state=following(job, now, reason=reason[:1000], verdicts=verdicts), start="register")


def _decided(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    return Step(state=approval.decided(job, seen.ruling, seen.now_ms), start="register")


def _registered(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str) -> Step:
    work = seen.work(name)
    run_id = work.result["run_id"]
    if not gate.passes(job.verdicts):
        return Step(state=ended(job, "rejected", gate.refusal(job.verdicts), seen.now_ms, run_id=run_id))
    version, now = work.result["version"], seen.now_ms
    figures: dict[str, float | None] = {"alarm_to_registered_s": (now - job.created_ms) / 1000}
    since = job.figures.get(SINCE)
    if job.change_time_ms is not None and since is not None:
        figures["change_to_registered_s"] = (now - since) / 1000
    state = ended(
        job,
        "registered",
        "; ".join((f"{version} passed the gate", *work.result.get("notes", ())))[:1000],
        now,
        run_id=run_id,
        registered_name=job.pipeline,
        candidate_version=version,
        adapter_dir=work.result["adapter_dir"],
        figures=figures,
    )
    return Step(state=state)


_DONE: dict[str, Callable[[JobState, PipelineSettings, Seen, str], Step]] = {
    "snapshot": _trained_next,
    "train": _judged_next,
    "evaluate": _evaluated,
    "parity": _compared,
    "register": _registered,
}
_ALIKE: dict[Event, Callable[[JobState, PipelineSettings, Seen, str], Step]] = {
    "absent": _absent,
    "running": _running,
    "refused": _refused,
    "ended": _ended,
    "cancelled": _cancelled,
}
TABLE: dict[tuple[str, Event], Callable[[JobState, PipelineSettings, Seen, str], Step]] = {
    (COLLECTING, "counted"): _collecting,
    (COLLECTING, "cancelled"): _cancelled,
    (APPROVAL, "running"): _running,
    (APPROVAL, "ruled"): _decided,
    (APPROVAL, "overdue"): _decided,
    (APPROVAL, "cancelled"): _cancelled,
    **{(name, event): step for name in WORKS for event, step in _ALIKE.items()},
    **{(name, "overdue"): _overdue for name in TIMED},
    **{(name, "done"): step for name, step in _DONE.items()},
}
