"""The comparison: few false alarms under constant looking, quick on real harm (simulated, seeded)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serving.rollout.compare import compare, concurrent_differences, interval

ALPHA = 0.05


def _arms(
    rng: np.random.Generator, n: int, share: float, champion: float, candidate: float
) -> list[tuple[bool, float]]:
    is_candidate = rng.random(n) < share
    hit = rng.random(n) < np.where(is_candidate, candidate, champion)
    return [(bool(c), float(h)) for c, h in zip(is_candidate, hit, strict=True)]


@pytest.mark.parametrize(("share", "level"), [(0.25, 0.9), (0.5, 0.6)])
def test_equal_arms_are_rarely_called_harmful(share: float, level: float) -> None:
    rng = np.random.default_rng(7)
    runs = 400
    false = sum(
        compare(concurrent_differences(_arms(rng, 600, share, level, level)), 0.0, ALPHA).harmful for _ in range(runs)
    )
    assert false / runs <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


def test_worse_by_less_than_the_margin_is_no_harm() -> None:
    rng = np.random.default_rng(8)
    runs = 200
    false = sum(
        compare(concurrent_differences(_arms(rng, 600, 0.5, 0.85, 0.80)), 0.05, ALPHA).harmful for _ in range(runs)
    )
    assert false / runs <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


def test_large_harm_is_proven_within_60_scores_an_arm() -> None:
    rng = np.random.default_rng(9)
    runs = 200
    found = sum(
        compare(concurrent_differences(_arms(rng, 120, 0.5, 0.9, 0.3)), 0.05, ALPHA / 3).harmful for _ in range(runs)
    )
    assert found / runs >= 0.98


def test_shared_change_of_level_is_not_blamed_on_the_candidate() -> None:
    rng = np.random.default_rng(10)
    runs = 100
    false = 0
    for _ in range(runs):
        scores = _arms(rng, 150, 0.25, 0.95, 0.95) + _arms(rng, 150, 0.25, 0.2, 0.2)
        false += compare(concurrent_differences(scores), 0.05, ALPHA).harmful
    assert false <= 5


def test_interval_covers_and_narrows() -> None:
    rng = np.random.default_rng(11)
    widths = []
    for n in (50, 1500):
        low, high = interval(concurrent_differences(_arms(rng, n, 0.5, 0.8, 0.5)), ALPHA)
        assert low <= 0.3 <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_no_scores_say_nothing() -> None:
    nothing = compare([], 0.05, ALPHA)
    assert (nothing.n, nothing.mean, nothing.harmful) == (0, None, False)
    assert interval([], ALPHA) == (-1.0, 1.0)
    assert concurrent_differences([(True, 1.0)] * 9) == []


def test_differences_are_of_concurrent_means() -> None:
    assert concurrent_differences([(False, 1.0), (False, 0.0), (True, 1.0), (True, 0.0), (False, 1.0)]) == [-0.5, 1.0]
