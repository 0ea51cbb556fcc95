"""The controller is killed before and after each effect of each step of each road through a job's states, and a
successor finishes what it finds. Roads and effects are enumerated from the machine's own table, not sampled.

The world is simulated: a log, processes and a clock that survive the controller, as Kafka, the machine and time do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from retrain import cancel
from retrain.controller.advance import APPROVAL, COLLECTING, TABLE, WORKS, Seen, event_of, waits_for
from retrain.controller.book import Book
from retrain.controller.driver import Driver
from retrain.controller.labels import Counted, LabelCounter
from retrain.controller.ledger import Ledger
from retrain.launchers.launcher import Work, WorkSeen
from retrain.policy import job_id_of
from tests.unit.retrain import test_controller_steps as steps
from tests.unit.retrain.made import NOW, alarm, pipeline
from tidemill.clock import ManualClock
from tidemill.codec import Decoder, encode
from tidemill.events import JobProgress, JobState, RetrainDecision, ThresholdEvent
from tidemill.events.lifecycle import OPEN_JOBS
from tidemill.io import rulings
from tidemill.settings import Settings

JOB = job_id_of("alarm-1")
TRIES = 3
PAUSE_MS = 2_000
TICK_MS = 500


class Killed(BaseException):
    """SIGKILL of the controller: nothing below catches it."""


@dataclass
class Process:
    """One process of the machine; it goes on whatever becomes of the controller."""

    number: int
    started_ms: int
    ends: str
    """``done``, ``crash``, ``hang`` or ``refuse``."""


@dataclass
class World:
    """What survives the controller. ``kill_at`` counts effects: 2n is just before effect n, 2n + 1 just after it."""

    road: str
    at: str
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    log: list[bytes] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)
    running: dict[str, Process] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended_ms: dict[str, int] = field(default_factory=dict)
    effects: int = 0
    kill_at: int = -1
    seen: set[tuple[str, str]] = field(default_factory=set)
    at_once: int = 0
    done_again: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """What people were told of the job."""

    def effect(self, do: Callable[[], None]) -> None:
        if self.kill_at == 2 * self.effects:
            raise Killed
        do()
        self.effects += 1
        if self.kill_at == 2 * self.effects - 1:
            raise Killed

    # the log (a transaction is there whole or not at all)
    def record(
        self, states: list[JobState], decisions: list[RetrainDecision], events: Sequence[ThresholdEvent] = ()
    ) -> None:
        self.effect(lambda: self._write(states, decisions, events))

    def _write(
        self, states: list[JobState], decisions: list[RetrainDecision], events: Sequence[ThresholdEvent]
    ) -> None:
        self.log += [encode(state) for state in states]
        self.said += [encode(said) for said in decisions]
        self.told += [f"{event.data.rule} {event.data.state}" for event in events]

    def tell(self, progress: JobProgress) -> None:
        """Progress is lost without harm."""

    # the machine
    def look(self, folder: Path, result: Path) -> WorkSeen:
        name = folder.name
        self._let_end(name)
        tries = self.tries.get(name, 0)
        if name in self.running:
            process = self.running[name]
            return WorkSeen(state="running", attempts=tries, pid=process.number, started_ms=process.started_ms)
        if name in self.results:
            return WorkSeen(state="done", attempts=tries, result=self.results[name], gpu_seconds=tries)
        if not tries:
            return WorkSeen(state="absent")
        return WorkSeen(state="ended", attempts=tries, in_vain=tries, ended_ms=self.ended_ms[name], last_words="broke")

    def start(self, work: Work, now_ms: int) -> None:
        self.effect(lambda: self._start(work.name))

    def stop(self, folder: Path) -> None:
        self.effect(lambda: self._stop(folder.name))

    def _start(self, name: str) -> None:
        if name in self.running or name in self.results:
            return  # the folder's lock is held, or it is done
        self.tries[name] = self.tries.get(name, 0) + 1
        ends = "done"
        if name == self.at:
            ends = {"overdue": "hang", "cancelled": "hang", "refused": "refuse", "lost": "crash"}.get(self.road, ends)
            if self.road == "ended":
                ends = "crash" if self.tries[name] == 1 else "done"
        self.running[name] = Process(1000 + self.tries[name], self.clock.now_ms(), ends)
        self.at_once = max(self.at_once, len(self.running))

    def _stop(self, name: str) -> None:
        if self.running.pop(name, None) is not None:
            self.ended_ms[name] = self.clock.now_ms()

    def _let_end(self, name: str) -> None:
        process = self.running.get(name)
        if process is None or process.ends == "hang" or self.clock.now_ms() - process.started_ms < 2 * TICK_MS:
            return
        self._stop(name)
        if process.ends != "crash":
            if name in self.results:
                self.done_again.append(name)
            told = {"refused": "too few rows"} if process.ends == "refuse" else steps.RESULTS[name]
            self.results[name] = told | (self._judged(name) if process.ends == "done" else {})

    def _judged(self, name: str) -> dict[str, Any]:
        if self.road == "rejected" and name == self.at:
            return {"problems": ["sha256 differs"], "scores": {}} if name == "evaluate" else {"equal": 1}
        return {}

    # the labels
    problem = ""

    def counted(self, name: str, since_ms: int, every_ms: int = 0) -> Counted | None:
        enough = self.clock.now_ms() - NOW > 2 * TICK_MS and not (self.at == COLLECTING and self.road == "cancelled")
        return Counted(fresh=300 if enough and self.road != "few" else 10, verified=30, estimated_loss=None)

    def decisions(self) -> list[RetrainDecision]:
        return [Decoder[RetrainDecision](RetrainDecision)(raw) for raw in self.said]

    def states(self) -> list[JobState]:
        decode = Decoder[JobState](JobState)
        return [decode(raw) for raw in self.log]


ROADS: list[tuple[str, str]] = [
    ("happy", ""),
    ("few", COLLECTING),
    ("resolved", COLLECTING),
    ("rejected", "evaluate"),
    ("rejected", "parity"),
    *((event, name) for name, event in TABLE if event in ("refused", "overdue", "ended", "cancelled", "ruled")),
    *(("lost", name) for name in WORKS),
]
"""One road for each thing that may be seen of each piece of work, and for each end of collecting."""


def settings_of(tmp_path: Path, at: str = "") -> Settings:
    launcher = {"max_tries": TRIES, "backoff_s": PAUSE_MS / 1000}
    asked = {"approval": "required" if at == APPROVAL else "none", "approval_timeout_s": 20}
    made = pipeline(retrain={"timeout_s": 20, "collect_deadline_s": 20, "launcher": launcher} | asked)
    pipelines = {"schedule": made.model_dump() | {"champion": "schedule-v1"}}
    return Settings.model_validate({"data_dir": str(tmp_path), "engines": {"local": {}}, "pipelines": pipelines})


def controller(settings: Settings, world: World) -> Driver:
    """A new controller: it knows what the topics say, no more."""
    book = Book()
    book.note_threshold(alarm())
    for state in world.states():
        book.note_job(state)
    for said in world.decisions():
        book.note_decision(said)
    if world.road == "resolved" and world.log:
        book.note_threshold(alarm(state="resolved"))
    ledger, counter = cast(Ledger, world), cast(LabelCounter, world)
    return Driver(settings, world.clock, book, ledger, world, counter)


def drive(settings: Settings, world: World) -> World:
    """Run until the job is over, nothing runs, and nothing is left to say; the controller is killed where the world
    says, once.
    """
    driver = controller(settings, world)
    for _ in range(400):
        quiet, effects = False, world.effects
        try:
            ordered(settings, world)
            noted(settings, world)
            driver.tick()
            quiet = world.effects == effects
        except Killed:
            world.kill_at = -1
            driver = controller(settings, world)
        if world.road == "resolved" and world.log:
            driver._book.note_threshold(alarm(state="resolved"))
        world.clock.advance(TICK_MS)
        states = world.states()
        if (
            states
            and states[-1].phase not in OPEN_JOBS
            and not world.running
            and quiet
            and not cancel.waiting(settings)
        ):
            driver.tick()  # it finds nothing to do
            return world
    raise AssertionError(f"no end: {world.states()[-1:]} {world.running}")


def ordered(settings: Settings, world: World) -> None:
    """A person cancels the job once it waits for what the road names, and has for a tick."""
    states = world.states()
    if not states or states[-1].phase not in OPEN_JOBS or waits_for(states[-1]) != world.at:
        return
    if world.road == "ruled" and states[-1].time_ms + TICK_MS < world.clock.now_ms():
        rulings.place(settings, rulings.Ruling(job_id=JOB, approved=True, by="ada"))
    if world.road == "cancelled" and (world.at in (COLLECTING, APPROVAL) or world.at in world.running):
        cancel.place(settings, cancel.Cancel(job_id=JOB, reason="wrong labels"))


def noted(settings: Settings, world: World) -> None:
    """Which cell of the table this tick comes to."""
    states = world.states()
    if not states or states[-1].phase not in OPEN_JOBS:
        return
    name = waits_for(states[-1])
    works = {name: world.look(Path(name), Path(name))} if name not in (COLLECTING, APPROVAL) else {}
    why = "wrong labels" if cancel.waiting(settings) else ""
    ruled = next((ruling for _, ruling in rulings.waiting(settings)), None)
    late = (states[-1].deadline_ms or world.clock.now_ms() + 1) <= world.clock.now_ms()
    seen = Seen(now_ms=world.clock.now_ms(), works=works, cancelled=why, ruling=ruled, waited_out=late)
    world.seen.add((name, event_of(name, settings.pipelines["schedule"], seen)))


def end_of(world: World) -> tuple[Any, ...]:
    """What counts of a job's end: all but times and how often it was tried."""
    last = world.states()[-1]
    return (last.phase, last.candidate_version, last.run_id, [v.check for v in last.verdicts], last.reason[:30])


