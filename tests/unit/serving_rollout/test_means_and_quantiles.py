"""Bounds of means and quantiles: they hold at every look, and get near."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serving.rollout.asymptotic import LEAST, deviations, excess
from serving.rollout.quantiles import bounds, levels

ALPHA = 0.05


def test_a_mean_is_rarely_called_larger_at_any_look() -> None:
    rng = np.random.default_rng(1)
    runs, false = 400, 0
    for _ in range(runs):
        mine, theirs = rng.normal(0, 1, 1500), rng.normal(0, 1, 4500)
        false += any(excess(mine[:n], theirs[: 3 * n], 1.0, ALPHA) > 0 for n in range(LEAST, 1501, 25))
    assert false / runs <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


def test_a_longer_mean_is_found_and_too_few_say_nothing() -> None:
    rng = np.random.default_rng(2)
    mine, theirs = rng.exponential(1.5, 500), rng.exponential(1.0, 1500)
    assert excess(mine, theirs, 1.1, ALPHA) > 0
    assert excess(mine[: LEAST - 1], theirs, 1.1, ALPHA) == -math.inf


def test_the_boundary_is_wider_than_a_single_look_and_grows_slowly() -> None:
    assert deviations(300, 0.05) > 1.645
    assert deviations(300, 0.05) < 3 and deviations(100_000, 0.05) < 4.5
    assert deviations(300, 0.001) > deviations(300, 0.05)


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_a_quantile_stays_within_its_bounds_at_all_looks(q: float) -> None:
    rng = np.random.default_rng(3)
    runs, missed = 200, 0
    truth = -math.log(1 - q)
    for _ in range(runs):
        values = rng.exponential(1.0, 2000)
        for n in range(20, 2001, 60):
            low, high = bounds(values[:n], np.arange(n), q, ALPHA)
            if not low <= truth <= high:
                missed += 1
                break
    assert missed / runs <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


def test_quantile_bounds_narrow_and_begin_open() -> None:
    few, many = levels(20, 0.95, ALPHA), levels(5000, 0.95, ALPHA)
    assert few[1] == 1.0 and 0.93 < many[0] < 0.95 < many[1] < 0.97
    assert bounds(np.zeros(0), np.zeros(0, dtype=np.int64), 0.95, ALPHA) == (-math.inf, math.inf)


def test_a_session_of_many_answers_weighs_as_one() -> None:
    values = np.concatenate([np.full(900, 9.0), np.linspace(0, 1, 99)])
    units = np.concatenate([np.zeros(900, dtype=np.int64), np.arange(1, 100)])
    _, high = bounds(values, units, 0.5, ALPHA)
    assert high < 1
