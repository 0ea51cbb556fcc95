"""Whatever a fetcher drops or repeats, each message of the log is handled once and in order."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from streams.app.sequence import Sequence


def test_from_its_beginning_on_nothing_is_left_out() -> None:
    found = Sequence(5)
    assert [found.place(offset) for offset in (3, 4, 5, 4, 6)] == ["next", "next", "next", "known", "next"]
    assert [found.place(offset) for offset in (9, 10)] == ["gap", "gap"] and found.expected == 7
    assert [found.place(offset) for offset in (7, 8, 9, 10)] == ["next"] * 4


def test_offsets_without_a_message_are_passed() -> None:
    found = Sequence(0)
    assert [found.place(offset) for offset in (0, 2)] == ["next", "gap"]
    found.pass_to(2)
    assert [found.place(offset) for offset in (2, 3)] == ["next", "next"]


def test_the_first_message_may_be_missing_too() -> None:
    found = Sequence(5)
    assert found.place(8) == "gap" and found.expected == 5
    assert found.place(5) == "next"


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(0, 2**32))
def test_a_fetcher_that_drops_at_random_loses_nothing(log: set[int], seed: int) -> None:
    random, found = Random(seed), Sequence(0)
    handled: list[int] = []
    while handled[-1:] != [max(log)]:
        for offset in sorted(offset for offset in log if offset >= found.expected and random.random() < 0.8):
            if found.place(offset) == "gap":
                found.pass_to(min(there for there in log if there >= found.expected))
                if found.place(offset) == "gap":
                    break
            handled.append(offset)
    assert handled == sorted(log)
