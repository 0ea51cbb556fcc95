"""A partition's bookkeeping: what is frozen stays frozen, and nothing is skipped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidemill.io.ranges.partition import CROWD, Limits, PartitionState, crowded
from tidemill.io.ranges.range import Intent

LIMITS = Limits(max_messages=3, max_wait_s=1.0, max_bytes=1000)


def state(pos: int = 10) -> PartitionState[str]:
    return PartitionState("t", 0, "topic-id", pos)


def feed(found: PartitionState[str], *offsets: int, now_s: float = 0.0, size: int = 1) -> None:
    for offset in offsets:
        found.add(offset, size, f"m{offset}", now_s)


def test_ready_by_count_by_bytes_or_by_age() -> None:
    found = state()
    assert not found.ready(LIMITS, 99)
    feed(found, 10, 11)
    assert not found.ready(LIMITS, 0.5) and found.ready(LIMITS, 1.0)
    feed(found, 12)
    assert found.ready(LIMITS, 0.0)
    heavy = state()
    feed(heavy, 10, size=1000)
    assert heavy.ready(LIMITS, 0.0)


def test_a_frozen_range_does_not_grow() -> None:
    found = state()
    feed(found, 10, 11, 12, 13)
    found.freeze(LIMITS)
    feed(found, 14, 15)
    assert found.hi == 12 and found.complete
    assert not found.ready(LIMITS, 99), "one range at a time"
    assert found.take(5.0) == ["m10", "m11", "m12"]
    found.finish(6.0)
    assert found.pos == 13 and len(found.waiting) == 3


def test_freeze_heeds_bytes_but_takes_one_message_at_least() -> None:
    found = state()
    feed(found, 10, 11, size=600)
    found.freeze(LIMITS)
    assert found.hi == 10
    huge = state()
    feed(huge, 10, size=5000)
    huge.freeze(LIMITS)
    assert huge.hi == 10


def test_a_replay_waits_for_the_whole_range_or_the_end_beyond_it() -> None:
    found = state()
    found.replay(15, epoch=4)
    feed(found, 10, 12)
    assert not found.complete and not found.ready(LIMITS, 99)
    assert not found.full(Limits(1, 1.0)), "an incomplete range must be fetched whatever its size"
    found.reached_end(20, 0.0)
    ready: bool = found.complete
    assert ready and found.replayed and found.range_epoch == 4
    assert found.take(0.0) == ["m10", "m12"]
    found.finish(0.0)
    feed(found, 20)
    found.freeze(LIMITS)
    after = (found.pos, found.hi, found.replayed, found.range_epoch)
    assert after == (20, 20, False, 0)


def test_a_replay_is_complete_at_a_later_record_when_hi_was_compacted_away() -> None:
    found = state()
    found.replay(15, epoch=0)
    feed(found, 10, 17)
    assert found.complete and found.take(0.0) == ["m10"] and len(found.waiting) == 1


def test_the_end_moves_an_idle_partition_past_markers_only() -> None:
    found = state()
    found.reached_end(13, 0.0)
    assert found.pos == 13
    feed(found, 13)
    found.reached_end(15, 0.0)
    assert found.pos == 13, "buffered messages are not behind us"


def test_markers_behind_the_last_message_are_passed_when_it_is_done() -> None:
    found = state()
    feed(found, 10)
    found.reached_end(12, 0.0)
    found.freeze(LIMITS)
    assert found.hi == 10
    found.take(0.0)
    found.finish(0.0)
    assert found.pos == 12


def test_delivered_again_replaces_what_was_buffered() -> None:
    found = state()
    feed(found, 10, 11, 15)
    feed(found, 11, 12)
    found.freeze(LIMITS)
    assert found.take(0.0) == ["m10", "m11", "m12"] and found.seen == 13


def test_delivered_again_while_open_does_not_enter_twice() -> None:
    found = state()
    feed(found, 10, 11, 12)
    found.freeze(LIMITS)
    found.take(0.0)
    feed(found, 11, 12, 13)
    assert len(found.waiting) == 1
    found.finish(0.0)
    assert found.pos == 13


def test_idle_commit_once_and_not_with_something_under_way() -> None:
    found = state()
    assert found.wants_idle_commit(1.0, 0.3)
    found.committed = found.pos
    assert not found.wants_idle_commit(9.0, 0.3)
    feed(found, 10, now_s=9.0)
    assert not found.wants_idle_commit(99.0, 0.3)
    found.freeze(LIMITS)
    assert not found.wants_idle_commit(99.0, 0.3)
    found.take(9.0)
    found.finish(9.0)
    assert not found.wants_idle_commit(9.1, 0.3) and found.wants_idle_commit(9.4, 0.3)


def test_full_says_when_to_stop_fetching() -> None:
    found = state()
    feed(found, *range(10, 15))
    assert not found.full(LIMITS)
    feed(found, 15)
    assert found.full(LIMITS)


def test_a_crowd_takes_in_no_more_and_goes_on_at_once() -> None:
    states = [state() for _ in range(CROWD + 1)]
    for found in states[1:-1]:
        feed(found, 10, size=LIMITS.max_bytes)
    assert not crowded(states, LIMITS)
    feed(states[-1], 10, size=LIMITS.max_bytes)
    assert crowded(states, LIMITS)
    small, empty, replayed = state(), state(), state()
    feed(small, 10)
    assert small.full(LIMITS, crowded=True) and small.ready(LIMITS, 0.0, crowded=True)
    assert not empty.full(LIMITS, crowded=True) and not empty.ready(LIMITS, 0.0, crowded=True)
    assert not small.ready(LIMITS, 0.0, 0, crowded=True), "one ahead of the horizon waits"
    replayed.replay(15, epoch=0)
    feed(replayed, 10)
    assert not replayed.full(LIMITS, crowded=True), "an incomplete range must be fetched however many wait"


@given(st.lists(st.lists(st.integers(1, 400), max_size=12), min_size=1, max_size=8))
def test_a_crowd_never_stands_still(backlogs: list[list[int]]) -> None:
    """Partitions that are fetched one message at a time: all get through, whatever the sizes."""
    states, fetched = [state(0) for _ in backlogs], 0
    left = [list(sizes) for sizes in backlogs]
    limits = Limits(max_messages=1000, max_wait_s=1.0, max_bytes=100)
    for now_s in range(3 * sum(map(len, backlogs)) + 3):
        many = crowded(states, limits)
        for found, sizes in zip(states, left, strict=True):
            if sizes and not found.full(limits, crowded=many):
                found.add(found.seen, sizes.pop(0), "m", now_s)
        many = crowded(states, limits)
        for found in states:
            if found.ready(limits, now_s, crowded=many):
                found.freeze(limits)
                fetched += len(found.take(now_s))
                found.finish(now_s)
    assert fetched == sum(map(len, backlogs))


def test_the_note_round_trips_and_foreign_metadata_is_none() -> None:
    note = Intent(h=7, t="id", e=2)
    assert Intent.decode(note.encode()) == note and note.encode() == '{"h":7,"t":"id","e":2}'
    assert Intent.decode("") is None and Intent.decode(None) is None
    assert Intent.decode("moved by hand") is None and Intent.decode('{"h":-1}') is None
