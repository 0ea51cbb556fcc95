"""What the rollout benchmark simulates is what it says, and what is not measured is said so."""

from __future__ import annotations

import json
import math
from functools import partial

import numpy as np
import pytest

from benchmarks import poisoned_gate, turn, turn_simulations
from benchmarks.rollback import Rollbacks
from benchmarks.turn_drifts import Turn
from benchmarks.turn_labels import Point
from benchmarks.turn_simulations import CASES, OTHERS, PLAN, False30, Power
from benchmarks.turn_users import step_rows
from serving.rollout.decide import comparisons


def test_a_fixed_sample_test_that_is_peeked_at_daily_cries_wolf() -> None:
    runs = 2_000
    share = np.mean([turn_simulations._peeked(np.random.default_rng(run)) for run in range(runs)])
    assert share == pytest.approx(0.285, abs=3 * math.sqrt(0.285 * 0.715 / runs))


def test_a_rollout_has_all_steps_of_the_plan_and_its_equal_arms_seldom_come_to_harm() -> None:
    steps = list(turn_simulations._steps(np.random.default_rng(0)))
    assert len(steps) == comparisons(PLAN)
    whole = partial(turn_simulations._rollout, turn_simulations._steps)
    assert sum(whole(np.random.default_rng(seed)) for seed in range(20)) <= 4


def test_users_who_stay_are_few_units_however_often_they_call() -> None:
    told = [looks[-1] for looks in step_rows(np.random.default_rng(1), PLAN, 600, as_calls=False)]
    taken = [looks[-1] for looks in step_rows(np.random.default_rng(1), PLAN, 600, as_calls=True)]
    assert all(0 < found.quality.n <= 300 for found in told)
    assert all(found.quality.n == 600 for found in taken)


def test_ours_finds_more_than_differences_of_means_and_less_than_who_knows() -> None:
    for name in ("large", "medium"):
        found = turn_simulations._power(name, CASES[name], 60)
        assert found.pairs <= found.ours <= found.knowing + 0.05


def _measured(monkeypatch: pytest.MonkeyPatch, found: dict[str, object], *, long: bool) -> dict[str, dict[str, object]]:
    powers = dict.fromkeys(CASES | OTHERS, Power(0.9, 0.9, 0.9, 0.9, 0.9, 90.0))
    alarms = False30(0.03, 0.04, 0.2, 0.29)
    slower = dict.fromkeys((0.4, 0.6, 0.8, 1.0), 1.0)
    done: dict[str, object] = {"equal arms": alarms, "harms": powers, "slower": slower}
    monkeypatch.setattr(poisoned_gate, "WORLDS", (poisoned_gate.WORLDS[2], poisoned_gate.WORLDS[-3]))
    done |= {turn.ROLLBACK: Rollbacks([0.4, 0.9], 100.0), turn.POISON: turn.poisoned(1), **found}
    monkeypatch.setattr(turn, "measured", lambda parts: {name: done[name] for name in parts})
    monkeypatch.setattr("benchmarks.drift_corpus.available", lambda: True)
    return {goal["name"]: goal for goal in json.loads(turn.measure(long=long).line())["goals"]}


def test_goals_that_are_not_measured_are_there_without_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    goals = _measured(monkeypatch, {}, long=False)
    assert goals["rollback_s"]["value"] == 0.9, "the longest of them"
    assert goals["poisoned_passed"]["holds"] and goals["poisoned_passed"]["unit"] == "of 1"
    assert goals["aa_false"]["holds"] and not goals["power_small"]["holds"]
    assert [name for name, goal in goals.items() if goal["value"] is None] == [
        *("unseen_after", "known_loss", "forgetting_after_4", "forgetting_after_10")
    ]


def test_the_long_run_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [Point(0, 0, 0.02, 0.9, 0.0, 0.0, 0.0), Point(4_500, 9_000, 0.76, 0.87, 200.0, 400.0, 3_000.0)]
    rows = {
        f"{turns} drifts": [
            Turn(number, tuple(0.9 if domain <= number else 0.0 for domain in range(turns + 1)), 1.0)
            for number in range(turns + 1)
        ]
        for turns in turn.TURNS
    }
    goals = _measured(monkeypatch, {turn.UNSEEN: points, **rows}, long=True)
    assert goals["unseen_after"]["value"] == 0.76
    assert goals["known_loss"]["value"] == pytest.approx(0.03)
    assert goals["forgetting_after_4"]["value"] == goals["forgetting_after_10"]["value"] == 0.0
