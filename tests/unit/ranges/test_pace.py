"""No partition runs far ahead of the slowest, and none waits for one that does not move."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME
from hypothesis import given
from hypothesis import strategies as st

from tidemill.io.ranges.pace import STARVED_S, Lane, arrived_until, horizon_ms, lane
from tidemill.io.ranges.partition import Limits, PartitionState

AHEAD_MS = 60_000
IDLE = Lane(None, 5, None)


class Stamped:
    """A message of which only the time stamp matters."""

    def __init__(self, time_ms: int, kind: int = TIMESTAMP_LOG_APPEND_TIME) -> None:
        self._stamp = kind, time_ms

    def timestamp(self) -> tuple[int, int]:
        return self._stamp


def waiting(next_ms: int) -> Lane:
    return Lane(next_ms, None, None)


def state(*times_ms: int, kind: int = TIMESTAMP_LOG_APPEND_TIME) -> PartitionState[Any]:
    found = PartitionState[Any]("t", 0, "topic-id", 0)
    for offset, time_ms in enumerate(times_ms):
        found.add(offset, 1, Stamped(time_ms, kind), 1.0)
    return found


@pytest.mark.parametrize(
    ("lanes", "wanted"),
    [
        ([], None),
        ([IDLE, IDLE], None),
        ([waiting(100_000), waiting(900_000), IDLE], 160_000),
        ([Lane(None, 40_000, 0.1), waiting(900_000)], 100_000),
        ([Lane(None, None, 0.1), waiting(900_000)], 60_000),
        ([Lane(None, 40_000, STARVED_S), waiting(900_000)], 960_000),
    ],
    ids=["none", "idle", "the slowest decides", "its messages come soon", "nothing read yet", "they do not come"],
)
def test_the_horizon_follows_the_slowest_that_moves(lanes: list[Lane], wanted: int | None) -> None:
    assert horizon_ms(lanes, AHEAD_MS) == wanted


@given(st.lists(st.lists(st.integers(0, 10**7), min_size=1).map(sorted), min_size=1, max_size=6))
def test_whatever_waits_something_may_be_taken(partitions: list[list[int]]) -> None:
    states = [state(*times) for times in partitions]
    horizon = horizon_ms([lane(one, None, 1.0) for one in states], AHEAD_MS)
    taken = [arrived_until(one.waiting, horizon) for one in states]
    assert any(taken)
    slowest = min(times[0] for times in partitions)
    for times, most in zip(partitions, taken, strict=True):
        assert most == sum(time <= slowest + AHEAD_MS for time in times)


def test_a_lane_is_idle_only_at_a_known_end() -> None:
    nothing = state()
    assert lane(nothing, 0, 3.0).starved_s is None
    assert lane(nothing, 1, 3.0).starved_s == 3.0
    assert lane(nothing, None, 3.0).starved_s == 3.0
    assert lane(state(7, 8), 9, 3.0) == Lane(7, None, None)


def test_producers_clocks_hold_nothing_back() -> None:
    wild = state(9**15, 1, kind=TIMESTAMP_CREATE_TIME)
    assert horizon_ms([lane(wild, 99, 1.0)], AHEAD_MS) is None
    assert arrived_until(wild.waiting, 0) == 2


def test_a_range_ends_at_the_horizon() -> None:
    found = state(10, 20, 30, 40)
    limits, most = Limits(9, 1.0), arrived_until(found.waiting, 25)
    assert not found.ready(limits, 1.5) and found.ready(limits, 1.5, most), "it need not wait for more"
    assert not found.ready(limits, 99, 0), "one ahead of the horizon waits"
    found.freeze(limits, most)
    assert found.hi == 1
    assert [message.timestamp()[1] for message in found.take(2.0)] == [10, 20]
    assert lane(found, 99, 2.0) == Lane(30, 20, None)
