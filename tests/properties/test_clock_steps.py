"""The broker's clock steps ahead and comes back: stage 2 goes on within seconds, and nothing else looks like it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.partition import HEAD
from streams.windows.bucket import BUCKET_BYTES
from streams.windows.sources import BACK_MS, BACK_WORDS, Sources
from tests.unit.streams.drawing import START_MS, Meter, Reader, deployment, requests
from tidemill.events import Partial, Progress, Window

QUIET = [{"name": "quiet", "metric": "requests", "below": 1, "for_windows": 1}]
HOUR_S = 3_600
SILENT_MS = 60_000
Said = tuple[Partial | Progress, float]
"""A message, and the broker's time stamp on it: seconds from the start."""


def second(meter: Meter, at_s: int, arrived_s: float, meter_s: float | None = None) -> list[Said]:
    """One call, and four words of how far the meter is, by a clock that is the broker's unless it is said."""
    clock_s = arrived_s if meter_s is None else meter_s
    words: list[Said] = [(meter.progress(clock_s + i / 4), arrived_s + i / 4) for i in range(4)]
    return [(meter.partial([requests(at_s, 1)]), 0), *words]


def stepped(ahead_s: int, lasts_s: int, until_s: int, *, meter_too: bool) -> list[Said]:
    """From second 30 on the broker is ``ahead_s`` ahead, for ``lasts_s``; the meter on its machine too, or not."""
    meter, said = Meter(), []
    for at_s in range(until_s):
        arrived_s = at_s + (ahead_s if 30 <= at_s < 30 + lasts_s else 0)
        said += second(meter, at_s, arrived_s, arrived_s if meter_too else at_s)
    return said


def play(reader: Reader, said: list[Said]) -> list[Window]:
    """What goes out, in order."""
    rows = []
    for message, arrived_s in said:
        rows += reader.read(message, reader.offset, START_MS + round(arrived_s * 1000)).windows
        reader.offset += 1
    return rows


