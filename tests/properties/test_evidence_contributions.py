"""What slices contribute adds up to the change, exactly, whatever the calls are."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.evidence.decompose import Sums, kitagawa
from consumers.evidence.slices import FEW_CALLS, search
from tests.unit.consumers_evidence.made import rows

values = st.lists(st.tuples(st.integers(0, 4), st.floats(-1e3, 1e3)), min_size=1, max_size=60)


@given(values, values)
def test_contributions_add_up_to_the_change(before: list[tuple[int, float]], after: list[tuple[int, float]]) -> None:
    def sums(side: list[tuple[int, float]]) -> Sums:
        part, value = (np.array(each, dtype=float) for each in zip(*side, strict=True))
        members = [part == code for code in range(5)]
        return Sums(*(np.array([float((value[m] ** power).sum()) for m in members]) for power in (0, 1, 2)))

    split = kitagawa(sums(before), sums(after))
    change = np.mean([value for _, value in after]) - np.mean([value for _, value in before])
    assert float((split.within + split.mix).sum()) == pytest.approx(change, abs=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_they_add_up_in_each_dimension_of_a_search_whatever_is_pooled(seed: int) -> None:
    chance = np.random.default_rng(seed)
    before, after = rows(chance, 60, lambda _: 0.9), rows(chance, 45, lambda _: 0.4)
    found = search(before, after)
    change = np.mean([row.value for row in after]) - np.mean([row.value for row in before])
    total: dict[str, float] = defaultdict(float)
    for each in found.slices:
        total[each.dimension] += each.contribution
        assert each.rest or each.calls_before + each.calls_after >= FEW_CALLS
    assert total and all(value == pytest.approx(change) for value in total.values())
