"""A season becomes residuals: small while hours are as they were, large when something changes, for a whole period."""

from __future__ import annotations

from math import pi, sin
from random import Random
from statistics import fmean, stdev

import msgspec
import pytest

from streams.detectors.conformal import Conformal
from streams.detectors.season import CLIP, LIMIT, SLOTS, Period, Season

MINUTE, HOUR, DAY = 60_000, 3_600_000, 24 * 3_600_000


def level(time_ms: int) -> float:
    return 100 + 30 * sin(2 * pi * time_ms / DAY) + (20 if time_ms // DAY % 7 >= 5 else 0)


def residuals(season: Season, days: range, chance: Random, shift: float = 0.0) -> list[float | None]:
    """A value a minute, with noise of 5."""
    times = range(days.start * DAY, days.stop * DAY, MINUTE)
    return [season.update(level(at) + chance.gauss(0, 5) + shift, at) for at in times]


def known(found: list[float | None]) -> list[float]:
    return [z for z in found if z is not None]


@pytest.mark.parametrize(("period", "first"), [("day", 1), ("week", 7)])
def test_there_is_no_verdict_in_the_first_period_and_one_for_every_value_after_it(period: Period, first: int) -> None:
    found = residuals(Season(period), range(first + 1), Random(1))
    assert set(found[: first * 24 * 60]) == {None}
    assert None not in found[first * 24 * 60 :]


def test_what_is_usual_for_the_hour_has_residuals_of_mean_zero_and_deviation_one() -> None:
    season = Season("week")
    residuals(season, range(7), Random(2))
    found = known(residuals(season, range(7, 14), Random(3)))
    assert abs(fmean(found)) < 0.05
    assert stdev(found) == pytest.approx(1, abs=0.05)
    hours = [fmean(found[at : at + 60]) for at in range(0, len(found), 60)]
    assert stdev(hours) < 1.3 / 60**0.5  # no hour is off by more than the noise of its own values


def test_a_change_stands_out_in_every_hour_of_the_period_that_follows() -> None:
    season = Season("day")
    for day in range(4):
        residuals(season, range(day % 5, day % 5 + 1), Random(day))
    found = known(residuals(season, range(4, 5), Random(9), shift=10))
    hours = [fmean(found[at : at + 60]) for at in range(0, len(found), 60)]
    assert min(hours) > 1.0  # of two deviations


def test_a_change_that_stays_becomes_the_usual_after_a_while() -> None:
    season = Season("day")
    for _ in range(4):
        residuals(season, range(1), Random(0))
    for _ in range(40):
        found = known(residuals(season, range(1), Random(5), shift=10))
    assert abs(fmean(found)) < 0.2


def test_wild_values_move_what_is_usual_by_a_few_deviations_at_most() -> None:
    season, calm = Season("day"), Season("day")
    for each in (season, calm):
        residuals(each, range(3), Random(4))
    assert season.update(1e12, 3 * DAY) == LIMIT
    calm.update(level(3 * DAY), 3 * DAY)
    for each in (season, calm):
        each.update(level(3 * DAY + HOUR), 3 * DAY + HOUR)
    moved = season.snapshot().levels[0] - calm.snapshot().levels[0]
    assert 0 < moved < 2 * CLIP * 5


def test_constant_values_are_usual_and_any_other_is_far_out() -> None:
    season = Season("day")
    for at in range(0, 2 * DAY, MINUTE):
        found = season.update(0.0, at)
    assert found == 0.0
    assert season.update(0.5, 2 * DAY) == LIMIT


def test_a_slot_without_values_has_no_verdict_and_its_neighbours_do_not_need_it() -> None:
    season = Season("day")
    for day in range(2):
        for at in range(day * DAY + 8 * HOUR, day * DAY + 9 * HOUR, MINUTE):
            found = season.update(1.0, at)
    assert found == 0.0
    assert season.update(1.0, DAY + 9 * HOUR) is None


def test_chance_spreads_values_over_their_step_and_is_the_same_in_a_replay() -> None:
    def run(seed: int, step: float) -> list[float | None]:
        season, chance = Season("day", seed), Random(6)
        return [season.update(chance.randint(0, 4) / 4, at, step) for at in range(0, 2 * DAY, MINUTE)]

    assert run(1, 0.25) == run(1, 0.25) != run(2, 0.25)
    assert len(set(known(run(1, 0.25)))) > 1_000


def test_what_is_usual_and_what_is_forecast() -> None:
    season = Season("day")
    assert season.usual(0) is None and season.forecast(0) is None
    residuals(season, range(3), Random(8))
    at = 3 * DAY + 6 * HOUR
    usual = season.usual(at)
    assert usual is not None and usual.level == pytest.approx(level(at), abs=2)
    assert usual.deviation == pytest.approx(5, abs=1.5)
    for minute in range(60):
        season.update(usual.level + 20, at + minute * MINUTE)
    forecast = season.forecast(at + HOUR - 1)
    assert forecast is not None and forecast.n > 60 and forecast.level > level(at) + 4, "the hour's own values count"
    assert season.usual(at) == usual, "and not in what is usual"
    assert season.hour_ms == at


def test_a_visit_can_be_left_out() -> None:
    season, calm = Season("day"), Season("day")
    for each in (season, calm):
        residuals(each, range(2), Random(9))
    for minute in range(20):
        season.update(500, 2 * DAY + minute * MINUTE)
    season.skip_visit()
    for each in (season, calm):
        each.update(100, 2 * DAY + HOUR)
    assert season.snapshot().levels[0] == calm.snapshot().levels[0]


def test_all_hours_can_be_moved_and_then_follow_soon() -> None:
    season = Season("day")
    residuals(season, range(4), Random(0))
    season.shift(4.0)
    found = known(residuals(season, range(4, 5), Random(10), shift=20))
    assert abs(fmean(found)) < 0.4
    assert min(season.snapshot().weights[:-1]) > 60, "all but the hour that goes on"


def test_no_deviation_counts_as_smaller_than_the_least() -> None:
    season = Season("day")
    for at in range(0, DAY + HOUR, MINUTE):
        season.update(1.0, at, least=0.1)
    assert season.update(1.2, DAY + HOUR, least=0.1) == pytest.approx(2.0, rel=0.02)


def test_a_detector_behind_keeps_its_promise_nearly() -> None:
    """Ten runs of nine days, the first without a verdict: at most the alarms of the budget, by three deviations."""
    alarms = 0
    for seed in range(10):
        season, detector, chance = Season("day"), Conformal(1_000, seed=seed), Random(seed)
        for at in range(0, 5 * DAY, 2 * MINUTE):
            z = season.update(sin(2 * pi * at / DAY) * 3 + chance.gauss(0, 1), at)
            if z is not None:
                detector.update(z)
                alarms += detector.drift_detected
    budget = 10 * 4 * 720 / 1_000
    assert alarms <= budget + 3 * budget**0.5


def test_the_state_is_a_few_kilobytes() -> None:
    season = Season("week")
    residuals(season, range(8), Random(7))
    assert len(msgspec.msgpack.encode(season.snapshot())) < SLOTS["week"] * 3 * 9 + 100


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match="season is 'year'; it is day or week"):
        Season("year")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nan; leave out"):
        Season().update(float("nan"), 0)
    with pytest.raises(ValueError, match="24 slots, a week has 168: start anew"):
        Season("week").restore(Season("day").snapshot())
