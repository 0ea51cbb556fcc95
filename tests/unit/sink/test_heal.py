"""What to do about an uncertain insert: decided from the offsets a table holds."""

from __future__ import annotations

import random

import pytest

from consumers.sink.heal import ROUNDS, Alarm, Missing, Present, Whole, decide
from consumers.sink.held import Rules, deletions

OFFSETS = (10, 11, 13, 20)


def holds(*offsets: int) -> Present:
    return Present(len(offsets), frozenset(offsets))


def test_everything_is_there() -> None:
    assert decide("T", OFFSETS, holds(*OFFSETS), 0) == Whole()


def test_a_compacted_topic_holds_fewer_rows_than_the_table() -> None:
    assert decide("T", OFFSETS, holds(*OFFSETS, 12), 0) == Whole()
    assert decide("T", OFFSETS, holds(10, 11, 12, 13), 0) == Missing([3], "T")


def test_only_what_is_missing_is_sent_also_at_first() -> None:
    assert decide("T", OFFSETS, holds(), 0) == Missing([0, 1, 2, 3], "T")
    assert decide("T", OFFSETS, holds(11, 20), 0) == Missing([0, 2], "T")


def test_later_rounds_have_tokens_of_their_own_the_same_after_any_restart() -> None:
    tokens = [decide("T", OFFSETS, holds(), n).token for n in range(ROUNDS)]  # type: ignore[union-attr]
    assert tokens == ["T", "T#h1", "T#h2", "T#h3", "T#h4", "T#h5"]


def test_after_six_rounds_somebody_is_called() -> None:
    assert decide("T", OFFSETS, holds(*OFFSETS), ROUNDS) == Whole()
    assert decide("T", OFFSETS, holds(10), ROUNDS) == Alarm("3 rows of T are missing after 6 rounds")


@pytest.mark.parametrize("round_", [0, 3, ROUNDS])
def test_more_rows_than_offsets_are_an_alarm_whatever_is_missing(round_: int) -> None:
    for offsets in (OFFSETS, (10, 11)):
        found = decide("T", OFFSETS, Present(len(offsets) + 1, frozenset(offsets)), round_)
        assert isinstance(found, Alarm) and found.reason.startswith("1 rows too many")


def test_rows_past_their_ttl_are_not_missing() -> None:
    assert decide("T", OFFSETS, holds(10), 0, expired={11, 13, 20}) == Whole()
    assert decide("T", OFFSETS, holds(10), 0, expired={11}) == Missing([2, 3], "T")


def test_a_store_that_loses_at_random_is_made_whole() -> None:
    noise = random.Random(5)
    for _ in range(200):
        table: set[int] = {o for o in OFFSETS if noise.random() < 0.3}
        known = {"T"} if noise.random() < 0.5 else set()
        for number in range(ROUNDS + 1):
            step = decide("T", OFFSETS, holds(*table), number)
            if not isinstance(step, Missing):
                break
            assert not table & {OFFSETS[n] for n in step.rows}
            if step.token not in known:
                known.add(step.token)
                table |= {OFFSETS[n] for n in step.rows} if noise.random() < 0.8 else set()
        assert (step == Whole() and table == set(OFFSETS)) or (isinstance(step, Alarm) and number == ROUNDS)


ENGINE = "MergeTree PARTITION BY toYYYYMM(time) ORDER BY (pipeline, time)"
SETTINGS = " SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192"


@pytest.mark.parametrize(
    ("ttl", "found"),
    [
        ("", ()),
        (" TTL toDateTime(time) + toIntervalDay(90)", ("toDateTime(time) + toIntervalDay(90)",)),
        (
            " TTL toDateTime(time) + toIntervalDay(1) RECOMPRESS CODEC(ZSTD(3)), addDays(toDate(time), 7) DELETE, "
            "time + toIntervalDay(3) TO DISK 'slow'",
            ("addDays(toDate(time), 7)",),
        ),
    ],
)
def test_what_a_ttl_deletes_is_read_from_the_table(ttl: str, found: tuple[str, ...]) -> None:
    assert deletions(ENGINE + ttl + SETTINGS) == found == deletions(ENGINE + ttl)


def test_a_ttl_with_a_condition_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be told"):
        deletions(f"{ENGINE} TTL toDateTime(time) + toIntervalDay(9) WHERE pipeline = 'a'{SETTINGS}")


@pytest.mark.parametrize(
    ("engine", "countable"),
    [("MergeTree", True), ("ReplicatedMergeTree", False), ("SharedMergeTree", False), ("ReplacingMergeTree", False)],
)
def test_rows_are_counted_in_plain_tables_only(engine: str, countable: bool) -> None:
    assert Rules(engine, ()).countable is countable
