"""The bet on quality: fair whatever came before, few false alarms under constant looking, in time where it matters."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout.betting import Payoffs, paired, randomised
from serving.rollout.looks import HARM, LOOKS, log_wealth

ALPHA = 0.0475
"""Quality's part of the default alpha."""


def _canary(rng: np.random.Generator, n: int, share: float, champion: float, candidate: float) -> Payoffs:
    mine = rng.random(n) < share
    hit = rng.random(n) < np.where(mine, candidate, champion)
    return randomised(mine, np.full(n, share), hit.astype(float))


def _shadow(rng: np.random.Generator, n: int) -> Payoffs:
    return paired((rng.random(n) < 0.8).astype(float) - (rng.random(n) < 0.8))


def _proven(payoffs: Payoffs) -> bool:
    return bool(log_wealth(payoffs).max(initial=0.0) >= -math.log(ALPHA))


def _share(runs: int, made: Callable[[np.random.Generator], Payoffs]) -> float:
    return sum(_proven(made(np.random.default_rng([17, run]))) for run in range(runs)) / runs


@pytest.mark.parametrize(
    ("share", "level", "calls"), [(0.01, 0.9, 3000), (0.25, 0.9, 5000), (0.5, 0.6, 3000), (0.25, 0.02, 1000)]
)
def test_equal_arms_are_rarely_called_harmful(share: float, level: float, calls: int) -> None:
    runs = 400
    false = _share(runs, lambda rng: _canary(rng, calls, share, level, level))
    assert false <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


def test_equal_arms_are_rarely_called_harmful_in_the_shadow() -> None:
    runs = 400
    assert _share(runs, lambda rng: _shadow(rng, 2000)) <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


@pytest.mark.parametrize(("champion", "candidate", "calls"), [(0.8, 0.4, 150), (0.8, 0.6, 500), (0.85, 0.8, 4000)])
def test_harm_is_proven_within_as_many_labelled_calls_as_are_promised(
    champion: float, candidate: float, calls: int
) -> None:
    runs = 400
    found = _share(runs, lambda rng: _canary(rng, calls, 0.25, champion, candidate))
    assert found >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / runs)


def test_harm_that_begins_after_the_last_look_is_still_found() -> None:
    def late(rng: np.random.Generator) -> Payoffs:
        n = 12_000
        mine = rng.random(n) < 0.25
        candidate = np.where(np.arange(n) < 4_000, 0.85, 0.5)
        hit = rng.random(n) < np.where(mine, candidate, 0.85)
        return randomised(mine, np.full(n, 0.25), hit.astype(float))

    assert _share(40, late) >= 0.95


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=40), st.floats(0.01, 0.99), st.floats(0, 1))
def test_no_next_score_makes_the_bet_unfair(past: list[tuple[bool, float]], share: float, level: float) -> None:
    """Arms are alike, the next score is 0 or 1: the wealth stays as it is on average, whatever came before."""
    before = [*past, (True, 0.5)]
    now = float(_wealth(before, share)[-1])
    expected = sum(
        (share if mine else 1 - share)
        * (level if hit else 1 - level)
        * math.exp(float(_wealth([*before, (mine, hit)], share)[-1]) - now)
        for mine in (True, False)
        for hit in (0.0, 1.0)
    )
    assert expected == pytest.approx(1.0, abs=1e-6)


def test_wealth_goes_on_as_it_was_when_more_payoffs_follow() -> None:
    rng = np.random.default_rng(5)
    mine, scores = rng.random(1500) < 0.3, rng.random(1500)
    whole = log_wealth(randomised(mine, np.full(1500, 0.3), scores))
    part = log_wealth(randomised(mine[:620], np.full(620, 0.3), scores[:620]))
    assert np.allclose(whole[:620], part) and np.isfinite(whole).all()


def test_all_capital_is_staked_once() -> None:
    assert 0 < sum(look.capital for look in LOOKS) < 1
    assert sorted(look.at for look in LOOKS) == [look.at for look in LOOKS]
    assert 0 < HARM < 1 and log_wealth(Payoffs()).shape == (0,)


def _wealth(past: list[tuple[bool, float]], share: float) -> np.ndarray:
    arms, scores = np.array([a for a, _ in past], dtype=bool), np.array([s for _, s in past], dtype=float)
    return log_wealth(randomised(arms, np.full(len(past), share), scores))
