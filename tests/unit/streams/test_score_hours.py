"""Scores one by one beside their hour: places that are alike in every hour, and far out when quality changes."""

from __future__ import annotations

from math import pi, sin
from random import Random
from statistics import fmean

import pytest

from streams.detectors.conformal import Conformal
from streams.detectors.score_hours import ScoreHours

HOUR, DAY = 3_600_000, 24 * 3_600_000
EVERY_MS = 10_000


def level(time_ms: int) -> float:
    return 0.85 + 0.12 * sin(2 * pi * time_ms / DAY)


def places(
    hours: ScoreHours, days: range, chance: Random, sure: float = 0.0, fall: float = 0.0
) -> list[tuple[int, float]]:
    """A score each ten seconds: 0 or 1, or with ``sure`` nearer to its level."""
    found = []
    for at in range(days.start * DAY, days.stop * DAY, EVERY_MS):
        mean = level(at) - fall
        score = sure * mean + (1 - sure) * (chance.random() < mean)
        if (place := hours.take(score, at)) is not None:
            found.append((at, place))
    return found


@pytest.mark.parametrize("sure", [0.0, 0.5])
def test_places_are_uniform_in_every_hour_whatever_scores_are_like(sure: float) -> None:
    hours = ScoreHours("day", 1)
    assert places(hours, range(1), Random(1), sure) == []
    found = places(hours, range(1, 3), Random(2), sure)
    assert len(found) == 2 * DAY / EVERY_MS
    for hour in range(24):
        mine = [place for at, place in found if at % DAY // HOUR == hour]
        assert fmean(mine) == pytest.approx(0.5, abs=0.05)
        assert fmean(place < 0.2 for place in mine) == pytest.approx(0.2, abs=0.06)
        assert fmean(place > 0.8 for place in mine) == pytest.approx(0.2, abs=0.06)


def test_a_fall_brings_low_places_for_a_whole_day() -> None:
    hours = ScoreHours("day", 1)
    places(hours, range(2), Random(3))
    found = places(hours, range(2, 3), Random(4), fall=0.3)
    for hour in range(24):
        assert fmean(place for at, place in found if at % DAY // HOUR == hour) < 0.45


def test_what_is_usual_is_known_of_hours_that_were_seen() -> None:
    hours = ScoreHours("day", 1)
    places(hours, range(2), Random(5))
    assert hours.usual(2 * DAY + 6 * HOUR) == pytest.approx(level(6 * HOUR), abs=0.04)
    assert ScoreHours("day", 1).usual(0) is None


def test_scores_of_a_time_before_count_in_the_hour_that_goes_on() -> None:
    hours = ScoreHours("day", 1)
    places(hours, range(1), Random(6))
    hours.take(1.0, DAY + 5 * HOUR)
    before = hours.snapshot()
    hours.take(1.0, DAY + 4 * HOUR)
    after = hours.snapshot()
    assert (after.visit, after.n, after.weights) == (before.visit, before.n + 1, before.weights)


@pytest.mark.parametrize("top", [0.84, 0.97])
def test_a_detector_behind_keeps_its_promise_nearly(top: float) -> None:
    """Eight runs of four days, the first without a verdict: at most the alarms of the budget, by three deviations."""
    alarms, n = 0, 0
    for seed in range(8):
        hours, detector, chance = ScoreHours("day", seed), Conformal(2_000, seed=seed, warm=8), Random(seed)
        for at in range(0, 4 * DAY, 6 * EVERY_MS):
            score = float(chance.random() < top + 0.025 * sin(2 * pi * at / DAY))
            if (place := hours.take(score, at)) is not None:
                detector.update(place)
                n += 1
                alarms += detector.drift_detected
    assert alarms <= n / 2_000 + 3 * (n / 2_000) ** 0.5
