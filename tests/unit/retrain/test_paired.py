"""The paired tests keep their level by simulation, agree with known values, and tell how many rows they need."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.gate.paired import highest_rate, lower_bound, rows_needed, sign_test, surely_above

ALPHA = 0.05


def ternary(won: int, lost: int, count: int) -> list[float]:
    return [1.0] * won + [-1.0] * lost + [0.0] * (count - won - lost)


def test_known_values() -> None:
    assert sign_test(0, 0) == 1
    assert sign_test(5, 0) == 1 / 32
    assert sign_test(8, 2) == pytest.approx(56 / 1024)
    assert highest_rate(0, 29, 0.05) == pytest.approx(1 - 0.05 ** (1 / 29), abs=1e-5)
    assert highest_rate(3, 3, 0.05) == highest_rate(0, 0, 0.05) == 1
    assert lower_bound([], ALPHA) == -1


@pytest.mark.parametrize(
    ("won", "lost", "count", "level", "shown"),
    [
        (33, 0, 60, 0.0, True),
        (5, 0, 23, 0.0, True),
        (4, 0, 23, 0.0, False),
        (0, 0, 30, -0.1, True),
        (0, 0, 29, -0.1, False),
        (0, 20, 300, -0.1, True),
        (24, 50, 526, -0.1, True),
        (0, 25, 300, -0.1, False),
        (0, 300, 300, -1.0, False),
        (0, 299, 300, -1.0, True),
    ],
)
def test_what_is_shown(won: int, lost: int, count: int, level: float, shown: bool) -> None:
    assert surely_above(ternary(won, lost, count), level, ALPHA) == shown


@pytest.mark.parametrize("wins", [0.0, 0.05, 0.3])
@pytest.mark.parametrize(("count", "margin"), [(40, 0.0), (60, 0.1), (300, 0.1)])
def test_a_loss_of_the_whole_margin_is_hardly_ever_taken_for_less(wins: float, count: int, margin: float) -> None:
    rng, runs = Random(f"{wins}:{count}"), 400
    losses = wins + margin
    taken = 0
    for _ in range(runs):
        drawn = rng.choices((1.0, -1.0, 0.0), (wins, losses, 1 - wins - losses), k=count)
        taken += surely_above(drawn, -margin, ALPHA)
    assert taken / runs <= ALPHA + 0.02


@pytest.mark.parametrize("spread", [0.05, 0.4])
def test_so_with_scores_between_0_and_1(spread: float) -> None:
    rng, runs, margin = Random(f"{spread}"), 150, 0.1
    taken = sum(
        surely_above([rng.uniform(-spread, spread) - margin for _ in range(80)], -margin, ALPHA) for _ in range(runs)
    )
    assert taken / runs <= ALPHA


def test_power_with_scores_between_0_and_1() -> None:
    rng = Random(1)
    assert surely_above([rng.uniform(-0.1, 0.5) for _ in range(60)], 0, ALPHA)
    assert surely_above([rng.uniform(-0.1, 0.1) for _ in range(60)], -0.1, ALPHA)
    assert not surely_above([rng.uniform(-0.5, 0.5) for _ in range(60)], 0.05, ALPHA)


def test_rows_needed_do_show_it() -> None:
    few = ternary(0, 0, 12)
    needed = rows_needed(few, -0.1, ALPHA)
    assert needed is not None and 30 <= needed <= 33
    assert surely_above(ternary(0, 0, needed), -0.1, ALPHA)
    assert rows_needed([], -0.1, ALPHA) is None
    assert rows_needed(ternary(0, 6, 40), -0.1, ALPHA) is None, "more of the same shows nothing"


differences = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=30)


@given(differences, st.randoms(use_true_random=False))
def test_order_does_not_count_and_a_bound_is_below_the_mean(given: list[float], rng: Random) -> None:
    shuffled = rng.sample(given, len(given))
    bound = lower_bound(given, ALPHA)
    assert bound == pytest.approx(lower_bound(shuffled, ALPHA), abs=1e-3)
    assert -1 <= bound <= sum(given) / len(given)
    assert lower_bound(given, 0.01) <= bound + 1e-3


@given(differences)
def test_a_better_row_never_lowers_the_bound(given: list[float]) -> None:
    if any(each < 1 for each in given) and not any(each in (-0.5, 0.5) for each in given):
        better = sorted(given)
        better[0] = 1.0
        assert lower_bound(better, ALPHA) >= lower_bound(given, ALPHA) - 1e-9
