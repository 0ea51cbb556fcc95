"""Word sets: a short string for the buckets of a text's words; near texts are near."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import ValidationError, convert

from tidemill.events.types import WordSet
from tidemill.text import WORD_BUCKETS, word_buckets
from tidemill.word_sets import MAX_SETS, MOST, buckets_of, distances, lowest, word_set

buckets = st.sets(st.integers(0, WORD_BUCKETS - 1), min_size=1, max_size=90)


@given(st.lists(buckets, min_size=1, max_size=5))
def test_a_set_is_read_back(sets: list[set[int]]) -> None:
    found, starts = buckets_of([word_set(one) for one in sets])
    ends = [*starts.tolist()[1:], len(found)]
    assert [found[a:b].tolist() for a, b in zip(starts.tolist(), ends, strict=True)] == [
        sorted(one)[:MOST] for one in sets
    ]
    assert all(convert(word_set(one), WordSet) for one in sets)


@pytest.mark.parametrize("wrong", ["", "0", "0g1", "zz", "0A", "é0", "00" * 65])
def test_what_is_no_set_is_no_event(wrong: str) -> None:
    with pytest.raises(ValidationError):
        convert(wrong, WordSet)


@given(st.lists(buckets, min_size=1, max_size=30), st.lists(buckets, min_size=1, max_size=30))
def test_distances_lie_in_one_and_are_zero_for_what_is_there(asked: list[set[int]], there: list[set[int]]) -> None:
    sets, reference = [word_set(one) for one in asked], [word_set(one) for one in there]
    found = distances(sets, reference)
    assert found.shape == (len(sets),)
    assert ((found >= 0) & (found <= 1)).all()
    assert distances(reference, reference) == pytest.approx(0, abs=1e-6)


def test_a_question_about_something_else_is_farther() -> None:
    known = ["where is my card", "my card has not come", "when does my new card come", "is my card on its way"]
    reference = [word_set(word_buckets([one])) for one in known]
    near, far = distances(
        [word_set(word_buckets([one])) for one in ("has my card come", "the rate of exchange for dollars")], reference
    )
    assert near < 0.5 < far


@given(
    st.lists(st.dictionaries(st.integers(0, 300), st.integers(1, 3), max_size=150), min_size=1, max_size=4), st.data()
)
def test_the_lowest_of_parts_are_those_of_the_whole(parts: list[dict[int, int]], data: st.DataObject) -> None:
    named = [{word_set([key, key + 1]): n for key, n in part.items()} for part in parts]
    whole: dict[str, int] = {}
    merged: dict[str, int] = {}
    for part in named:
        for one, n in part.items():
            whole[one] = whole.get(one, 0) + n
    for part in data.draw(st.permutations(named)):
        for one, n in lowest(part).items():
            merged[one] = merged.get(one, 0) + n
        merged = lowest(merged)
    assert merged == lowest(whole)
    assert len(merged) <= MAX_SETS
