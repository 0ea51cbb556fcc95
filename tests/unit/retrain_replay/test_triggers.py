"""A replay asks what the controller asks: schedules, budgets and what a training is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrain.replay.falls import measured
from retrain.replay.run import run
from tests.unit.retrain_replay.made import TURN, Quality, detector, falling, past, policy, seconds_of, steady
from tidemill.settings import GpuSettings, TriggerSettings

PRICE = GpuSettings(usd_per_hour=3.6)
"""A training of 60 s costs 6 cents."""


def began(trigger: TriggerSettings, quality: Quality = steady) -> Sequence[int]:
    """Seconds at which trainings began."""
    history, settings = past(quality, 3_000), policy(trigger)
    done, _ = run(history, settings, measured(history, 0.1), TURN, detector(settings), gpu=PRICE)
    return seconds_of([each.start_ms for each in done.triggered])


def test_a_schedule_trains_at_its_times_and_the_first_as_soon_as_there_are_labels() -> None:
    assert began(TriggerSettings()) == []
    first, *others = began(TriggerSettings(schedule="every 10m"))
    assert 100 <= first <= 200 and others == [600, 1200, 1800, 2400, 3000]


def test_a_budget_ends_it() -> None:
    assert len(began(TriggerSettings(schedule="every 10m", gpu_budget_hours=150 / 3600))) == 2


def test_a_fall_is_answered_where_it_pays() -> None:
    """10 calls a second for 0.01 days, half of some 0.7 points back: about 3,000 points."""
    worth: dict[str, Any] = {"gain_horizon_days": 0.01, "expected_recovery": 0.5}
    fall = falling(1_000)
    assert len(began(TriggerSettings(usd_per_point=0.001, **worth), fall)) == 1
    assert began(TriggerSettings(usd_per_point=0.000001, **worth), fall) == []
