"""When a pipeline is retrained: pure decisions from threshold events, settings and what is known.

A quality alarm on the whole traffic opens a collecting job; one on a slice opens none, whether a detector or a rule
raised it: a version is trained for all of its traffic, and where that suffers the whole's alarm says so. A drift alarm
alone does so only where quality has been lost: by the scores of enough fresh labels, or by the upper end of the
estimate without labels. Collecting ends with enough labels, at the deadline, or when quality came back by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tidemill.events import JobState, ThresholdEvent
from tidemill.ids import derived_id
from tidemill.scoring import METRIC_VERSIONS
from tidemill.settings import PipelineSettings

RETRAINING_KINDS = ("quality", "drift")
"""Kinds of alarm that may start a retraining; the others are not about the model."""
ESTIMATE_MS = 30_000
"""Estimates without labels come so often: an alarm that was declined for want of knowledge is looked at again."""


def job_id_of(alarm_id: str, attempt: int = 0) -> str:
    """The id of the job an alarm causes: seeing the alarm again finds the same job. ``attempt``: after that many in
    vain.
    """
    return derived_id("job", alarm_id, attempt) if attempt else derived_id("job", alarm_id)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of the pipeline when an alarm is judged."""

    now_ms: int
    busy: str = ""
    """The job or rollout under way, in words; empty when there is none."""
    last_end_ms: int | None = None
    """When the pipeline's last job or rollout ended; None: never."""
    resolved: bool = False
    """The alarm has been resolved meanwhile."""
    trains_here: bool = True
    """The pipeline's engine takes adapters (kind vllm)."""
    fresh_labels: int | None = None
    """Labels since the estimated change; None: the store did not say (yet)."""
    estimated_loss: float | None = None
    """Fall of quality since the change by the labels there are, in score; None: no labels."""
    sure_loss: float | None = None
    """The least that quality has fallen by the estimate without labels, in score; None: no estimate (yet)."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do about an alarm.

    ``ignore`` leaves no record, ``wait`` asks again at the next tick (the store has not answered), ``decline`` is
    recorded with its reason (``again_ms``: look at it again then if it still fires), ``open`` starts collecting.
    """

    act: Literal["ignore", "wait", "decline", "open"]
    reason: str
    again_ms: int | None = None
    deadline_ms: int | None = None
    needed: int = 0


def on_alarm(event: ThresholdEvent, pipeline: PipelineSettings, known: Known) -> Decision:
    """The decision on one firing alarm. Safe to ask again with newer knowledge."""
    data, policy = event.data, pipeline.retrain
    if data.kind not in RETRAINING_KINDS or data.state != "firing":
        return Decision(act="ignore", reason=f"{data.kind} alarms are not about the model")
    if data.kind == "quality" and data.slice:
        reason = f"quality of {data.slice} alone: a retraining begins with the alarm on the whole traffic"
        return Decision(act="ignore", reason=reason)
    if not policy.enabled:
        return Decision(act="decline", reason=f"pipelines.{data.pipeline}.retrain.enabled is false")
    if not known.trains_here:
        reason = f"engine {pipeline.engine!r} is a provider: its models cannot be trained here"
        return Decision(act="decline", reason=reason)
    if known.resolved:
        return Decision(act="decline", reason="resolved before retraining could begin")
    if data.kind == "drift":
        refusal = _drift_refusal(pipeline, known)
        if refusal is not None:
            return refusal
    if known.busy:
        return Decision(act="decline", reason=f"{known.busy} is under way; one at a time", again_ms=known.now_ms)
    if (end := _cooldown_end(pipeline, known)) > known.now_ms:
        reason = f"cooling down for another {(end - known.now_ms) / 1000:.0f} s after the last job or rollout"
        return Decision(act="decline", reason=reason, again_ms=end)
    return _open(pipeline, known, f"{data.kind} alarm: {_fall(event)}; collecting fresh labels")


