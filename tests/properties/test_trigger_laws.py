"""The trigger policy, whatever happens: one job at a time, never over budget, each decision once, whoever restarts."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace as with_changes

from retrain.controller import states
from retrain.controller.asking import asking, champion_of, known_of
from retrain.controller.book import Book
from retrain.controller.trigger import outcome
from retrain.policy import Trigger, by_order, job_id_of
from tests.unit.retrain.made import NOW, alarm, pipeline
from tidemill.codec import Decoder, encode
from tidemill.events import JobState, RetrainDecision, RolloutState, ThresholdEvent
from tidemill.events.lifecycle import OPEN_JOBS, gpu_seconds
from tidemill.ids import derived_id
from tidemill.settings import GpuSettings, PipelineSettings, TriggerSettings

HOUR_MS = 3_600_000
NAMES = ("first", "second")


class Happening(Struct, frozen=True):
    """One thing in the life of a deployment; then the controller ticks."""

    what: Literal["alarm", "resolved", "order", "ends", "rollout_ends", "nothing"]
    name: str
    number: int = 0
    """Which alarm, or which order."""
    kind: Literal["quality", "drift"] = "quality"
    well: bool = True
    """The job makes a version, the rollout a champion."""
    share: float = 1.0
    """Part of the expected GPU time that the job takes."""
    labels: int = 300
    """Fresh ones, as the store says from now on."""
    after_ms: int = 1_000


happenings = st.builds(
    Happening,
    what=st.sampled_from(["alarm", "alarm", "resolved", "order", "ends", "ends", "rollout_ends", "nothing"]),
    name=st.sampled_from(NAMES),
    number=st.integers(0, 4),
    kind=st.sampled_from(["quality", "drift"]),
    well=st.booleans(),
    share=st.floats(0, 1),
    labels=st.sampled_from([0, 299, 300, 900]),
    after_ms=st.sampled_from([0, 1_000, 61_000, HOUR_MS, 30 * HOUR_MS]),
)


@st.composite
def settings(draw: st.DrawFn) -> PipelineSettings:
    trigger = TriggerSettings(
        schedule=draw(st.sampled_from(["", "every 1h", "0 3 * * *"])),
        max_data_age_days=draw(st.sampled_from([None, 1.0])),
        usd_per_point=draw(st.sampled_from([None, 0.001])),
        expected_gpu_s=draw(st.sampled_from([None, 600.0])),
        gpu_budget_hours=draw(st.sampled_from([None, 0.0, 0.2, 0.5])),
    )
    return pipeline(trigger=trigger, retrain={"max_attempts": draw(st.integers(1, 3))})


gpus = st.builds(
    GpuSettings,
    usd_per_hour=st.just(2.0),
    budget_hours=st.sampled_from([None, 0.4, 1.0]),
    period_days=st.sampled_from([1.0, 3.0]),
)


class Deployment:
    """The controller's decisions over a log in memory; ``restart`` forgets all but the log."""

    def __init__(self, pipelines: dict[str, PipelineSettings], gpu: GpuSettings) -> None:
        self.pipelines, self.gpu, self.now = pipelines, gpu, NOW
        self.jobs: list[bytes] = []
        self.said: list[bytes] = []
        self.heard: list[ThresholdEvent] = []
        self.rollouts: list[RolloutState] = []
        self.labels = dict.fromkeys(NAMES, 300)
        self.book = Book()

    def restart(self) -> None:
        """What a new controller reads: its own log, and everything it is told of, once more."""
        self.book = Book()
        for event in (*self.heard, *self.heard):
            self.book.note_threshold(event)
        for rollout in self.rollouts:
            self._note_rollout(rollout)
        for state in self.states():
            self.book.note_job(state)
        for decision in self.decisions():
            self.book.note_decision(decision)

    def states(self) -> list[JobState]:
        return [Decoder[JobState](JobState)(raw) for raw in self.jobs]

    def decisions(self) -> list[RetrainDecision]:
        return [Decoder[RetrainDecision](RetrainDecision)(raw) for raw in self.said]

    def happen(self, each: Happening) -> None:
        self.now += each.after_ms
        self.labels[each.name] = each.labels
        alarm_id = f"{each.name}-alarm-{each.number}"
        if each.what in ("alarm", "resolved"):
            state: Literal["firing", "resolved"] = "firing" if each.what == "alarm" else "resolved"
            event = alarm(each.kind, state, alarm_id, each.name, self.now)
            self.heard.append(event)
            self.book.note_threshold(event)
        elif each.what == "order":
            order_id = f"{each.name}-order-{each.number}"
            if job_id_of(order_id) not in self.book.jobs:
                self.decide(by_order(order_id, each.name, self.now, self.now - HOUR_MS))
        elif each.what == "ends":
            for job in self.book.open_jobs():
                if job.pipeline == each.name:
                    self._end(job, each)
        elif each.what == "rollout_ends":
            for rollout in list(self.book.rollouts.values()):
                if rollout.pipeline == each.name and rollout.phase == "canary":
                    phase: Literal["champion", "rolled_back"] = "champion" if each.well else "rolled_back"
                    self._roll(with_changes(rollout, phase=phase, seq=1, time_ms=self.now))

    def tick(self) -> None:
        for trigger in asking(self.book, self.pipelines, self.now):
            self.decide(trigger)

    def decide(self, trigger: Trigger) -> None:
        settings = self.pipelines[trigger.pipeline]
        known = known_of(trigger, self.book, self.pipelines, self.gpu, self.now)
        known = replace(known, fresh_labels=self.labels[trigger.pipeline], estimated_loss=0.3, calls_per_day=9_000.0)
        champion = champion_of(self.book, trigger.pipeline, settings)
        found = outcome(trigger, settings, self.book, known, champion)
        assert found == outcome(trigger, settings, self.book, known, champion), "the same knowledge, the same decision"
        if found.said is not None:
            self.said.append(encode(found.said))
            self.book.note_decision(found.said)
        if found.state is not None:
            self._note(found.state)

    def _end(self, job: JobState, each: Happening) -> None:
        expected = known_of(
            by_order("x", job.pipeline, self.now, 0), self.book, self.pipelines, self.gpu, self.now
        ).funds.expected_s
        figures = {states.UNTIL: self.now, "gpu_seconds": each.share * expected}
        if not each.well:
            self._note(states.ended(job, "rejected", "no gain", self.now, figures=figures))
            return
        version = f"{job.pipeline}-v{len(self.rollouts) + 2}"
        self._note(states.ended(job, "registered", "gain", self.now, candidate_version=version, figures=figures))
        self._roll(
            RolloutState(
                rollout_id=derived_id("rollout", job.job_id),
                seq=0,
                time_ms=self.now,
                pipeline=job.pipeline,
                phase="canary",
                reason="",
                job_id=job.job_id,
                candidate_version=version,
                candidate_adapter_dir="a",
                champion_version="c",
                step_started_ms=self.now,
                created_ms=self.now,
            )
        )

    def _roll(self, rollout: RolloutState) -> None:
        self.rollouts.append(rollout)
        self._note_rollout(rollout)

    def _note_rollout(self, rollout: RolloutState) -> None:
        self.book.note_rollout(rollout)
        if rollout.phase == "champion":
            self.book.champions[rollout.pipeline] = rollout.candidate_version

    def _note(self, state: JobState) -> None:
        self.jobs.append(encode(state))
        self.book.note_job(state)

    def spent(self, name: str = "") -> float:
        """GPU seconds of jobs that ended in the period, and all that is promised to those under way."""
        since, total = self.now - self.gpu.period_days * 86_400_000, 0.0
        for job in self.book.jobs.values():
            if job.pipeline != (name or job.pipeline):
                continue
            if job.phase in OPEN_JOBS:
                known = known_of(
                    by_order("x", job.pipeline, self.now, 0), self.book, self.pipelines, self.gpu, self.now
                )
                total += known.funds.expected_s
            elif job.time_ms > since:
                total += gpu_seconds(job, self.now)
        return total

    def check(self) -> None:
        for name in NAMES:
            under_way = [job for job in self.book.open_jobs() if job.pipeline == name]
            rolling = [r for r in self.book.rollouts.values() if r.pipeline == name and r.phase == "canary"]
            assert len(under_way) + len(rolling) <= 1, "one job or rollout at a time"
            budget = self.pipelines[name].trigger.gpu_budget_hours
            assert budget is None or self.spent(name) <= budget * 3600 + 1e-6
        budget = self.gpu.budget_hours
        assert budget is None or self.spent() <= budget * 3600 + 1e-6