def assert_correct(world: World, expected: tuple[Any, ...]) -> None:
    states = world.states()
    assert end_of(world) == expected
    assert {state.job_id for state in states} == {JOB}, "one job of one alarm"
    assert [state.seq for state in states] == list(range(len(states))), "each state is the next one's past"
    said = world.decisions()
    assert [each.seq for each in said] == list(range(len(said))), "each decision is said once"
    assert [each.job_id for each in said if each.act == "open"] == [JOB]
    assert sum(state.phase not in OPEN_JOBS for state in states) == 1, "it ends once"
    assert world.running == {}, "nothing runs for a job that is over"
    assert world.at_once <= 1, "one piece of work at a time"
    assert world.done_again == [], "what is done is not done again"
    crashes = {"ended": 2, "lost": TRIES}.get(world.road, 1)
    assert all(tries <= (crashes if name == world.at else 1) for name, tries in world.tries.items())


def kills(settings: Callable[[str], Settings], road: str, at: str) -> Iterator[tuple[int, World]]:
    """The road with the controller killed before and after each of its effects."""
    effects = drive(settings("plain"), World(road, at)).effects
    for point in range(2 * effects):
        yield point, drive(settings(str(point)), World(road, at, kill_at=point))


@pytest.mark.parametrize(("road", "at"), ROADS)
def test_a_controller_killed_before_or_after_any_effect_ends_the_job_as_if_it_had_not_been(
    road: str, at: str, tmp_path: Path
) -> None:
    def fresh(name: str) -> Settings:
        return settings_of(tmp_path / name, at)

    whole = drive(fresh("whole"), World(road, at))
    expected = end_of(whole)
    assert expected[0] == {
        **{"happy": "registered", "ended": "registered", "rejected": "rejected", "cancelled": "declined"},
        **{"resolved": "declined", "ruled": "registered"},
    }.get(road, "rejected" if at == APPROVAL else "failed")
    if at == APPROVAL:
        assert whole.told == ["approval firing", "approval resolved"]
    assert_correct(whole, expected)
    for point, world in kills(fresh, road, at):
        assert world.kill_at == -1, f"it was killed at {point}"
        assert_correct(world, expected)
        assert world.told == whole.told


def test_the_roads_come_to_every_cell_of_the_table(tmp_path: Path) -> None:
    come: set[tuple[str, str]] = set()
    for number, (road, at) in enumerate(ROADS):
        settings = settings_of(tmp_path / str(number), at)
        come |= drive(settings, World(road, at)).seen
        if road == "happy":  # work is absent where the controller was killed before it started it
            for _, world in kills(lambda name, n=number: settings_of(tmp_path / f"{n}-{name}"), road, at):  # type: ignore[misc]
                come |= world.seen
    assert come == set(TABLE)
