"""The bet: few false alarms under constant looking, quick on real harm (simulated, seeded)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serving.rollout.betting import STEP, Payoffs, interval, log_wealth, paired, randomised

ALPHA = 0.05


def _canary(rng: np.random.Generator, n: int, share: float, champion: float, candidate: float) -> Payoffs:
    mine = rng.random(n) < share
    hit = rng.random(n) < np.where(mine, candidate, champion)
    return randomised(mine, np.full(n, share), hit.astype(float))


def _proven(payoffs: Payoffs, null: float = 0.0, alpha: float = ALPHA) -> bool:
    return bool(log_wealth(payoffs, null).max(initial=0.0) >= -math.log(alpha))


@pytest.mark.parametrize(("share", "level"), [(0.01, 0.9), (0.25, 0.9), (0.5, 0.6), (0.25, 0.02)])
def test_equal_arms_are_rarely_called_harmful(share: float, level: float) -> None:
    rng = np.random.default_rng(7)
    runs = 400
    false = sum(_proven(_canary(rng, 1000, share, level, level)) for _ in range(runs))
    assert false / runs <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


def test_worse_by_the_margin_is_rarely_called_harmless() -> None:
    rng = np.random.default_rng(8)
    runs, margin = 300, 0.05
    false = sum(_proven(_canary(rng, 1000, 0.5, 0.85, 0.80).reversed(), -margin) for _ in range(runs))
    assert false / runs <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


def test_a_change_that_hits_both_arms_is_not_blamed_on_the_candidate() -> None:
    rng = np.random.default_rng(10)
    runs, n = 300, 300
    level = np.where(np.arange(n) < n // 2, 0.95, 0.2)
    false = 0
    for _ in range(runs):
        mine = rng.random(n) < 0.25
        false += _proven(randomised(mine, np.full(n, 0.25), (rng.random(n) < level).astype(float)))
    assert false / runs <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


@pytest.mark.parametrize("null", [-1.0, -0.3, 0.0, 0.05, 1.0])
def test_no_bet_can_lose_everything_and_each_is_fair_where_the_null_is_true(null: float) -> None:
    """Over what the next payoff can be, the factor's expectation is 1 if the difference is the null."""
    for share in (0.01, 0.25, 0.5):
        for level in (0.0, 0.3, 1.0):
            champion, candidate = max(null, 0.0), max(-null, 0.0)
            expected = 0.0
            past = np.full(8, level)
            arms = np.tile([True, False], 4)
            for mine in (True, False):
                for hit in (0.0, 1.0):
                    mean = candidate if mine else champion
                    chance = (share if mine else 1 - share) * (mean if hit else 1 - mean)
                    payoffs = randomised(np.append(arms, mine), np.full(9, share), np.append(past, hit))
                    assert payoffs.low[-1] - 1e-9 <= payoffs.values[-1] <= payoffs.high[-1] + 1e-9
                    wealth = log_wealth(payoffs, null)
                    assert np.isfinite(wealth).all()
                    expected += chance * math.exp(wealth[-1] - wealth[-2])
            assert expected == pytest.approx(1.0)


def test_a_payoff_is_an_unbiased_guess_whatever_level_is_expected() -> None:
    rng = np.random.default_rng(3)
    n = 200_000
    mine = rng.random(n) < 0.25
    payoffs = randomised(mine, np.full(n, 0.25), np.where(mine, 0.5, 0.8), guess=0.1)
    assert payoffs.mean == pytest.approx(0.3, abs=0.01)


def test_interval_covers_and_narrows() -> None:
    rng = np.random.default_rng(11)
    widths = []
    for n in (50, 1500):
        low, high = interval(_canary(rng, n, 0.5, 0.8, 0.5), ALPHA)
        assert low <= 0.3 <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_no_scores_say_nothing() -> None:
    nothing = Payoffs()
    assert (nothing.n, nothing.mean, _proven(nothing)) == (0, None, False)
    assert interval(nothing, ALPHA) == (-1.0, 1.0)


def test_wealth_goes_on_as_it_was_when_more_payoffs_follow() -> None:
    rng = np.random.default_rng(5)
    mine, scores = rng.random(300) < 0.3, rng.random(300)
    whole = log_wealth(randomised(mine, np.full(300, 0.3), scores), 0.0)
    part = log_wealth(randomised(mine[:120], np.full(120, 0.3), scores[:120]), 0.0)
    assert np.allclose(whole[:120], part)


def test_pairs_prove_more_than_arms_that_answer_different_calls() -> None:
    rng = np.random.default_rng(6)
    hard = rng.random(200) < 0.5
    champion = np.where(hard, rng.random(200) < 0.3, 1.0).astype(float)
    candidate = np.where(hard, champion * (rng.random(200) < 0.6), 1.0).astype(float)
    assert log_wealth(paired(champion - candidate), 0.0)[-1] > -math.log(ALPHA)


@pytest.mark.parametrize("seed", range(30))
def test_an_interval_is_all_that_no_bet_of_either_side_refuted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    payoffs = _canary(rng, int(rng.integers(1, 400)), float(rng.choice([0.05, 0.25, 0.5])), *rng.random(2))

    def refuted(mean: float) -> bool:
        return _proven(payoffs, mean, ALPHA / 2) or _proven(payoffs.reversed(), -mean, ALPHA / 2)

    kept = [float(mean) for mean in np.linspace(-1, 1, round(2 / STEP) + 1) if not refuted(float(mean))]
    assert interval(payoffs, ALPHA) == ((kept[0], kept[-1]) if kept else (payoffs.mean, payoffs.mean))
