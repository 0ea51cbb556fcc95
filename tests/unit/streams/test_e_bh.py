"""Who has changed, judged together."""

from __future__ import annotations

import pytest

from streams.detectors.e_bh import changed


def test_nobody_is_named_while_nobody_has_won_much() -> None:
    assert changed({"a": 10.0, "b": 99.0}, 1_000) == []
    assert changed({}, 1_000) == []


def test_one_needs_the_whole_threshold_and_two_need_half_of_it_each() -> None:
    assert changed({"a": 1_000.0, "b": 10.0}, 1_000) == ["a"]
    assert changed({"a": 500.0, "b": 600.0, "c": 1.0}, 1_000) == ["b", "a"]


def test_a_weak_one_is_named_with_many_strong_ones() -> None:
    assert changed({"a": 9e9, "b": 2_000.0, "c": 334.0, "d": 0.0}, 1_000) == ["a", "b", "c"]


def test_a_run_length_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="run_length is 0"):
        changed({"a": 1.0}, 0)
