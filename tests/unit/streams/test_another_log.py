"""Where reading begins, also when the topic was made anew under states that know another log."""

from __future__ import annotations

import pytest

from streams.partition import HEAD, LOG, Log, position_of
from tests.unit.streams.drawing import SOURCE, START_MS, Meter, Reader, deployment, requests
from tidemill.events import Window
from tidemill.topics import PARTIALS

IDS = {PARTIALS.name: "a", SOURCE: "s"}
ANEW = IDS | {PARTIALS.name: "b"}


def begun(states: dict[str, bytes] | None = None, log: Log | None = None) -> Reader:
    """A worker that has taken the partition over."""
    reader = Reader(deployment(), states)
    reader.offset = reader.fold.begin(log or Log(IDS, 0, 1_000))
    return reader


def states_of(reader: Reader) -> dict[str, bytes]:
    return dict(reader.fold.changed())


def traffic(windows: list[Window]) -> dict[int, float | None]:
    return {(row.start_ms - START_MS) // 1000: row.value for row in windows if row.metric == "requests"}


def five_messages(meter: Meter) -> dict[str, bytes]:
    """States that know a window of 3 calls, closed, and one of 4, open."""
    reader = begun()
    reader.take(meter.partial([requests(1, 3)]), meter.progress(5), meter.progress(11))
    reader.take(meter.partial([requests(12, 4)]), meter.progress(13))
    return states_of(reader)


@pytest.mark.parametrize(
    ("log", "begin"),
    [
        (Log(IDS, 100, 900, 700), 700),
        (Log(IDS, 100, 900), 100),
        (Log(IDS, 100, 900, 50), 100),
        (Log(IDS, 100, 900, 1_000), 100),
    ],
)
def test_without_states_reading_begins_where_the_group_goes_on(log: Log, begin: int) -> None:
    reader = begun(log=log)
    assert reader.offset == begin
    assert begun(states_of(reader), Log(IDS, 100, 900)).offset == begin, "and it is kept"


def test_with_states_it_begins_behind_the_last_message_they_know() -> None:
    states = five_messages(Meter())
    assert begun(states, Log(IDS, 0, 5, 2)).offset == 5


@pytest.mark.parametrize("log", [Log(ANEW, 0, 9_000, 4), Log(IDS, 0, 4, 4)], ids=["made anew", "end lost"])
def test_another_log_is_read_from_its_beginning_and_counts_no_range_twice(log: Log) -> None:
    meter = Meter()
    states = five_messages(meter)
    repeated = Meter()
    repeated.partial([requests(1, 3)])
    reader = begun(states, log)
    assert reader.offset == 0
    out = reader.take(repeated.partial([requests(12, 4)]), meter.partial([requests(14, 6)]), meter.progress(21))
    assert traffic(out.windows) == {10: 10.0}
    assert reader.fold.outcomes == {"repeated": 1, "applied": 1}
    written = states_of(reader)
    assert all(position_of(state) == LOG + 3 > position_of(states[name]) for name, state in written.items())
    assert begun(written, log._replace(end=9_000)).offset == 3


def test_a_log_made_anew_three_times() -> None:
    meter = Meter()
    states = five_messages(meter)
    for number in range(1, 4):
        reader = begun(states, Log(IDS | {PARTIALS.name: str(number)}, 0, 1))
        reader.take(meter.partial([requests(12, 1)]))
        states = states_of(reader)
        assert {position_of(state) for state in states.values()} == {number * LOG + 1}
    (fold,) = begun(states, Log(IDS | {PARTIALS.name: "3"}, 0, 1)).fold
    assert sum(tally.requests for tally in fold.windows.buckets[START_MS + 10_000].series.values()) == 4 + 3


def test_killed_while_the_first_states_of_another_log_are_written() -> None:
    meter = Meter()
    states = five_messages(meter)
    half = states | {name: state for name, state in states_of(begun(states, Log(ANEW, 0, 2))).items() if name != HEAD}
    assert len(half) == 2 and half != states
    reader = begun(half, Log(ANEW, 0, 2))
    assert reader.offset == 0
    assert traffic(reader.take(meter.partial([requests(14, 6)]), meter.progress(21)).windows) == {10: 10.0}


def test_a_source_made_anew_counts_from_its_beginning() -> None:
    states = five_messages(Meter())
    log = Log(IDS | {SOURCE: "t"}, 0, 5)
    reader = begun(states, log)
    assert reader.offset == 5
    again = begun(states_of(reader), log)
    meter = Meter()
    out = again.take(meter.partial([requests(14, 6)]), meter.progress(21))
    assert traffic(out.windows) == {10: 10.0}
    assert again.fold.outcomes == {"applied": 1}


def test_a_state_written_later_than_its_partitions_never_goes_back() -> None:
    """A kill in the middle of a write left it so; then a source is made anew."""
    meter = Meter()
    states = five_messages(meter)
    reader = begun(states, Log(IDS, 0, 6))
    reader.take(meter.partial([requests(14, 6)]))
    mixed = states_of(reader) | {HEAD: states[HEAD]}
    written = states_of(begun(mixed, Log(IDS | {SOURCE: "t"}, 0, 6)))
    assert {name: position_of(state) for name, state in written.items()} == {"schedule": 6, HEAD: 5}
