"""Merging histograms is associative, commutative and loses nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hypothesis import given
from hypothesis import strategies as st

from streams.windows.tally import add_counts

histograms = st.dictionaries(st.integers(-500, 500), st.integers(1, 10_000), max_size=20)


def merge(parts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """All parts folded into one histogram, as windows do."""
    total: dict[int, int] = {}
    for part in parts:
        add_counts(total, part)
    return total


@given(histograms, histograms, histograms)
def test_merge_is_associative_and_commutative(a: dict[int, int], b: dict[int, int], c: dict[int, int]) -> None:
    assert merge([merge([a, b]), c]) == merge([a, merge([b, c])]) == merge([c, b, a])


@given(st.lists(histograms, max_size=5))
def test_merge_counts_everything_once(parts: list[dict[int, int]]) -> None:
    assert sum(merge(parts).values()) == sum(sum(part.values()) for part in parts)
