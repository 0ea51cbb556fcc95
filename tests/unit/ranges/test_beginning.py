"""Where a partition goes on after a takeover: every fate its log and its committed offset can have had."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidemill.io.ranges.beginning import Beginning, Found, beginning
from tidemill.io.ranges.partition import Limits, PartitionState
from tidemill.io.ranges.range import Intent, Range

NOTE = Intent(None, "id", le=3)
PENDING = Intent(119, "id", le=3)


def test_nothing_happened() -> None:
    assert beginning(Found("id", 100, NOTE, 0, 500), 0) == Beginning(100, 0, leader_epoch=3)
    assert beginning(Found("id", 100, PENDING, 0, 500), 0) == Beginning(100, 0, 119, leader_epoch=3)
    assert beginning(Found("id", 100, NOTE, 100, 100), 0) == Beginning(100, 0, leader_epoch=3), "an idle partition"


def test_the_tail_is_lost() -> None:
    """Read to 100; the log ends at 50."""
    found = beginning(Found("id", 100, NOTE, 0, 50), 0)
    assert found == Beginning(50, 1, compare_below=100, leader_epoch=3, cut=50)


def test_the_tail_is_lost_and_grew_again() -> None:
    """The end says nothing any more; a newer message at 50 does."""
    assert beginning(Found("id", 100, NOTE, 0, 130, cut=50), 0) == beginning(Found("id", 100, NOTE, 0, 50), 0)


def test_a_pending_range_lost_its_tail() -> None:
    """100..119 was frozen, 110 on is lost: what is left of it is replayed under its own epoch, the next one follows."""
    found = beginning(Found("id", 100, Intent(119, "id", e=2, le=3), 0, 110), 0)
    assert found == Beginning(100, 3, 109, 2, compare_below=120, leader_epoch=3, cut=10)


def test_a_pending_range_is_lost_as_a_whole() -> None:
    for end in (100, 70):
        found = beginning(Found("id", 100, PENDING, 0, end), 0)
        assert (found.pos, found.hi, found.epoch, found.compare_below) == (end, None, 1, 120)


def test_a_second_loss_has_the_epoch_after_the_first() -> None:
    assert beginning(Found("id", 100, Intent(None, "id", 1, le=3), 0, 50), 0).epoch == 2
    assert beginning(Found("id", 100, Intent(109, "id", 0, 1, le=3), 0, 50), 0).epoch == 2


def test_a_log_lost_as_a_whole() -> None:
    assert beginning(Found("id", 100, NOTE, 0, 0), 0) == Beginning(0, 1, compare_below=100, leader_epoch=3, cut=100)


def test_retention_was_faster() -> None:
    found = beginning(Found("id", 100, NOTE, 5000, 6000), 0)
    assert (found.pos, found.gone, found.epoch) == (5000, 4900, 0)
    pending = beginning(Found("id", 100, PENDING, 5000, 6000), 0)
    assert (pending.pos, pending.hi, pending.gone) == (100, 119, 4900), (
        "its effect is brought to an end with what is left"
    )


def test_offsets_that_were_forgotten() -> None:
    """Whatever is there may have been done before."""
    assert beginning(Found("id", -1001, None, 20, 80), 0) == Beginning(20, 0, compare_below=80)
    assert beginning(Found("id", -1001, None, 0, 0), 0) == Beginning(0, 0), "a first start"


def test_offsets_that_a_tool_has_set() -> None:
    assert beginning(Found("id", 40, None, 0, 80), 0) == Beginning(40, 0, compare_below=80)


def test_a_topic_made_anew_is_read_from_its_beginning() -> None:
    found = beginning(Found("other", 100, PENDING, 0, 7), 0)
    assert found == Beginning(0, 0)


offsets = st.integers(0, 60)


@given(offsets, offsets, st.none() | offsets, offsets, offsets, st.integers(0, 3), st.integers(0, 3))
def test_nothing_that_is_there_is_passed_over(
    committed: int, more: int, pending: int | None, low: int, size: int, e: int, n: int
) -> None:
    """No message is skipped that was not read, and none that is new gets a token that was there before."""
    end = low + size
    hi = None if pending is None else committed + pending
    note = Intent(hi, "id", e, n if n > e else 0, 3, more)
    found = Found("id", committed, note, low, end)
    start = beginning(found, 0)
    assert start.pos <= max(end, committed) and start.pos <= max(committed, low)
    assert start.hi is None or (start.pos <= start.hi <= found.past - 1 and start.hi_epoch == e)
    if end < found.past:
        going_on = start.pos if start.hi is None else start.hi + 1
        assert going_on == min(max(end, low), found.past) and start.epoch == max(e, n if n > e else 0) + 1
        assert start.cut == found.past - end and start.compare_below >= found.past
    else:
        assert start.epoch == max(e, n if n > e else 0) and start.cut == 0


def test_the_next_epoch_is_committed_before_the_first_effect_under_it_and_kept() -> None:
    """The note of each commit, read by the next owner, leads to the same epochs again."""
    limits = Limits(10, 1.0)
    start = beginning(Found("id", 100, Intent(119, "id", le=3), 0, 110), 0)
    state = PartitionState[int]("t", 0, "id", start.pos, epoch=start.epoch)
    state.leader_epoch, state.compare_below = start.leader_epoch, start.compare_below
    assert start.hi is not None
    state.replay(start.hi, start.hi_epoch)
    assert state.note() == Intent(109, "id", 0, 1, 3, 120)
    again = beginning(Found("id", 100, Intent.decode(state.note().encode()), 0, 125), 0)
    assert again == start._replace(cut=0)
    for offset in range(100, 125):
        state.add(offset, 1, offset, 0.0)
    state.take(0.0)
    state.finish(0.0)
    state.freeze(limits)
    assert (state.again, state.note()) == (True, Intent(119, "id", 1, 0, 3, 120))
    state.take(0.0)
    state.finish(0.0)
    state.freeze(limits)
    assert (state.again, state.note()) == (False, Intent(124, "id", 1, 0, 3))


def test_offsets_of_a_later_epoch_are_above_all_earlier_ones() -> None:
    def span(epoch: int, lo: int, hi: int) -> Range:
        return Range("c", "t", "id", epoch, 0, lo, hi, (), False)

    before, after = span(0, 90, 99), span(1, 50, 59)
    assert before.first == 0 and after.first + after.lo > before.first + before.hi
    assert before.token != span(1, 90, 99).token


def test_another_message_where_one_was_read() -> None:
    state = PartitionState[str]("t", 0, "id", 100)
    assert not state.another(50, 9), "nothing is known of what was read"
    state.leader_epoch = 3
    assert [state.another(offset, 4) for offset in (50, 99, 100)] == [True, True, False], "100 was not read yet"
    assert not any(state.another(50, epoch) for epoch in (3, 0, -1)), "delivered again"
    state.replay(119, 0)
    assert [state.another(offset, 4) for offset in (119, 120)] == [True, False]
