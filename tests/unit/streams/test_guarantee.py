"""The promise of the false-alarm budget, simulated: a small form of ``tidemill bench drift``, with the same code."""

from __future__ import annotations

from statistics import fmean

import pytest

from benchmarks.drift_claims import VALUES, bounded, conformal, dependence, probing, rounds, simulate
from benchmarks.drift_guarantee import Quiet, allowed, dependent, family, first_alarms


@pytest.mark.parametrize("seed", [1, 2])
def test_every_detector_goes_its_run_length_without_a_false_alarm(seed: int) -> None:
    for found in simulate(100, runs=150, seed=seed):
        assert found.holds, found


@pytest.mark.parametrize("values", VALUES)
def test_long_run_lengths_hold_too(values: str) -> None:
    assert Quiet("conformal", values, 1_000, first_alarms(conformal(1_000), VALUES[values], 1_000, 60, 4)).holds


def test_the_simulation_notices_a_broken_promise() -> None:
    """A threshold of a half of what is promised, and a mean above the declared bound."""
    lengths = first_alarms(conformal(50), VALUES["N(0, 1)"], 100, 150, 1)
    assert not Quiet("conformal", "", 100, lengths).holds
    lengths = first_alarms(bounded(100), lambda rng, n: (rng.random(n) < 0.4).astype(float), 100, 150, 1)
    assert not Quiet("bounded", "", 100, lengths).holds
    changed = first_alarms(probing(100), lambda rng, n: rounds(rng, n) & (rng.random((n, 8)) < 0.6), 100, 20, 1)
    assert not Quiet("probe", "", 100, changed).holds, "answers that have become others are no false alarms"


@pytest.mark.parametrize(("pipelines", "slices"), [(1, 1), (2, 3)])
def test_a_family_of_dependent_series_keeps_the_promise_of_one(pipelines: int, slices: int) -> None:
    found = family(pipelines, slices, run_length=400, updates=200, runs=40)
    assert found.holds, found


def test_a_family_without_a_budget_breaks_it() -> None:
    """Eighteen series that each take the whole budget."""
    runs = 40
    alarms = [
        any(length <= 200 for length in first_alarms(conformal(400), VALUES["N(0, 1)"], 400, 18, seed))
        for seed in range(runs)
    ]
    assert fmean(alarms) > allowed(0.5, runs)


def test_dependence_is_said_and_independence_is_not() -> None:
    found = dependent(1_000, runs=30)
    assert found.alarm_after < 500
    assert found.warned_after < 200
    assert found.warned_first > 0.5
    quiet = first_alarms(dependence(1_000), lambda rng, n: rng.random(n), 1_000, 60, 5)
    assert Quiet("warning", "", 1_000, quiet).holds
