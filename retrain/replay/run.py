"""One policy over one pipeline's past, with the controller's own decisions.

Scores go through the detector one by one; what it says, and the notices and estimates that were said at the time, go to
the policy as they would have come; trainings take the time they are given. What is not as it was then is the world's
to say.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from msgspec.structs import replace

from retrain.controller import states
from retrain.controller.asking import asking, champion_of, known_of
from retrain.controller.book import Book
from retrain.controller.labels import SELDOM_MS, judged
from retrain.controller.trigger import outcome
from retrain.policy import Collected, Known, Trigger, counts, while_collecting
from retrain.replay.falls import Fall
from retrain.replay.heard import Heard
from retrain.replay.history import Estimate, History
from retrain.replay.turns import Run, Triggered, Turn
from retrain.replay.world import World
from tidemill import schedule
from tidemill.events import JobState, RolloutState, ScorePoint, ThresholdEvent
from tidemill.ids import derived_id
from tidemill.settings import GpuSettings, PipelineSettings

Progress = Callable[[int], None]
Happened = ScorePoint | Estimate | ThresholdEvent
EVERY = 1_000
"""Scores and estimates from one word of progress to the next."""
ASK_MS = 60_000
"""What was declined for a while is looked at again so often, where nothing else says when."""


class Detects(Protocol):
    """The stream's quality detector: a score in, the beginning or end of an alarm out."""

    def update(self, point: ScorePoint) -> ThresholdEvent | None: ...


def run(
    history: History,
    pipeline: PipelineSettings,
    falls: Sequence[Fall],
    turn: Turn,
    detector: Detects,
    progress: Progress = lambda _: None,
    gpu: GpuSettings | None = None,
) -> tuple[Run, World]:
    """Deterministic; ``progress(scores and estimates done)`` now and then. Of the budget of all pipelines no other one
    takes anything.
    """
    replayed = _Run(history, _with(pipeline, turn), World(falls), turn, detector, gpu or GpuSettings())
    for count, happened in enumerate(_in_order(history), start=1):
        replayed.at(happened)
        if count % EVERY == 0:
            progress(count)
    replayed.finish()
    return replayed.done, replayed.world


def _with(pipeline: PipelineSettings, turn: Turn) -> PipelineSettings:
    """A job is expected to take what one takes here, unless the settings say otherwise."""
    if pipeline.trigger.expected_gpu_s is not None:
        return pipeline
    trigger = pipeline.trigger.model_copy(update={"expected_gpu_s": turn.train_ms / 1000})
    return pipeline.model_copy(update={"trigger": trigger})


def _in_order(history: History) -> Iterator[Happened]:
    """Scores, and the estimates and notices of drift that were said; of the same moment scores last."""
    drift = [event for event in history.alarms if event.data.kind == "drift"]
    return heapq.merge(history.estimates, drift, history.scores, key=lambda each: each.time_ms)


