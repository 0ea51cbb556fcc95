"""Sessions count once, and what has counted stays."""

from __future__ import annotations

import numpy as np

from serving.rollout.sessions import means, settle


def test_calls_of_their_own_count_at_once() -> None:
    rows, units = settle(["", "", ""])
    assert rows.tolist() == [0, 1, 2] and units.tolist() == [0, 1, 2]


def test_a_session_counts_once_with_its_first_answers() -> None:
    names = [f"s{number}" for number in range(12)] + ["late", "late", "x", "late", "y"]
    rows, units = settle(names)
    assert "late" in {names[row] for row in rows}
    assert [names[row] for row in rows].count("late") == 3, "those that came before answers grew by a quarter"
    assert means(np.arange(len(rows), dtype=float), units).shape == (units.max() + 1,)


def test_nothing_counts_of_nothing() -> None:
    rows, units = settle([])
    assert len(rows) == len(units) == 0
