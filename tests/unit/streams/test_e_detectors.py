"""The e-detectors: what they find, what they refuse, and what a unit of mass is."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable

import numpy as np
import pytest

from streams.detectors.betting import Sums, step
from streams.detectors.bounded import Bounded
from streams.detectors.conformal import Conformal, slot_of_week
from streams.detectors.cusum_chart import CusumChart, run_length
from streams.detectors.ranks import WARM, Ranks
from streams.detectors.two_sample import TwoSample, upper_bound


def alarms(detector: Bounded | Conformal | CusumChart | TwoSample, values: Iterable[object]) -> list[int]:
    """The numbers, from 1, of the values with an alarm."""
    found = []
    for n, value in enumerate(values, 1):
        detector.update(value)  # type: ignore[arg-type]
        if detector.drift_detected:
            found.append(n)
    return found


def bits(chance: random.Random, n: int, share: float) -> list[float]:
    return [float(chance.random() < share) for _ in range(n)]


@pytest.mark.parametrize(("share", "odds"), [(0.02, 6.0), (0.2, 2.0), (0.5, 6.0)])
def test_a_bet_on_an_event_is_fair_at_its_share_and_loses_below(share: float, odds: float) -> None:
    happens, fails = step(share, odds)
    assert share * happens + (1 - share) * fails == pytest.approx(1)
    assert 0.5 * share * happens + (1 - 0.5 * share) * fails < 1


def test_wealth_grows_by_the_mass_when_bets_pay_nothing_and_starts_anew_at_an_alarm() -> None:
    sums = Sums([0.5, 0.5], run_length=3)
    assert not sums.stake([1, 1], 1)
    sums.wait(1)
    assert not sums.stake([1, 1], 0.5)
    assert sums.value == 2.5
    assert sums.stake([1, 1], 0.5)
    assert sums.value == 3
    assert not sums.stake([1, 1], 1)
    assert sums.value == 1


def test_less_mass_finds_the_same_change_later() -> None:
    delays = []
    for mass in (1.0, 0.01):
        detector = Bounded(10_000, high=0.2)
        n = 0
        while not detector.drift_detected:
            n += 1
            detector.update(0.7, mass)
        delays.append(n)
    assert delays[0] < delays[1] < 3 * delays[0]


def test_bounded_finds_a_rise_and_a_fall_and_nothing_within_its_bounds() -> None:
    chance = random.Random(1)
    assert alarms(Bounded(10_000, high=0.3, low=0.1), bits(chance, 3_000, 0.2)) == []
    assert alarms(Bounded(10_000, high=0.3, low=0.1), bits(chance, 60, 0.8))[0] < 40
    assert alarms(Bounded(10_000, low=0.8), bits(chance, 60, 0.3))[0] < 40
    assert alarms(Bounded(10_000, high=0.3), bits(chance, 3_000, 0.0)) == []


def test_bounded_says_what_is_wrong_with_its_bounds_and_values() -> None:
    with pytest.raises(ValueError, match="declare high, low or both"):
        Bounded()
    with pytest.raises(ValueError, match=r"high is 1\.5"):
        Bounded(high=1.5)
    with pytest.raises(ValueError, match=r"low is 0.5, above high"):
        Bounded(high=0.3, low=0.5)
    with pytest.raises(ValueError, match="run_length is 0"):
        Bounded(0, high=0.3)
    with pytest.raises(ValueError, match=r"the value is 250\.0"):
        Bounded(high=0.3).update(250.0)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
@pytest.mark.parametrize("after", [(3.0, 1.0), (-3.0, 1.0), (0.0, 5.0)], ids=["rise", "fall", "spread"])
def test_conformal_finds_a_change_whatever_the_unit(after: tuple[float, float], scale: float) -> None:
    chance = random.Random(2)
    values = [100 + chance.gauss(0, 1) for _ in range(500)] + [100 + chance.gauss(*after) for _ in range(200)]
    found = alarms(Conformal(10_000), [scale * value for value in values])
    assert 500 < found[0] < 560


def test_conformal_finds_a_rare_event_becoming_less_rare() -> None:
    chance = random.Random(3)
    found = alarms(Conformal(10_000), bits(chance, 5_000, 0.01) + bits(chance, 400, 0.1))
    assert 5_000 < found[0] < 5_250


def test_conformal_looks_one_way_where_it_is_told() -> None:
    chance = random.Random(4)
    values = bits(chance, 1_000, 0.2) + bits(chance, 300, 0.8)
    assert alarms(Conformal(10_000, "up"), values)
    assert alarms(Conformal(10_000, "down"), values) == []
    with pytest.raises(ValueError, match="direction is 'left'"):
        Conformal(direction="left")  # type: ignore[arg-type]


def test_conformal_starts_a_new_past_after_an_alarm_and_finds_the_way_back() -> None:
    chance = random.Random(5)
    values = bits(chance, 500, 0.2) + bits(chance, 500, 0.8) + bits(chance, 500, 0.2)
    first, second = alarms(Conformal(10_000), values)
    assert 500 < first < 560
    assert 1_000 < second < 1_060


def test_ranks_refuse_no_number_and_wait_for_the_first_ones() -> None:
    detector = Conformal()
    with pytest.raises(ValueError, match="the value is nan"):
        detector.update(float("nan"))
    ranks = Ranks(seed=0)
    assert [ranks.rank(float(n)) for n in range(WARM)] == [None] * WARM
    assert ranks.rank(1.0) is not None


def test_ranks_are_uniform_and_do_not_depend_on_each_other_also_for_ties() -> None:
    chance = random.Random(6)
    for values in (bits(chance, 4_000, 0.2), [chance.gauss(0, 1) for _ in range(4_000)]):
        ranks = Ranks(seed=1)
        found = np.array([rank for value in values if (rank := ranks.rank(value)) is not None])
        counts = np.histogram(found, 10, (0, 1))[0]
        assert ((counts - len(found) / 10) ** 2 / (len(found) / 10)).sum() < 27.9  # chi-squared, 9 d.o.f., 0.001
        assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 3.3 / len(found) ** 0.5


def test_with_keep_past_it_alarms_until_it_is_told_to_forget() -> None:
    chance = random.Random(6)
    detector = Conformal(10_000, keep_past=True)
    assert alarms(detector, bits(chance, 500, 0.2)) == []
    assert len(alarms(detector, bits(chance, 100, 0.8))) >= 3
    detector.forget()
    assert alarms(detector, bits(chance, 500, 0.8)) == []


def test_a_season_is_no_change_where_its_slots_are_told() -> None:
    """Two weeks of a strong daily and weekly wave, a value a minute; a shift on day 15 is found within the hour."""
    chance = random.Random(7)
    blind, told = Conformal(10_000), Conformal(10_000, keep_past=True)
    shifted, found, waves = 14 * 1_440 + 720, [], 0
    for minute in range(shifted + 60):
        wave = 5 * math.sin(minute / 1_440 * 2 * math.pi) + (2 if minute % 10_080 > 7_200 else 0)
        value = wave + chance.gauss(0, 1)
        if minute < 3_000:
            blind.update(value)
            waves += blind.drift_detected
        told.update(value + (1.5 if minute >= shifted else 0), category=slot_of_week(60_000 * minute, 600_000))
        if told.drift_detected:
            found.append(minute)
    assert waves > 5
    assert len([minute for minute in found if minute < shifted]) <= 3  # the budget is two
    assert not [minute for minute in found if 14 * 1_440 <= minute < shifted]
    assert found[-1] > shifted


@pytest.mark.parametrize("keep_past", [False, True])
def test_a_change_is_seldom_taken_for_dependence(keep_past: bool) -> None:
    warned = 0
    for seed in range(40):
        chance = random.Random(seed)
        detector = Conformal(10_000, seed=seed, keep_past=keep_past)
        for n in range(1_300):
            detector.update(chance.gauss(n >= 1_000, 1))
        warned += detector.warned
    assert warned <= 10


def test_two_sample_finds_a_new_topic_and_says_which_event_grew() -> None:
    chance = np.random.default_rng(1)
    centres = 4 * chance.normal(size=(5, 16))

    def texts(n: int, topics: list[int]) -> list[np.ndarray]:
        return [centres[chance.choice(topics)] + chance.normal(size=16) for _ in range(n)]

    detector = TwoSample(texts(600, [0, 1, 2, 3]), 10_000)
    assert alarms(detector, texts(2_000, [0, 1, 2, 3])) == []
    assert alarms(detector, texts(200, [0, 1, 2, 4]))[0] < 100
    detector = TwoSample(texts(600, [0, 1, 2, 3]), 10_000)
    for text in texts(60, [0]):
        detector.update(text)
        if detector.drift_detected:
            break
    assert detector.wealth >= 10_000
    assert detector.grown.startswith("cluster")


def test_two_sample_says_what_is_wrong_with_its_vectors() -> None:
    with pytest.raises(ValueError, match=r"shape \(10, 3\)"):
        TwoSample(np.zeros((10, 3)))
    detector = TwoSample(np.random.default_rng(0).normal(size=(200, 3)))
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        detector.update(np.zeros(4))
    with pytest.raises(ValueError, match="no numbers"):
        detector.update(np.array([0, np.nan, 0]))
    other = TwoSample(np.random.default_rng(1).normal(size=(200, 3)))
    with pytest.raises(ValueError, match="start anew"):
        other.restore(detector.snapshot())


def test_the_upper_bound_of_a_chance_is_clopper_and_pearsons() -> None:
    assert upper_bound(0, 100, 0.05) == pytest.approx(1 - 0.05**0.01)
    assert upper_bound(10, 100, 0.025) == pytest.approx(0.17622, abs=1e-4)
    assert upper_bound(100, 100, 0.05) == 1


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5, 1.0, 2.0])
def test_cusum_run_lengths_are_the_published_ones(shift: float) -> None:
    published = {0.0: (167.7, 465.4), 0.25: (74.2, 139.5), 0.5: (26.6, 38.0), 1.0: (8.38, 10.38), 2.0: (3.34, 4.01)}
    assert (run_length(4.0, shift), run_length(5.0, shift)) == pytest.approx(published[shift], rel=2e-3)


def test_the_cusum_chart_goes_the_exact_run_length() -> None:
    chance = random.Random(8)
    lengths = []
    for _ in range(400):
        chart, n = CusumChart(100, 2, threshold=4), 0
        while not chart.drift_detected:
            n += 1
            chart.update(chance.gauss(101, 2))
        lengths.append(n)
    assert np.mean(lengths) == pytest.approx(run_length(4, 0.5), abs=3 * float(np.std(lengths)) / 20)


def test_they_work_in_a_river_pipeline() -> None:
    from river import drift, naive_bayes

    chance = random.Random(9)
    model = drift.DriftRetrainingClassifier(
        model=naive_bayes.GaussianNB(), drift_detector=Conformal(10_000, "up"), train_in_background=False
    )
    fresh = model.clone()
    assert fresh.drift_detector.run_length == 10_000
    retrained = 0
    for n in range(2_000):
        x = {"a": chance.gauss(0, 1)}
        y = (x["a"] > 0) == (n < 1_000)
        before = model.model
        model.learn_one(x, y)
        retrained += model.model is not before
    assert retrained >= 1


@pytest.mark.parametrize("make", [Conformal, lambda: Bounded(high=0.9, low=0.1)], ids=["conformal", "bounded"])
def test_an_update_costs_little(make: type[Conformal]) -> None:
    """At most 20 µs in the best of some rounds; usually some 9 and 2, in the first: the machine may be busy."""
    chance = random.Random(10)
    values = [chance.random() for _ in range(2_000)]
    costs: list[float] = []
    while not costs or (min(costs) > 20 and len(costs) < 50):
        detector = make()
        begun = time.process_time()
        for value in values:
            detector.update(value)
        costs.append((time.process_time() - begun) / len(values) * 1e6)
    assert min(costs) <= 20


def test_another_detector_with_the_same_reference_is_like_one_made_anew_and_has_wealth_of_its_own() -> None:
    rng = np.random.default_rng(5)
    reference = rng.normal(size=(400, 3))
    first = TwoSample(reference, 100)
    for point in rng.normal(size=(20, 3)):
        first.update(point)
    wealth = first.wealth
    another, anew = first.another(), TwoSample(reference, 100)
    for point in rng.normal(2, 1, size=(30, 3)):
        another.bet(first.look(point))
        anew.update(point)
        assert (another.wealth, another.drift_detected, another.nearest) == (
            anew.wealth,
            anew.drift_detected,
            anew.nearest,
        )
    assert first.wealth == wealth