class _Run:
    def __init__(
        self,
        history: History,
        pipeline: PipelineSettings,
        world: World,
        turn: Turn,
        detector: Detects,
        gpu: GpuSettings,
    ) -> None:
        self.done = Run()
        self.world = world
        self._history = history
        self._pipeline = pipeline
        self._turn = turn
        self._detector = detector
        self._gpu = gpu
        self._book = Book()
        self._timers: list[int] = []
        self._schedule = schedule.read(pipeline.trigger.schedule) if pipeline.trigger.schedule else None
        self._next_occurrence(history.since_ms - 1)
        self._enough_ms = 0
        self._again_ms = 0
        self._over: set[str] = set()
        self._heard = Heard(history, pipeline)

    def at(self, happened: Happened) -> None:
        """Let time pass until then, and this happen."""
        self._until(happened.time_ms)
        if isinstance(happened, Estimate):
            self._estimate(happened)
        elif isinstance(happened, ScorePoint):
            self._score(happened)
        else:
            self.done.notices += happened.data.state == "firing"
            self._threshold(happened, happened.time_ms)

    def _estimate(self, said: Estimate) -> None:
        """One that is about answers which this world's champion would not have given says nothing."""
        told = self.world.as_measured(said.start_ms) and self.world.as_measured(said.end_ms - 1)
        if told and self._pipeline.quality.estimate:
            self._heard.estimate(said)
            self._tick(said.time_ms)

    def _score(self, measured: ScorePoint) -> None:
        point = replace(measured, score=self.world.score(measured))
        self._heard.score(point.call_time_ms, point.score)
        event = self._detector.update(point)
        if event is not None:
            if event.data.state == "firing":
                self.done.alarms.append(event.time_ms)
            self._threshold(event, measured.time_ms)

    def _threshold(self, event: ThresholdEvent, now: int) -> None:
        self._book.note_threshold(event)
        self._tick(now)

    def finish(self) -> None:
        """Let time pass until the history ends."""
        self._until(self._history.until_ms - 1)

    def _until(self, time_ms: int) -> None:
        while self._timers and self._timers[0] <= time_ms:
            now = heapq.heappop(self._timers)
            if now == self._occurrence:
                self._next_occurrence(now)
            self._tick(now)

    def _next_occurrence(self, after_ms: int) -> None:
        self._occurrence = self._schedule.following(after_ms) if self._schedule is not None else None
        if self._occurrence is not None:
            self._timer(self._occurrence)

    def _tick(self, now: int) -> None:
        """As the controller's: decide on what asks, then move the open job."""
        self._rollouts(now)
        for trigger in asking(self._book, {self._history.pipeline: self._pipeline}, now):
            if trigger.trigger_id not in self._over:
                self._decide(trigger, now)
        for job in self._book.open_jobs():
            self._job(job, now)

    @property
    def _champion(self) -> str:
        return champion_of(self._book, self._history.pipeline, self._pipeline)

    def _decide(self, trigger: Trigger, now: int) -> None:
        found = outcome(trigger, self._pipeline, self._book, self._known(trigger, now), self._champion)
        if found.said is not None:
            self._book.note_decision(found.said)
        if found.done:
            self._over.add(trigger.trigger_id)
        if found.state is None:
            if not found.done:
                self._look_again(trigger, now)
            return
        self._book.note_job(found.state)
        if found.state.phase == "collecting":
            self._timer(found.state.deadline_ms or now)
            self._enough_ms = now
        elif found.state.deadline_ms is not None:
            self._timer(max(found.state.deadline_ms, now + 1))

    def _look_again(self, trigger: Trigger, now: int) -> None:
        """As labels, scores and estimates come, and budgets become free; where there are estimates, as often as the
        controller.
        """
        often = trigger.kind == "drift" and self._pipeline.quality.estimate and self._history.estimates
        if now >= self._again_ms:
            self._again_ms = now + (SELDOM_MS if often else ASK_MS)
            self._timer(self._again_ms)

    def _known(self, trigger: Trigger, now: int) -> Known:
        known = known_of(trigger, self._book, {trigger.pipeline: self._pipeline}, self._gpu, now)
        if not counts(trigger, self._pipeline):
            return known
        return judged(known, self._heard.since(trigger.since_ms, now))

    def _wait_for_labels(self, job: JobState, now: int) -> None:
        """A timer for the moment at which there are enough."""
        at = self._heard.enough_ms(_since(job), now, job.needed_labels)
        if at is not None:
            self._enough_ms = at
            self._timer(at)

    def _job(self, job: JobState, now: int) -> None:
        if job.phase != "collecting":
            if now >= (job.deadline_ms or now):
                self._trained(job, now)
            return
        fresh, verified = self._heard.counted(_since(job), now)
        resolved = job.alarm_id in self._book.resolved
        seen = Collected(now_ms=now, resolved=resolved, fresh=fresh, verified=verified)
        act, reason = while_collecting(job, self._pipeline, seen)
        if act == "cancel":
            self.done.cancelled += 1
            self._note(states.ended(job, "declined", reason, now), now)
        elif act == "give_up":
            self.done.given_up += 1
            self._note(states.ended(job, "failed", reason, now), now)
        elif act == "wait" and now >= self._enough_ms:
            self._wait_for_labels(job, now)
        elif act == "start":
            alarm = self._book.alarms.get(job.alarm_id)
            drift = alarm is not None and alarm.data.kind == "drift"
            self.done.triggered.append(Triggered(now, self.world.fallen(now), drift))
            ready = now + self._turn.train_ms
            figures = {states.UNTIL: now, "gpu_seconds": self._turn.train_ms / 1000}
            started = states.following(job, now, phase="training", reason=reason, deadline_ms=ready, figures=figures)
            self._note(started, now)
            self._timer(ready)

    def _trained(self, job: JobState, now: int) -> None:
        """A training that answers no fall gains nothing, so the gate rejects its candidate."""
        fall = self.done.triggered[-1].fall
        if fall is None:
            self._note(states.ended(job, "rejected", "nothing gained", now), now)
            return
        version = f"{self._history.pipeline}-r{len(self.done.triggered)}"
        self._note(states.ended(job, "registered", "gained", now, candidate_version=version), now)
        ready = now + self._turn.takeover_ms
        self._book.note_rollout(_canary(job, version, self._champion, now))
        self._timer(ready)

    def _rollouts(self, now: int) -> None:
        for rollout in list(self._book.rollouts.values()):
            if rollout.phase == "canary" and now >= rollout.created_ms + self._turn.takeover_ms:
                self._book.champions[rollout.pipeline] = rollout.candidate_version
                self._book.note_rollout(replace(rollout, phase="champion", seq=1, time_ms=now, step_started_ms=now))
                fall = self.done.triggered[-1].fall
                assert fall is not None
                self.world.end(fall, now)
                self._cool_down(now)

    def _note(self, state: JobState, now: int) -> None:
        self._book.note_job(state)
        if state.phase in ("rejected", "failed"):
            self._cool_down(now)

    def _cool_down(self, now: int) -> None:
        """Alarms that still fire are looked at again when it is over."""
        self._timer(now + int(self._pipeline.retrain.cooldown_s * 1000))

    def _timer(self, time_ms: int) -> None:
        heapq.heappush(self._timers, time_ms)


def _since(job: JobState) -> int:
    return int(job.figures.get(states.SINCE) or 0)


def _canary(job: JobState, version: str, champion: str, now: int) -> RolloutState:
    return RolloutState(
        rollout_id=derived_id("rollout", job.job_id),
        seq=0,
        time_ms=now,
        pipeline=job.pipeline,
        phase="canary",
        reason="replayed",
        job_id=job.job_id,
        candidate_version=version,
        candidate_adapter_dir="",
        champion_version=champion,
        step_started_ms=now,
        created_ms=now,
    )
