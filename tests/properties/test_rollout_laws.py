"""What a rollout's tests rest on: what has counted stays, fair bets stay fair, bounds hold their own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout.betting import Payoffs, interval, log_wealth, paired, randomised
from serving.rollout.quantiles import bounds, levels
from serving.rollout.sessions import settle

NAMES = st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), max_size=60)
UNIT = st.floats(0, 1)
PAST = st.lists(st.tuples(st.booleans(), UNIT), max_size=20)
SHARE = st.floats(0.01, 0.99)


@given(NAMES, st.integers(0, 60))
def test_what_is_settled_stays_so(names: list[str], at: int) -> None:
    early, whole = settle(names[:at]), settle(names)
    n_units = int(early[1].max()) + 1 if len(early[1]) else 0
    kept = whole[1] < n_units
    assert whole[0][kept].tolist() == early[0].tolist()
    assert whole[1][kept].tolist() == early[1].tolist()


@given(NAMES)
def test_units_are_numbered_without_gaps_and_belong_to_one_session(names: list[str]) -> None:
    rows, units = settle(names)
    if len(units):
        assert sorted(set(units.tolist())) == list(range(int(units.max()) + 1))
    for unit in set(units.tolist()):
        mine = [names[row] for row in rows[units == unit]]
        assert len(set(mine)) == 1 and (mine[0] or len(mine) == 1)
    named = [names[row] for row in rows if names[row]]
    assert len({unit for row, unit in zip(rows, units, strict=True) if names[row]}) == len(set(named))


@given(PAST, SHARE, st.floats(-1, 1), UNIT, UNIT)
def test_no_next_score_makes_a_fair_bet_of_quality_unfair(
    past: list[tuple[bool, float]], share: float, null: float, low: float, spread: float
) -> None:
    """The next score is one of two values with either arm, and the arms differ by the null: the wealth stays as it is
    on average, whatever came before."""
    champion = min(max(null, 0.0) + low * (1 - abs(null)), 1.0)
    candidate = min(max(champion - null, 0.0), 1.0)
    before = [*past, (True, 0.5)]
    now = float(log_wealth(_payoffs(before, share), null)[-1])
    expected = 0.0
    for mine, mean in ((True, candidate), (False, champion)):
        for score in (mean + spread * min(mean, 1 - mean), mean - spread * min(mean, 1 - mean)):
            arm = share if mine else 1 - share
            wealth = float(log_wealth(_payoffs([*before, (mine, score)], share), null)[-1])
            expected += arm * 0.5 * math.exp(wealth - now)
    assert expected == pytest.approx(1.0, abs=1e-6)


@given(PAST, SHARE)
def test_payoffs_are_within_what_was_known_before(past: list[tuple[bool, float]], share: float) -> None:
    payoffs = _payoffs(past, share)
    assert np.all(payoffs.low <= payoffs.values + 1e-9) and np.all(payoffs.values <= payoffs.high + 1e-9)
    back = payoffs.reversed().reversed()
    assert np.array_equal(back.values, payoffs.values) and np.array_equal(back.low, payoffs.low)


@given(st.lists(st.floats(-1, 1), max_size=80), st.floats(0.001, 0.4))
def test_an_interval_of_pairs_is_one_and_narrows_with_alpha(differences: list[float], alpha: float) -> None:
    payoffs = paired(np.array(differences))
    low, high = interval(payoffs, alpha)
    wider_low, wider_high = interval(payoffs, alpha / 10)
    assert -1 <= low <= high <= 1
    assert wider_low <= low + 1e-9 and high <= wider_high + 1e-9


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.95]))
def test_a_quantile_lies_within_its_own_bounds(values: list[float], q: float) -> None:
    low, high = bounds(np.array(values), np.arange(len(values)), q, 0.05)
    assert low <= float(np.quantile(values, q, method="inverted_cdf")) <= high
    below, above = levels(len(values), q, 0.05)
    assert 0 <= below <= q <= above <= 1


def _payoffs(past: list[tuple[bool, float]], share: float) -> Payoffs:
    arms, scores = np.array([a for a, _ in past], dtype=bool), np.array([s for _, s in past], dtype=float)
    return randomised(arms, np.full(len(past), share), scores)
