"""Sessions count once, and what has counted stays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout.sessions import means, settle

NAMES = st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), max_size=60)


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
