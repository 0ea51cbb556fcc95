"""What the controller knows: the fold of its own log and of the topics it follows. Pure; grows only by ``note_*``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from retrain.controller.states import UNTIL
from retrain.policy import RETRAINING_KINDS, job_id_of
from tidemill.events import JobState, RetrainDecision, RolloutState, Route, ThresholdEvent
from tidemill.events.lifecycle import ENDED_ROLLOUTS, OPEN_JOBS, ORDER
from tidemill.ids import derived_id

ENDED_JOBS = frozenset({"rejected", "failed"})


@dataclass
class Book:
    """Jobs, alarms, rollouts and champions as last heard of. A record older than the known one changes nothing."""

    jobs: dict[str, JobState] = field(default_factory=dict)
    alarms: dict[str, ThresholdEvent] = field(default_factory=dict)
    """Firing events of alarms about the model, by alarm id."""
    resolved: set[str] = field(default_factory=set)
    rollouts: dict[str, RolloutState] = field(default_factory=dict)
    champions: dict[str, str] = field(default_factory=dict)
    """Serving version by pipeline, as the routes say."""
    decisions: dict[str, RetrainDecision] = field(default_factory=dict)
    """The last one about each trigger, by trigger id."""

    def note_job(self, state: JobState) -> None:
        known = self.jobs.get(state.job_id)
        if known is None or state.seq >= known.seq:
            self.jobs[state.job_id] = state

    def note_decision(self, decision: RetrainDecision) -> None:
        known = self.decisions.get(decision.trigger_id)
        if known is None or decision.seq >= known.seq:
            self.decisions[decision.trigger_id] = decision

    def note_threshold(self, event: ThresholdEvent) -> None:
        if event.data.kind not in RETRAINING_KINDS:
            return
        if event.data.state == "resolved":
            self.resolved.add(event.data.alarm_id)
        else:
            self.alarms.setdefault(event.data.alarm_id, event)

    def note_rollout(self, state: RolloutState) -> None:
        known = self.rollouts.get(state.rollout_id)
        if known is None or state.seq >= known.seq:
            self.rollouts[state.rollout_id] = state

    def note_route(self, route: Route) -> None:
        serving = [arm.model_version for arm in route.arms if arm.variant == "champion"]
        if serving:
            self.champions[route.pipeline] = serving[0]

    def open_jobs(self) -> list[JobState]:
        """Jobs that go on, oldest first."""
        return sorted(
            (job for job in self.jobs.values() if job.phase in OPEN_JOBS), key=lambda j: (j.created_ms, j.job_id)
        )

    def undecided(self, now_ms: int) -> Iterator[ThresholdEvent]:
        """Alarms no job is known of, those declined until now (``deadline_ms`` of a declined job), and those that still
        fire after a job in vain; oldest first.
        """
        for alarm_id, event in sorted(self.alarms.items(), key=lambda item: (item[1].time_ms, item[0])):
            if self.asks(alarm_id, now_ms):
                yield event

    def asks(self, trigger_id: str, now_ms: int, repeats: bool = True) -> bool:
        """Whether a trigger is to be decided on: no job of it is known, it was declined until now, or (where it
        ``repeats``) its last job was in vain.
        """
        tried = self.attempts(trigger_id)
        if not tried or _due(tried[-1], now_ms):
            return True
        return repeats and self.in_vain(tried[-1]) and trigger_id not in self.resolved

    def attempts(self, trigger_id: str) -> list[JobState]:
        """The jobs of one trigger, in order."""
        found: list[JobState] = []
        while (job := self.jobs.get(job_id_of(trigger_id, len(found)))) is not None:
            found.append(job)
        return found

    def in_vain(self, job: JobState) -> bool:
        """Whether it failed, was rejected, or its candidate was rolled back by evidence (not by a person)."""
        rollout = self.rollouts.get(derived_id("rollout", job.job_id))
        if job.phase != "registered" or rollout is None:
            return job.phase in ENDED_JOBS
        return rollout.phase in ("rolled_back", "failed") and all(v.check != ORDER for v in rollout.verdicts)

    def busy(self, pipeline: str) -> str:
        """The job or rollout under way, in words; empty when there is none."""
        for job in self.jobs.values():
            if job.pipeline != pipeline:
                continue
            if job.phase in OPEN_JOBS:
                return f"job {job.job_id[:8]} ({job.phase})"
            if job.phase == "registered" and derived_id("rollout", job.job_id) not in self.rollouts:
                return f"the rollout of {job.candidate_version}"
        for rollout in self.rollouts.values():
            if rollout.pipeline == pipeline and rollout.phase not in ENDED_ROLLOUTS:
                return f"the rollout of {rollout.candidate_version}"
        return ""

    def last_promotion_ms(self, pipeline: str) -> int | None:
        """When a rollout last made a champion; None: never."""
        promoted = (r for r in self.rollouts.values() if r.pipeline == pipeline and r.phase == "champion")
        ends = (r.step_started_ms for r in promoted)
        return max(ends, default=None)

    def data_end_ms(self, version: str) -> int | None:
        """When the data ends that a version was trained on; None: no job made it."""
        ends = (job.figures.get(UNTIL) for job in self.jobs.values() if job.candidate_version == version)
        return next((int(end) for end in ends if end is not None), None)

    def last_end_ms(self, pipeline: str) -> int | None:
        """When the pipeline's last job or rollout ended; None: never."""
        ends = [job.time_ms for job in self.jobs.values() if job.pipeline == pipeline and job.phase in ENDED_JOBS]
        ends += [
            rollout.step_started_ms
            for rollout in self.rollouts.values()
            if rollout.pipeline == pipeline and rollout.phase in ENDED_ROLLOUTS
        ]
        return max(ends, default=None)


def _due(job: JobState, now_ms: int) -> bool:
    return job.phase == "declined" and job.deadline_ms is not None and job.deadline_ms <= now_ms
