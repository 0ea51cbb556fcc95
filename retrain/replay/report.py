"""What a policy's run comes to, beside the falls it ought to have answered."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from retrain.replay.falls import Fall
from retrain.replay.history import History
from retrain.replay.turns import Run, Triggered, Turn
from retrain.replay.world import World

RECORDED = "recorded"
"""The name of what really happened."""
HOUR_MS = 3_600_000


class Answered(Struct, frozen=True, kw_only=True):
    """One fall, and how the policy answered it; times are epoch milliseconds, None: it did not."""

    start_ms: int
    end_ms: int | None
    reference: float
    level: float
    """The lowest level within it."""
    alarm_ms: int | None
    trigger_ms: int | None
    takeover_ms: int | None


class Result(Struct, frozen=True, kw_only=True):
    """One policy on one pipeline."""

    pipeline: str
    policy: str
    alarms: int
    false_alarms: int
    """Alarms on quality that began while no fall lasted."""
    notices: int
    """Notices of drift."""
    triggers: int
    """Trainings that were started."""
    false_triggers: int
    """Of these, those that began while no fall lasted."""
    drift_triggers: int
    """Of the trainings, those that a notice of drift alone opened."""
    falls: int
    missed: int
    """Falls during which no training began."""
    given_up: int | None
    """Collections that ended without enough labels; None: not known."""
    alarm_delay_s: float | None
    """Median time from the begin of a fall to its alarm, over the falls that had one."""
    trigger_delay_s: float | None
    """Likewise to the training's start."""
    train_s: float
    """Seconds of GPU that one training takes; where it is recorded, its own time counts."""
    takeover_s: float
    """From there to the new champion."""
    gpu_hours: float
    gpu_cost_usd: float | None
    """None without a price."""
    loss: float | None
    """Points of score below the reference, summed over the answers to clients: with scores of 0 and 1, wrong answers
    too many. None where the table of windows does not say how many answers there were."""
    loss_avoided: float | None
    """What nobody's retraining would have lost, less ``loss``."""
    loss_assumed: float | None
    """The part of ``loss`` that lies after a champion ended the fall for the real calls: held at the last level."""
    answers: tuple[Answered, ...]
    trigger_times_ms: tuple[int, ...]
    false_times_ms: tuple[int, ...]
    """Those of the false triggers among them."""


def replayed(
    policy: str, history: History, run: Run, world: World, turn: Turn, usd_per_hour: float | None = None
) -> Result:
    """What one run comes to; all its trainings take the same time."""
    taken = turn.train_ms * len(run.triggered)
    return _result(policy, history, run, world, turn, taken, usd_per_hour, run.given_up)


def _result(
    policy: str,
    history: History,
    run: Run,
    world: World,
    turn: Turn,
    gpu_ms: float,
    usd_per_hour: float | None,
    given_up: int | None,
) -> Result:
    untreated = World(world.falls)
    loss, assumed = world.loss(history.calls)
    known, hours = bool(history.calls.windows), gpu_ms / HOUR_MS
    answers = tuple(_answered(at, fall, run, world) for at, fall in enumerate(world.falls))
    return Result(
        pipeline=history.pipeline,
        policy=policy,
        alarms=len(run.alarms),
        false_alarms=sum(untreated.fall_at(time_ms) is None for time_ms in run.alarms),
        notices=run.notices,
        triggers=len(run.triggered),
        false_triggers=sum(each.fall is None for each in run.triggered),
        drift_triggers=sum(each.drift for each in run.triggered),
        falls=len(world.falls),
        missed=sum(each.trigger_ms is None for each in answers),
        given_up=given_up,
        alarm_delay_s=_delay([(each.alarm_ms, each.start_ms) for each in answers]),
        trigger_delay_s=_delay([(each.trigger_ms, each.start_ms) for each in answers]),
        train_s=turn.train_ms / 1000,
        takeover_s=turn.takeover_ms / 1000,
        gpu_hours=hours,
        gpu_cost_usd=None if usd_per_hour is None else hours * usd_per_hour,
        loss=loss if known else None,
        loss_avoided=untreated.loss(history.calls)[0] - loss if known else None,
        loss_assumed=assumed if known else None,
        answers=answers,
        trigger_times_ms=tuple(each.start_ms for each in run.triggered),
        false_times_ms=tuple(each.start_ms for each in run.triggered if each.fall is None),
    )


def recorded(history: History, falls: Sequence[Fall], turn: Turn, usd_per_hour: float | None) -> Result:
    """What really happened, judged alike: trainings that ran, alarms that were said, falls that a champion ended."""
    world = World(falls)
    triggered = [Triggered(each.start_ms, world.fallen(each.start_ms), each.drift) for each in history.trainings]
    for at, fall in enumerate(falls):
        if fall.healed_ms is not None:
            world.end(at, fall.healed_ms)
    firing = [event for event in history.alarms if event.data.state == "firing"]
    run = Run(
        alarms=[event.time_ms for event in firing if event.data.kind == "quality" and not event.data.slice],
        notices=sum(event.data.kind == "drift" for event in firing),
        triggered=triggered,
    )
    taken = sum(turn.train_ms if each.end_ms is None else each.end_ms - each.start_ms for each in history.trainings)
    return _result(RECORDED, history, run, world, turn, taken, usd_per_hour, None)


def usual_turn(histories: Sequence[History]) -> tuple[int | None, int | None]:
    """The median times that recorded trainings took to their verdict, and from there to serving everybody.

    Milliseconds; None where none came so far.
    """
    trained = [(each, each.end_ms) for one in histories for each in one.trainings]
    verdicts = [end - each.start_ms for each, end in trained if end is not None]
    served = [each.champion_ms - end for each, end in trained if end is not None and each.champion_ms is not None]
    return round(median(verdicts)) if verdicts else None, round(median(served)) if served else None


def _answered(at: int, fall: Fall, run: Run, world: World) -> Answered:
    inside = [time_ms for time_ms in run.alarms if world.fall_at(time_ms) == at]
    return Answered(
        start_ms=fall.start_ms,
        end_ms=fall.end_ms,
        reference=fall.reference,
        level=min(mean for _, mean in fall.levels),
        alarm_ms=min(inside, default=None),
        trigger_ms=min((each.start_ms for each in run.triggered if each.fall == at), default=None),
        takeover_ms=world.ended.get(at),
    )


def _delay(pairs: Sequence[tuple[int | None, int]]) -> float | None:
    known = [(then - start) / 1000 for then, start in pairs if then is not None]
    return median(known) if known else None
