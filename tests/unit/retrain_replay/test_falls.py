"""Hindsight: where quality fell, how deep, until when, and who ended it."""

from __future__ import annotations

import numpy as np
import pytest

from retrain.replay.falls import LEAST_SCORES, Said, levels, measured, partition, told
from retrain.replay.history import Calls
from retrain.replay.world import World
from tests.unit.retrain_replay.made import SECOND, START, falling, past, steady
from tidemill.errors import Stop

DROP = 0.1


def at(second: int) -> int:
    return START + second * SECOND


def test_steady_quality_never_falls() -> None:
    for seed in range(20):
        assert measured(past(steady, seed=seed), DROP) == []


def test_a_fall_that_ends_by_itself() -> None:
    (fall,) = measured(past(falling(1000, 1600)), DROP)
    assert abs(fall.start_ms - at(1000)) <= 5 * SECOND
    assert fall.end_ms is not None and abs(fall.end_ms - at(1600)) <= 5 * SECOND
    assert (fall.healed_ms, fall.until_ms) == (None, fall.end_ms)
    assert fall.reference == pytest.approx(0.95, abs=0.03)
    assert [mean for _, mean in fall.levels] == [pytest.approx(0.2, abs=0.06)]


def test_a_fall_that_a_champion_ended_lasts_on_for_whoever_does_not_retrain() -> None:
    history = past(falling(1000, 1600, healed=True))
    (fall,) = measured(history, DROP)
    assert fall.healed_ms == fall.end_ms and fall.until_ms == history.until_ms
    assert fall.back == pytest.approx(0.95, abs=0.03)


def test_a_fall_that_nobody_ended_lasts_to_the_end() -> None:
    history = past(falling(2000))
    (fall,) = measured(history, DROP)
    assert (fall.end_ms, fall.healed_ms, fall.until_ms) == (None, None, history.until_ms)
    assert fall.back == fall.reference


def test_two_falls_the_first_lasts_at_most_to_the_second() -> None:
    def twice(second: int) -> tuple[float, str]:
        return (0.2 if 500 <= second < 900 or second >= 2000 else 0.95), ("v1" if second < 900 else "v2")

    first, second = measured(past(twice), DROP)
    assert first.healed_ms is not None and first.until_ms == second.start_ms


def test_a_slow_decay_adds_up() -> None:
    def sinking(second: int) -> tuple[float, str]:
        return 0.95 - 0.07 * min(second // 1500, 4), "v1"

    falls = measured(past(sinking, 7_500, exact=True), DROP)
    assert [fall.start_ms for fall in falls] == [at(3000)], "two steps of 0.07 are more than 0.1"
    assert [round(mean, 2) for _, mean in falls[0].levels] == [0.81, 0.74, 0.67]


def test_too_few_scores_say_nothing() -> None:
    assert levels(past(falling(5), LEAST_SCORES - 1)) == []
    assert measured(past(falling(5), LEAST_SCORES - 1), DROP) == []


def test_long_histories_are_looked_at_in_groups() -> None:
    chance = np.random.default_rng(0)
    scores = np.concatenate([chance.random(100_000) < 0.9, chance.random(50_000) < 0.6]).astype(float)
    assert partition(scores) == [0, pytest.approx(100_000, abs=100)]


def test_a_fall_that_a_person_names() -> None:
    history = past(falling(1000, 1600))
    (fall,) = told(history, [Said(at(1000), at(1600))])
    assert (fall.start_ms, fall.end_ms, fall.healed_ms) == (at(1000), at(1600), None)
    assert fall.levels[0][1] == pytest.approx(0.2, abs=0.06)
    (open_end,) = told(history, [Said(at(1000), None)])
    assert open_end.until_ms == history.until_ms
    (healed,) = told(past(falling(1000, 1600, healed=True)), [Said(at(1000), at(1600))])
    assert healed.healed_ms == at(1600)


@pytest.mark.parametrize(("said", "where"), [((0, 100), "within the hour before"), ((2900, 2900), "in the fall")])
def test_a_named_fall_without_scores_says_what_to_do(said: tuple[int, int], where: str) -> None:
    with pytest.raises(Stop, match=f"{where}.*choose another --from, or leave that fall out"):
        told(past(steady), [Said(*map(at, said))])


def test_calls_are_spread_evenly_within_a_window() -> None:
    calls = Calls([(at(0), at(10), 100), (at(20), at(30), 50)])
    assert calls.between(at(5), at(25)) == pytest.approx(50 + 25)
    assert calls.between(at(0), at(1000)) == 150
    assert calls.between(at(5), at(5)) == calls.between(at(9), at(3)) == 0
    assert Calls(()).between(0, at(5)) == 0


def test_loss_is_the_area_below_the_reference_times_the_calls() -> None:
    history = past(falling(1000, 2000, healed=True), exact=True)
    world = World(measured(history, DROP))
    assert list(world.loss(history.calls)) == pytest.approx([0.75 * 2000 * 10, 0.75 * 1000 * 10])
    world.end(0, at(1500))
    assert list(world.loss(history.calls)) == pytest.approx([0.75 * 500 * 10, 0])
    late = World(world.falls)
    late.end(0, at(2500))
    assert list(late.loss(history.calls)) == pytest.approx([0.75 * 1500 * 10, 0.75 * 500 * 10])


def test_what_was_measured_holds_as_long_as_the_policy_fares_as_the_real_calls_did() -> None:
    healed = World(measured(past(falling(1000, 2000, healed=True), exact=True), DROP))
    assert [healed.as_measured(at(second)) for second in (500, 1200, 1700, 2500)] == [True, True, True, False]
    healed.end(0, at(1500))
    assert [healed.as_measured(at(second)) for second in (500, 1200, 1700, 2500)] == [True, True, False, True]
    alone = World(measured(past(falling(1000, 2000), exact=True), DROP))
    assert all(alone.as_measured(at(second)) for second in (500, 1500, 2500))


def test_scores_are_as_measured_lifted_or_held() -> None:
    history = past(falling(1000, 2000, healed=True))
    world = World(measured(history, DROP))
    points = {second: history.scores[second] for second in (500, 1200, 1700, 2500)}
    level, back = world.falls[0].levels[0][1], world.falls[0].back
    assert [world.score(p) for p in points.values()] == [
        points[500].score,
        points[1200].score,
        points[1700].score,
        level,
    ]
    world.end(0, at(1500))
    assert [world.score(p) for p in points.values()] == [
        points[500].score,
        points[1200].score,
        back,
        points[2500].score,
    ]
