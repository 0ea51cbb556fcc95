"""One policy over one pipeline's past, with the controller's own decisions.

Scores go through the detector one by one; what it says, and the notices that were said at the time, go to the policy
as they would have come; trainings take the time they are given. What is not as it was then is the world's to say.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from retrain import dataset
from retrain.controller import states
from retrain.controller.book import Book
from retrain.controller.labels import BEFORE_MS
from retrain.controller.trigger import outcome
from retrain.policy import Collected, Known, while_collecting
from retrain.replay.falls import Fall
from retrain.replay.history import History
from retrain.replay.world import World
from retrain.rules import rules_of
from tidemill.events import JobState, RolloutState, ScorePoint, ThresholdEvent
from tidemill.ids import derived_id
from tidemill.settings import PipelineSettings

Progress = Callable[[int], None]
EVERY = 1_000
"""Scores from one word of progress to the next."""


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
    """Deterministic; ``progress(scores done)`` now and then."""
    replayed = _Run(history, pipeline, World(falls), turn, detector)
    for count, (time_ms, happened) in enumerate(_in_order(history), start=1):
        replayed.at(time_ms, happened)
        if count % EVERY == 0:
            progress(count)
    replayed.finish()
    return replayed.done, replayed.world


def _in_order(history: History) -> Iterator[tuple[int, ScorePoint | ThresholdEvent]]:
    """Scores, and the notices of drift that were said; of the same moment the notices first."""
    drift = [event for event in history.alarms if event.data.kind == "drift"]
    happened: Iterator[ScorePoint | ThresholdEvent] = heapq.merge(drift, history.scores, key=lambda each: each.time_ms)
    return ((each.time_ms, each) for each in happened)


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
        self._over: set[str] = set()
        self._seen: list[tuple[int, float]] = []
        self._by_time = [label.time_ms for label in history.labels]

    def at(self, time_ms: int, happened: ScorePoint | ThresholdEvent) -> None:
        """Let time pass until then, and this happen."""
        self._until(time_ms)
        event: ThresholdEvent | None
        if isinstance(happened, ScorePoint):
            point = replace(happened, score=self.world.score(happened))
            self._seen.append((point.call_time_ms, point.score))
            event = self._detector.update(point)
            if event is not None and event.data.state == "firing":
                self.done.alarms.append(event.time_ms)
        else:
            event = happened
            self.done.notices += event.data.state == "firing"
        if event is not None:
            self._book.note_threshold(event)
            self._tick(time_ms)

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
            return
        self._book.note_job(found.state)
        if found.state.phase == "collecting":
            self._timer(found.state.deadline_ms or now)
            self._enough_ms = now
        elif found.state.deadline_ms is not None:
            self._timer(max(found.state.deadline_ms, now + 1))

    def _known(self, event: ThresholdEvent, now: int) -> Known:
        data, fresh, loss = event.data, None, None
        if data.kind == "drift":
            since = data.change_time_ms if data.change_time_ms is not None else data.window_start_ms
            fresh, loss = self._counted(since, now)[0], self._fall_since(since)
        return Known(
            now_ms=now,
            busy=self._book.busy(self._history.pipeline),
            last_end_ms=self._book.last_end_ms(self._history.pipeline),
            resolved=data.alarm_id in self._book.resolved,
            fresh_labels=fresh,
            estimated_loss=loss,
        )

    def _fall_since(self, since: int) -> float | None:
        before = [score for time_ms, score in self._seen if since - BEFORE_MS <= time_ms < since]
        after = [score for time_ms, score in self._seen if time_ms >= since]
        return sum(before) / len(before) - sum(after) / len(after) if before and after else None

    def _counted(self, since: int, now: int) -> tuple[int, int]:
        """(fresh labels, verified ones of them) of calls since then, as the store would have counted them now."""
        return self._counted_first(since, bisect_right(self._by_time, now))

    def _counted_first(self, since: int, first: int) -> tuple[int, int]:
        fresh = (
            (label.session, label.source, label.prompt)
            for label in self._history.labels[:first]
            if label.call_time_ms >= since
        )
        return dataset.count(fresh, rules_of(self._pipeline))

    def _wait_for_labels(self, job: JobState, now: int) -> None:
        """A timer for the moment at which there are enough."""
        since, low, high = _since(job), bisect_right(self._by_time, now), len(self._by_time)
        least = self._pipeline.gate.min_verified

        def enough(first: int) -> bool:
            fresh, verified = self._counted_first(since, first)
            return fresh >= job.needed_labels and verified >= least

        at = bisect_left(range(low, high + 1), True, key=enough) + low
        if low < at <= high:
            self._enough_ms = self._by_time[at - 1]
            self._timer(self._enough_ms)

    def _job(self, job: JobState, now: int) -> None:
        if job.phase != "collecting":
            if now >= (job.deadline_ms or now):
                self._trained(job, now)
            return
        fresh, verified = self._counted(_since(job), now)
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
            self.done.triggered.append(Triggered(now, self.world.fallen(now)))
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
                self._book.note_rollout(replace(rollout, phase="champion", seq=1, time_ms=now))
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
