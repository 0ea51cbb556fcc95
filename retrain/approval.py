"""A candidate that waits for a person: the state in which it does, what comes of their word, and the event that asks.

Pure.
"""

from __future__ import annotations

from retrain.controller.states import entering, following
from retrain.gate import gate
from tidemill import approval
from tidemill.events import JobState, ThresholdData, ThresholdEvent, Verdict
from tidemill.events.monitoring import threshold_event
from tidemill.io.rulings import Ruling
from tidemill.settings import PipelineSettings

PHASE = "approving"
CHECK = approval.RULE


def asked(job: JobState, verdicts: tuple[Verdict, ...], pipeline: PipelineSettings, now_ms: int) -> JobState:
    """The state of a job whose candidate has passed every check, by these verdicts, and waits."""
    hours = pipeline.retrain.approval_timeout_s / 3600
    reason = f"every check passed; waits for approval (`tidemill retrain approve {job.job_id[:8]}`), {hours:.3g} h"
    until = now_ms + round(pipeline.retrain.approval_timeout_s * 1000)
    left = entering(job, None, now_ms)  # who waits for a person has no GPU
    return following(job, now_ms, phase=PHASE, reason=reason, verdicts=verdicts, deadline_ms=until, stations=left)


def decided(job: JobState, ruling: Ruling | None, now_ms: int) -> JobState:
    """The state after a person's word; None: nobody said one in time, and the candidate does not pass."""
    if ruling is None:
        verdict = Verdict(check=CHECK, outcome="inconclusive", reason="nobody approved it in time", time_ms=now_ms)
    else:
        said = f"{'approved' if ruling.approved else 'rejected'} by {ruling.by or 'somebody'}"
        reason = f"{said}: {ruling.why}" if ruling.why else said
        outcome = "pass" if ruling.approved else "fail"
        verdict = Verdict(check=CHECK, outcome=outcome, reason=reason, time_ms=now_ms)  # type: ignore[arg-type]
    verdicts = (*job.verdicts, verdict)
    good = gate.passes(verdicts)
    reason = f"{verdict.reason}; writing it to the registry" if good else f"rejected: {gate.refusal(verdicts)}"
    return following(job, now_ms, phase="gating", reason=reason[:1000], verdicts=verdicts, deadline_ms=None)


def status(job: JobState, pipeline: PipelineSettings) -> str:
    """The tag ``approval_status`` of a run and its version."""
    word = {"pass": "approved", "fail": "rejected", "inconclusive": "expired"}
    given = [word[verdict.outcome] for verdict in job.verdicts if verdict.check == CHECK]
    return given[-1] if given else "not asked" if pipeline.retrain.approval == "required" else "not required"


def announcement(before: JobState | None, state: JobState) -> ThresholdEvent | None:
    """What people are told as a job begins to wait for approval, and as it ends; None: nothing."""
    waited = before is not None and before.phase == PHASE
    if waited == (state.phase == PHASE):
        return None
    began = before.time_ms if before is not None and waited else state.time_ms
    data = ThresholdData(
        state="resolved" if waited else "firing",
        rule=approval.RULE,
        kind="system",
        severity="ticket",
        pipeline=state.pipeline,
        metric=approval.RULE,
        window_start_ms=began,
        window_end_ms=state.time_ms,
        alarm_id=state.job_id,
        started_ms=began,
        summary=f"{state.pipeline}: a candidate {'waited' if waited else 'waits'} for approval",
        reason=state.reason,
    )
    return threshold_event(f"{state.job_id}-{data.state}", "tidemill/retrain", data, state.time_ms)
