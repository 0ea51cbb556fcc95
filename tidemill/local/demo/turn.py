"""Tells one turn of the story and measures what tidemill made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tidemill.clock import Clock
from tidemill.events import JobState, RolloutState, StationTime, ThresholdEvent
from tidemill.events.lifecycle import ENDED_ROLLOUTS
from tidemill.local.demo.kills import Killer
from tidemill.local.demo.observer import Observer
from tidemill.local.demo.scenario import Turn
from tidemill.local.demo.users import Users

ALARM_WITHIN_S = 120.0
DATA_FROZEN = ("training", "gating", "approving", "registered", "rejected", "failed")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What one turn came to. Times are epoch milliseconds; None: it did not come that far."""

    turn: Turn
    changed_ms: int
    alarm: ThresholdEvent | None
    job: JobState | None
    rollout: RolloutState | None
    ended_ms: int

    @property
    def ending(self) -> str:
        """How it ended: champion, rolled_back, rejected, failed, or the phase in which time ran out."""
        if self.rollout is not None:
            return (
                self.rollout.phase if self.rollout.phase in ENDED_ROLLOUTS else f"{self.rollout.phase} (time ran out)"
            )
        if self.job is not None:
            return self.job.phase if self.job.phase in ("rejected", "failed") else f"{self.job.phase} (time ran out)"
        return "alarm only" if self.alarm is not None else "no alarm"

    @property
    def as_told(self) -> bool:
        """Whether it ended as the story says it must."""
        return self.ending == self.turn.ending

    @property
    def alarm_after_s(self) -> float | None:
        """Seconds from the change to the alarm."""
        return None if self.alarm is None else (self.alarm.time_ms - self.changed_ms) / 1000

    @property
    def ended_after_s(self) -> float | None:
        """Seconds from the change to the end of the turn, if it ended as told."""
        return (self.ended_ms - self.changed_ms) / 1000 if self.as_told else None

    @property
    def change_error_s(self) -> float | None:
        """Estimated minus true time of the change, seconds."""
        if self.alarm is None or self.alarm.data.change_time_ms is None:
            return None
        return (self.alarm.data.change_time_ms - self.changed_ms) / 1000

    def stations_s(self) -> Mapping[str, float]:
        """Seconds spent at each station of the wheel that was left."""
        times: dict[str, StationTime] = {}
        for state in (self.job, self.rollout):
            for each in state.stations if state is not None else ():
                times[each.station] = each
        return {
            name: round((each.ended_ms - each.started_ms) / 1000, 1)
            for name, each in times.items()
            if each.ended_ms is not None
        }


@dataclass
class _Shown:
    """What has been said of a turn already."""

    lines: set[str] = field(default_factory=set)

    def once(self, say: Say, key: str, line: str) -> None:
        if key not in self.lines:
            self.lines.add(key)
            say(line)


def tell(turn: Turn, users: Users, observer: Observer, clock: Clock, say: Say, killer: Killer) -> Outcome:
    """Let the users change, then watch until the loop has answered or the turn's time is up."""
    changed_ms = users.change(turn.changes)
    say(f"the users change: {turn.note}")
    alarm = observer.wait(lambda: observer.alarm(turn.pipeline, "quality", changed_ms), ALARM_WITHIN_S)
    if alarm is None:
        say(f"no alarm on {turn.pipeline} within {ALARM_WITHIN_S:g} s")
    else:
        say(f"alarm after {(alarm.time_ms - changed_ms) / 1000:.0f} s: {alarm.data.summary}")
    shown = _Shown()
    frozen: list[int] = []

    def settled() -> bool | None:
        job = observer.job(turn.pipeline, changed_ms)
        if job is None:
            return None
        shown.once(say, job.phase, f"{turn.pipeline} job {job.phase}: {job.reason}")
        if job.phase in DATA_FROZEN and turn.after_freeze and not frozen:
            frozen.append(users.change(turn.after_freeze))
            say(f"the data set is frozen; {turn.freeze_note}")
        rollout = observer.rollout(job.job_id)
        for kill in killer.look(job, rollout):
            say(f"killed {kill.role} while {kill.phase}")
        if rollout is not None:
            key = f"{rollout.phase} {rollout.weight}"
            shown.once(say, key, f"{turn.pipeline} rollout {rollout.phase} at {rollout.weight} %: {rollout.reason}")
            return True if rollout.phase in ENDED_ROLLOUTS else None
        return True if job.phase in ("rejected", "failed") else None

    spent_s = (clock.now_ms() - changed_ms) / 1000
    observer.wait(settled, max(1.0, turn.time_limit_s - spent_s))
    job = observer.job(turn.pipeline, changed_ms)
    rollout = observer.rollout(job.job_id) if job is not None else None
    last = rollout or job
    return Outcome(turn, changed_ms, alarm, job, rollout, last.time_ms if last is not None else clock.now_ms())
