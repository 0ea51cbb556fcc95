"""One step of one job: what is seen of its work → its next state and what to start or stop. Pure.

Order of effects: the next state is recorded first, then work is started; both may be repeated. So whoever takes over
finds in the state what was meant, on the disk what was done, and goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from retrain import gate
from retrain.controller.states import SINCE, UNTIL, ended, entering, following
from retrain.launcher import WorkSeen
from retrain.policy import Collected, while_collecting
from tidemill.events import JobState
from tidemill.settings import PipelineSettings

MAX_ATTEMPTS = 3
"""A work whose process was killed is started again twice."""
WORKS = ("snapshot", "train", "evaluate", "parity", "register")
_TIMED = ("train", "evaluate", "parity")
_ABSENT = WorkSeen(state="absent")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is seen of one job at one tick."""

    now_ms: int
    resolved: bool = False
    fresh: int | None = None
    verified: int | None = None
    works: Mapping[str, WorkSeen] = field(default_factory=dict)

    def work(self, name: str) -> WorkSeen:
        return self.works.get(name, _ABSENT)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What to do, in this order: record ``state``, stop ``stop``, start ``start``."""

    state: JobState | None = None
    start: str | None = None
    stop: str | None = None


def advance(job: JobState, pipeline: PipelineSettings, seen: Seen) -> Step:
    """The next step of an open job; an empty Step when there is nothing to do but wait."""
    if job.phase == "collecting":
        return _collecting(job, pipeline, seen)
    name = work_of(job)
    work = seen.work(name)
    if work.state == "absent":
        return Step(start=name)
    if work.state == "running":
        return _running(job, pipeline, seen, name, work)
    if work.state == "ended":
        return _ended(job, seen, name, work)
    if refused := work.result.get("refused"):
        return Step(state=ended(job, "failed", f"{name}: {refused}", seen.now_ms))
    follow = {"snapshot": _trained_next, "train": _judged_next, "evaluate": _evaluated, "parity": _compared}
    return _registered(job, seen, work) if name == "register" else follow[name](job, pipeline, seen, work)


def work_of(job: JobState) -> str:
    """The work that a job past collecting waits for."""
    if job.phase in ("snapshot", "training"):
        return "snapshot" if job.phase == "snapshot" else "train"
    if not job.verdicts:
        return "evaluate"
    compared = any(verdict.check == "parity" for verdict in job.verdicts)
    return "register" if compared or not gate.passes(job.verdicts) else "parity"


def _collecting(job: JobState, pipeline: PipelineSettings, seen: Seen) -> Step:
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


def _running(job: JobState, pipeline: PipelineSettings, seen: Seen, name: str, work: WorkSeen) -> Step:
    limit_s = pipeline.retrain.timeout_s
    if name in _TIMED and work.started_ms is not None and seen.now_ms - work.started_ms > limit_s * 1000:
        reason = f"{name} took longer than retrain.timeout_s = {limit_s:g}"
        return Step(state=ended(job, "failed", reason, seen.now_ms), stop=name)
    if name == "train" and work.pid and work.pid != job.trainer_pid:
        again = f", try {work.attempts} of {MAX_ATTEMPTS}" if work.attempts > 1 else ""
        reason = f"training on {job.data_counts.get('train', 0)} rows{again}"
        return Step(state=following(job, seen.now_ms, trainer_pid=work.pid, reason=reason))
    return Step()


def _ended(job: JobState, seen: Seen, name: str, work: WorkSeen) -> Step:
    if work.attempts < MAX_ATTEMPTS:
        return Step(start=name)
    reason = f"{name} ended without a result {work.attempts} times; its last words: {work.last_words}"
    return Step(state=ended(job, "failed", reason, seen.now_ms))


def _trained_next(job: JobState, pipeline: PipelineSettings, seen: Seen, work: WorkSeen) -> Step:
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


def _judged_next(job: JobState, pipeline: PipelineSettings, seen: Seen, work: WorkSeen) -> Step:
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


def _evaluated(job: JobState, pipeline: PipelineSettings, seen: Seen, work: WorkSeen) -> Step:
    paired, now = work.result.get("paired", {}), seen.now_ms
    verdicts = [gate.integrity(work.result["problems"], now)]
    if not work.result["problems"]:
        verdicts += gate.scored(paired, pipeline.gate, now)
        calibrated = gate.calibration(work.result.get("certain", {}), pipeline.gate, now)
        verdicts += [calibrated] if calibrated is not None else []
    good = gate.passes(verdicts)
    reason = "asking the engine for the same answers" if good else f"rejected: {gate.refusal(verdicts)}"
    state = following(job, now, reason=reason[:1000], scores=gate.scores(paired), verdicts=tuple(verdicts))
    return Step(state=state, start=work_of(state))


def _compared(job: JobState, pipeline: PipelineSettings, seen: Seen, work: WorkSeen) -> Step:
    result, now = work.result, seen.now_ms
    verdict = gate.parity(result["asked"], result["equal"], pipeline.gate, now, result.get("problem", ""))
    verdicts = (*job.verdicts, verdict, *gate.smoke(result.get("ratios", {}), pipeline.gate, now))
    good = gate.passes(verdicts)
    reason = "passed; writing it to the registry" if good else f"rejected: {gate.refusal(verdicts)}"
    return Step(state=following(job, now, reason=reason[:1000], verdicts=verdicts), start="register")


def _registered(job: JobState, seen: Seen, work: WorkSeen) -> Step:
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
        f"{version} passed the gate",
        now,
        run_id=run_id,
        registered_name=job.pipeline,
        candidate_version=version,
        adapter_dir=work.result["adapter_dir"],
        figures=figures,
    )
    return Step(state=state)