def on_order(pipeline: PipelineSettings, known: Known) -> Decision:
    """The decision on a person's order: no cool-down, but still one job or rollout at a time."""
    if not known.trains_here:
        return Decision(act="decline", reason=f"engine {pipeline.engine!r} is a provider: nothing to train here")
    if (metric := pipeline.quality.metric) not in METRIC_VERSIONS:
        return Decision(act="decline", reason=f"quality.metric {metric!r} compares no answers: nothing to gate by")
    if known.busy:
        return Decision(act="decline", reason=f"ordered by hand, but {known.busy} is under way; order again later")
    return _open(pipeline, known, "ordered by hand; collecting labels")


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What a collecting job has to go by."""

    now_ms: int
    resolved: bool
    """The alarm is resolved: quality came back."""
    fresh: int | None
    """Labels since the change; None: the store does not say."""
    verified: int | None
    """Of these, trusted ones in sessions kept out of training."""


def while_collecting(job: JobState, pipeline: PipelineSettings, seen: Collected) -> tuple[str, str]:
    """(``wait`` | ``start`` | ``cancel`` | ``give_up``, reason) for a job in phase collecting."""
    policy = pipeline.retrain
    if seen.resolved:
        return "cancel", "quality came back by itself: the alarm is resolved"
    late = job.deadline_ms is not None and seen.now_ms >= job.deadline_ms
    if seen.fresh is None or seen.verified is None:
        return "wait", "waiting for the store to count the fresh labels"
    verified_enough = seen.verified >= pipeline.gate.min_verified
    if seen.fresh >= job.needed_labels and verified_enough:
        return "start", f"{seen.fresh} fresh labels (needed {job.needed_labels})"
    if not late:
        held_out = "" if verified_enough else f", {seen.verified} of {pipeline.gate.min_verified} verified held-out"
        return "wait", f"{seen.fresh} of {job.needed_labels} fresh labels{held_out}"
    waited = f"after {policy.collect_deadline_s:g} s"
    if seen.fresh < policy.floor_labels:
        return "give_up", f"only {seen.fresh} fresh labels {waited}; at least {policy.floor_labels} are needed"
    if not verified_enough:
        return "give_up", (
            f"only {seen.verified} verified labels in held-out sessions {waited}; the gate needs "
            f"{pipeline.gate.min_verified} from {', '.join(pipeline.quality.trusted_sources)}"
        )
    return "start", f"deadline: {seen.fresh} of {job.needed_labels} fresh labels {waited}"


def _open(pipeline: PipelineSettings, known: Known, reason: str) -> Decision:
    deadline = known.now_ms + int(pipeline.retrain.collect_deadline_s * 1000)
    return Decision(act="open", reason=reason, deadline_ms=deadline, needed=pipeline.retrain.min_fresh_labels)


def _drift_refusal(pipeline: PipelineSettings, known: Known) -> Decision | None:
    policy = pipeline.retrain
    if known.fresh_labels is None:
        return Decision(act="wait", reason="waiting for the store to estimate the loss of quality")
    loss, sure = known.estimated_loss, known.sure_loss
    again = known.now_ms + ESTIMATE_MS if pipeline.quality.estimate else None
    if loss is not None and loss < policy.max_drift_loss:
        reason = f"drift alone: estimated loss {loss:.2f} is below retrain.max_drift_loss {policy.max_drift_loss:g}"
        return Decision(act="decline", reason=reason, again_ms=again)
    if sure is not None and sure >= policy.max_drift_loss:
        return None  # collecting waits for the labels
    if loss is None:
        told = "" if sure is None else f" and the estimate without labels only of {max(sure, 0.0):.2f}"
        reason = f"drift alone: no scores say that quality has fallen{told}"
        return Decision(act="decline", reason=reason, again_ms=again)
    if known.fresh_labels < policy.min_fresh_labels:
        reason = f"drift alone: {known.fresh_labels} fresh labels are fewer than {policy.min_fresh_labels}"
        return Decision(act="decline", reason=reason, again_ms=again)
    return None


def _cooldown_end(pipeline: PipelineSettings, known: Known) -> int:
    return 0 if known.last_end_ms is None else known.last_end_ms + int(pipeline.retrain.cooldown_s * 1000)


def _fall(event: ThresholdEvent) -> str:
    data = event.data
    if data.value is None:
        return data.summary or data.metric
    before = "" if data.reference is None else f" from {data.reference:.2f}"
    return f"{data.metric} fell{before} to {data.value:.2f}" if data.kind == "quality" else f"{data.metric} drifted"