def calls(rows: list[Window]) -> dict[int, float | None]:
    """By start of the window, seconds from ours, what its highest revision says."""
    found = {}
    for row in sorted(rows, key=lambda row: row.revision):
        found[(row.start_ms - START_MS) // 1000] = row.value
    return found


@pytest.mark.parametrize("meter_too", [True, False], ids=["the meter too", "the broker alone"])
@pytest.mark.parametrize(("ahead_s", "lasts_s"), [(HOUR_S, 1), (HOUR_S, 20), (24 * HOUR_S, 5), (90, 1)])
def test_after_a_step_ahead_windows_go_on_within_seconds(ahead_s: int, lasts_s: int, meter_too: bool) -> None:
    reader = Reader(deployment(rules=QUIET))
    rows = play(reader, stepped(ahead_s, lasts_s, 200, meter_too=meter_too))
    right_again_s = 30 + lasts_s + BACK_MS // 1000
    whole = right_again_s // 10 * 10 + 10
    told = calls(rows)
    assert {start: told.get(start) for start in range(whole, 190, 10)} == dict.fromkeys(range(whole, 190, 10), 10.0)
    assert reader.fold.watermark_ms == START_MS + 199_250
    if not meter_too:
        assert told == dict.fromkeys(range(0, 190, 10), 10.0), "a window waits; none is lost"
        assert reader.fold.misplaced.total() == 0


def test_windows_told_of_too_early_are_told_again_as_their_next_revision_and_judged() -> None:
    """Told as empty when the clock was ahead, they are reached when time is."""
    reader = Reader(deployment(rules=QUIET, lateness_s=30))
    rows = play(reader, stepped(300, 1, 400, meter_too=True))
    assert len({(row.start_ms, row.metric, row.revision) for row in rows}) == len(rows), "no revision means two things"
    (fold,) = reader.fold
    closed = sum(len(raw) + BUCKET_BYTES for raw in fold.windows.closed.values())
    assert fold.windows.weight == sum(bucket.weight for bucket in fold.windows.buckets.values()) + closed
    told = calls(rows)
    assert {told[start] for start in range(40, 390, 10)} == {10.0}
    assert {row.revision for row in rows if row.start_ms >= START_MS + 340_000} == {0}


def test_a_source_unheard_since_the_clock_was_set_back_holds_the_watermark_for_a_while() -> None:
    one, other = Meter(), Meter()
    sources = Sources()
    both = one.progress(0, partitions=[0], of=2), other.progress(0, partitions=[1], of=2, name="other")
    for message in both:
        sources = sources.heard(message, START_MS + HOUR_S * 1000, SILENT_MS)
    for word in range(300):
        at_s = word / 4
        sources = sources.heard(one.progress(at_s, of=2), START_MS + word * 250, SILENT_MS)
        found = sources.watermark(SILENT_MS)
        assert (found is None) == (at_s < 60), at_s
        assert found is None or not found.complete


@given(st.data())
def test_what_is_no_new_clock_never_sets_it_back(data: st.DataObject) -> None:
    """Jitter below a minute, outliers however far and however many, as long as right words come in between."""
    sources, now_ms = Sources(), START_MS
    for _ in range(data.draw(st.integers(1, 30))):
        now_ms += data.draw(st.integers(0, 100_000))
        right = [now_ms - data.draw(st.integers(0, SILENT_MS - 1)) for _ in range(data.draw(st.integers(1, 5)))]
        wrong_ms = now_ms - data.draw(st.integers(SILENT_MS, 10**9))
        lasts = data.draw(st.sampled_from([(BACK_WORDS - 1, 10 * BACK_MS), (100, BACK_MS - 1)]))
        words, span_ms = data.draw(st.integers(0, lasts[0])), data.draw(st.integers(0, lasts[1]))
        wrong = [wrong_ms + span_ms * i // max(1, words - 1) for i in range(words)]
        for arrived_ms in [now_ms, *right, *(at_ms for at_ms in wrong if now_ms - at_ms >= SILENT_MS)]:
            sources = sources.heard(Meter().progress(0), arrived_ms, SILENT_MS)
            assert sources.clock_ms == now_ms


def test_a_meter_that_was_stopped_for_an_hour_and_catches_up_is_no_new_clock() -> None:
    meter, reader = Meter(), Reader(deployment())
    play(reader, second(meter, 5, 5))
    rows = []
    for at_s in range(10, 100):
        said: list[Said] = [(meter.partial([requests(at_s, 1)]), 0)]
        said += [(meter.progress(at_s, behind=[0], newest_s=at_s), HOUR_S + at_s / 10 + i / 40) for i in range(4)]
        rows += play(reader, said)
    assert calls(rows)[20] == 10.0
    assert reader.fold.misplaced.total() == 0
    assert reader.fold.watermark_ms == START_MS + 98_500


@given(st.data())
def test_a_replay_from_any_checkpoint_goes_on_to_the_same(data: st.DataObject) -> None:
    said = stepped(HOUR_S, data.draw(st.integers(1, 4)), 90, meter_too=data.draw(st.booleans()))
    cut = data.draw(st.integers(0, len(said)))
    begin = data.draw(st.integers(0, cut))
    clean = Reader(deployment(rules=QUIET))
    play(clean, said[:cut])
    states = dict(clean.fold.changed())
    rest = play(clean, said[cut:])
    again = Reader(deployment(rules=QUIET), states, begin)
    assert play(again, said[begin:]) == rest
    assert dict(again.fold.changed())[HEAD] == dict(clean.fold.changed())[HEAD]


def test_a_state_in_which_the_clock_is_ahead_already_recovers() -> None:
    """As it was left before: a restart alone does not help, the words after it do."""
    said = stepped(HOUR_S, 1, 200, meter_too=True)
    reader = Reader(deployment())
    play(reader, said[: 5 * 31])
    states = dict(reader.fold.changed())
    assert calls(play(Reader(deployment(), states, 5 * 31), said[5 * 31 :]))[180] == 10.0


def test_states_of_before_lack_what_clocks_need_and_are_read() -> None:
    said = stepped(HOUR_S, 1, 120, meter_too=True)
    clean = Reader(deployment())
    play(clean, said[: 5 * 20])
    states, old = dict(clean.fold.changed()), {}
    for name, state in states.items():
        parts: list[Any] = msgspec.msgpack.decode(state[8:], strict=False)
        at = 0 if name == HEAD else 1
        parts[at] = parts[at][:-2]
        old[name] = state[:8] + msgspec.msgpack.encode(parts)
    assert all(len(old[name]) < len(states[name]) for name in states)
    assert play(Reader(deployment(), old, 5 * 20), said[5 * 20 :]) == play(clean, said[5 * 20 :])


def test_detectors_keep_their_clock() -> None:
    """No hour without a budget after an hour too much."""
    said = stepped(HOUR_S, 1, 300, meter_too=True)
    reader = Reader(deployment())
    play(reader, said[: 5 * 100])
    (fold,) = reader.fold
    before = fold.spent.updates
    play(reader, said[5 * 100 :])
    assert 180 <= fold.spent.updates - before <= 210
