"""From an open job to the start of its training: enough labels, the deadline, or quality that came back. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill.events import JobState
from tidemill.settings import PipelineSettings


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
