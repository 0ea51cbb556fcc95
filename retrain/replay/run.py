"""One policy over one pipeline's past, with the controller's own decisions.

Scores go through the detector one by one; what it says, and the notices and estimates that were said at the time, go to
the policy as they would have come; trainings take the time they are given. What is not as it was then is the world's
to say.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from retrain.controller import states
from retrain.controller.book import Book
from retrain.controller.labels import SELDOM_MS, judged
from retrain.controller.trigger import outcome
from retrain.policy import Collected, Known, while_collecting
from retrain.replay.falls import Fall
from retrain.replay.heard import Heard
from retrain.replay.history import Estimate, History
from retrain.replay.world import World
from tidemill.events import JobState, RolloutState, ScorePoint, ThresholdEvent
from tidemill.ids import derived_id
from tidemill.settings import PipelineSettings

Progress = Callable[[int], None]
Happened = ScorePoint | Estimate | ThresholdEvent
EVERY = 1_000
"""Scores and estimates from one word of progress to the next."""


class Detects(Protocol):
    """The stream's quality detector: a score in, the beginning or end of an alarm out."""

    def update(self, point: ScorePoint) -> ThresholdEvent | None: ...


class Turn(NamedTuple):
    """How long a retraining takes."""

    train_ms: int
    """From the end of collecting to the gate's verdict: what the GPU is paid for."""
    takeover_ms: int
    """From there until the candidate serves everybody."""


class Triggered(NamedTuple):
    """One training that the policy started."""

    start_ms: int
    fall: int | None
    """The fall it answers; None: there was none, and the gate rejects the candidate."""
    drift: bool = False
    """A notice of drift alone opened it."""


@dataclass
class Run:
    """What a policy did."""

    alarms: list[int] = field(default_factory=list)
    """When alarms on quality began."""
    notices: int = 0
    """Notices of drift that it was told of."""
    triggered: list[Triggered] = field(default_factory=list)
    given_up: int = 0
    """Collections that ended without enough labels."""
    cancelled: int = 0
    """Collections that ended as quality came back by itself."""


def run(
    history: History,
    pipeline: PipelineSettings,
    falls: Sequence[Fall],
    turn: Turn,
    detector: Detects,
    progress: Progress = lambda _: None,
) -> tuple[Run, World]:
    """Deterministic; ``progress(scores and estimates done)`` now and then."""
    replayed = _Run(history, pipeline, World(falls), turn, detector)
    for count, happened in enumerate(_in_order(history), start=1):
        replayed.at(happened)
        if count % EVERY == 0:
            progress(count)
    replayed.finish()
    return replayed.done, replayed.world


def _in_order(history: History) -> Iterator[Happened]:
    """Scores, and the estimates and notices of drift that were said; of the same moment scores last."""
    drift = [event for event in history.alarms if event.data.kind == "drift"]
    return heapq.merge(history.estimates, drift, history.scores, key=lambda each: each.time_ms)


class _Run:
    def __init__(
        self, history: History, pipeline: PipelineSettings, world: World, turn: Turn, detector: Detects
    ) -> None:
        self.done = Run()
        self.world = world
        self._history = history
        self._pipeline = pipeline
        self._turn = turn
        self._detector = detector
        self._book = Book()
        self._champion = pipeline.champion
        self._timers: list[int] = []
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
            self._tick(now)

    def _tick(self, now: int) -> None:
        """As the controller's: decide on alarms, then move the open job."""
        self._rollouts(now)
        for event in list(self._book.undecided(now)):
            if event.data.alarm_id not in self._over:
                self._alarm(event, now)
        for job in self._book.open_jobs():
            self._job(job, now)

    def _alarm(self, event: ThresholdEvent, now: int) -> None:
        found = outcome(event, self._pipeline, self._book, self._known(event, now), self._champion)
        if found.done:
            self._over.add(event.data.alarm_id)
        if found.state is None:
            if not found.done and event.data.kind == "drift":
                self._look_again(now)
            return
        self._book.note_job(found.state)
        if found.state.phase == "collecting":
            self._timer(found.state.deadline_ms or now)
            self._enough_ms = now
        elif found.state.deadline_ms is not None:
            self._timer(max(found.state.deadline_ms, now + 1))

    def _look_again(self, now: int) -> None:
        """Where there are estimates a notice is judged anew as labels and scores come, as often as the controller."""
        if self._pipeline.quality.estimate and self._history.estimates and now >= self._again_ms:
            self._again_ms = now + SELDOM_MS
            self._timer(self._again_ms)

    def _known(self, event: ThresholdEvent, now: int) -> Known:
        known = Known(
            now_ms=now,
            busy=self._book.busy(self._history.pipeline),
            last_end_ms=self._book.last_end_ms(self._history.pipeline),
            resolved=event.data.alarm_id in self._book.resolved,
        )
        if event.data.kind != "drift":
            return known
        return judged(known, self._heard.since(states.changed_ms(event), now))

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
            drift = self._book.alarms[job.alarm_id].data.kind == "drift"
            self.done.triggered.append(Triggered(now, self.world.fallen(now), drift))
            ready = now + self._turn.train_ms
            self._note(states.following(job, now, phase="training", reason=reason, deadline_ms=ready), now)
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
                self._champion = rollout.candidate_version
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