def lived(
    pipelines: dict[str, PipelineSettings], gpu: GpuSettings, life: list[Happening], restarts: frozenset[int]
) -> Deployment:
    """A life; the controller is replaced before the happenings of these numbers, and after them."""
    made = Deployment(pipelines, gpu)
    for number, each in enumerate(life):
        if number in restarts:
            made.restart()
        made.happen(each)
        if number in restarts:
            made.restart()
        made.tick()
        made.tick()
        made.check()
    return made


both = st.fixed_dictionaries({name: settings() for name in NAMES})
lives = st.lists(happenings, min_size=10, max_size=40)


@given(both, gpus, lives, st.frozensets(st.integers(0, 39)))
def test_a_restart_changes_nothing(
    pipelines: dict[str, PipelineSettings], gpu: GpuSettings, life: list[Happening], restarts: frozenset[int]
) -> None:
    calm, restarted = lived(pipelines, gpu, life, frozenset()), lived(pipelines, gpu, life, restarts)
    assert calm.states() == restarted.states()
    assert calm.decisions() == restarted.decisions()


@given(both, gpus, lives)
def test_each_job_is_opened_by_one_decision_and_each_decision_is_another_one(
    pipelines: dict[str, PipelineSettings], gpu: GpuSettings, life: list[Happening]
) -> None:
    made = lived(pipelines, gpu, life, frozenset())
    said = made.decisions()
    assert len({each.decision_id for each in said}) == len(said)
    by_trigger = sorted(said, key=lambda each: each.trigger_id)
    for _, decisions in groupby(by_trigger, key=lambda each: each.trigger_id):
        found = list(decisions)
        assert [each.seq for each in found] == list(range(len(found)))
        for before, after in pairwise(found):
            assert (before.act, before.cause, before.attempt, before.champion_version) != (
                after.act,
                after.cause,
                after.attempt,
                after.champion_version,
            )
    opened = [each.job_id for each in said if each.act == "open"]
    assert sorted(opened) == sorted(job.job_id for job in made.states() if job.phase == "collecting")
    assert len(set(opened)) == len(opened)
    for each in said:
        assert each.reasons and each.signals and (each.act == "open") == bool(each.job_id)
