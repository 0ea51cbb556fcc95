"""The budget: what is granted never exceeds a unit a tick, whoever comes and goes."""

from __future__ import annotations

import pytest

from streams.detectors.budget import Budget, Series

QUALITY = Series("support", "quality")
LATENCY = Series("support", "latency")


def test_one_series_gets_everything() -> None:
    budget = Budget(10_000)
    budget.admit(QUALITY)
    budget.tick()
    assert budget.grant(QUALITY) == 1
    assert budget.grant(QUALITY) == 0
    budget.tick(5)
    assert budget.grant(QUALITY) == 5


def test_parts_are_equal_level_by_level() -> None:
    budget = Budget(10_000)
    for series in (QUALITY, LATENCY, Series("search", "quality"), *(Series("search", "latency", s) for s in "abcd")):
        budget.admit(series)
    assert budget.weight(QUALITY) == budget.weight(LATENCY) == 0.25
    assert budget.weight(Series("search", "quality")) == 0.25
    assert budget.weight(Series("search", "latency", "a")) == 0.0625


def test_a_new_series_shares_the_ticks_to_come_alone() -> None:
    budget = Budget(10_000)
    budget.admit(QUALITY)
    budget.tick(10)
    budget.admit(LATENCY)
    budget.admit(LATENCY)
    budget.tick(10)
    assert (budget.grant(QUALITY), budget.grant(LATENCY)) == (15, 5)


def test_a_retired_series_leaves_its_part_to_the_others_and_its_figures_stay() -> None:
    budget = Budget(10_000)
    budget.admit(QUALITY)
    budget.admit(LATENCY)
    budget.tick(10)
    assert budget.grant(LATENCY) == 5
    budget.alarmed(LATENCY)
    budget.retire(LATENCY)
    budget.tick(10)
    assert budget.grant(QUALITY) == 15
    assert budget.spend == (20, 1, 20 / 10_000, 1, 20)


def test_a_part_of_the_deployment_splits_its_share() -> None:
    budget = Budget(1_000, share=0.2)
    budget.admit(QUALITY)
    budget.admit(LATENCY)
    budget.tick(10)
    assert budget.grant(QUALITY) == pytest.approx(1)
    assert budget.spend.allowed == pytest.approx(0.002)


def test_a_grant_is_worth_so_many_ticks_at_most_and_the_rest_is_forfeited() -> None:
    budget = Budget(10_000, longest=60)
    budget.admit(QUALITY)
    budget.admit(LATENCY)
    budget.tick(604_800)
    assert budget.grant(QUALITY) == 30
    budget.tick(10)
    assert (budget.grant(QUALITY), budget.grant(LATENCY)) == (5, 30)
    assert budget.spend.granted == 65


def test_another_share_holds_for_the_ticks_to_come() -> None:
    budget = Budget(10_000, share=0.5)
    budget.admit(QUALITY)
    budget.tick(10)
    other = Budget(10_000, share=0.1)
    other.restore(budget.snapshot())
    other.tick(10)
    assert other.grant(QUALITY) == pytest.approx(10 * 0.5 + 10 * 0.1)


def test_it_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"run_length is 0.5"):
        Budget(0.5)
    with pytest.raises(ValueError, match=r"share is 1.5"):
        Budget(1_000, share=1.5)
    with pytest.raises(KeyError):
        Budget(1_000).grant(QUALITY)
