"""Rows that a killed store knew and lost come back once: against a real store, with a control that must fail."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka import Message, TopicPartition

from consumers.sink.batch import Block
from consumers.sink.insert import Alarmed, Inserter, Landed
from consumers.sink.main import check_tables
from tests.integration.store_fixture import StoreProcess, start_store
from tests.integration.test_sink import has, lag, landed, moved, responses, send, sink
from tests.unit.sink.samples import full
from tidemill.codec import encode
from tidemill.errors import Retry, Stop
from tidemill.io.clickhouse import Store
from tidemill.io.kafka import follower
from tidemill.settings import Settings
from tidemill.topics import REQUESTS, RESPONSES

NOW_MS = 1_763_800_000_000
TABLE = (
    "CREATE TABLE t (_topic String, _partition UInt32, _offset UInt64, _arrival_ms Int64, time_ms Int64, "
    "time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'), v UInt32) "
    "ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY time {} SETTINGS non_replicated_deduplication_window = 100"
)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[list[StoreProcess]]:
    """One store of the test's own, to be killed and replaced."""
    running = [start_store(tmp_path / "data")]
    yield running
    running[0].kill()


def opened(own: list[StoreProcess], ttl: str = "") -> Store:
    store = Store(Settings.model_validate({"clickhouse": {"url": own[0].url}}))
    store.migrate()
    store.command(TABLE.format(ttl))
    return store


def block(offsets: Sequence[int], values: Sequence[str] | None = None, token: str = "T") -> Block:
    count = len(offsets)
    rows = pa.table(
        {
            "_topic": ["topic"] * count,
            "_partition": pa.array([3] * count, pa.uint32()),
            "_offset": pa.array(offsets, pa.uint64()),
            "_arrival_ms": [NOW_MS] * count,
            "time_ms": [NOW_MS + n for n in range(count)],
            "v": values or ["7"] * count,
        }
    )
    return Block("t", token, rows, [Message(topic="topic", offset=n) for n in offsets], "time_ms")


def lose_parts(own: list[StoreProcess], store: Store, token: str) -> None:
    """Leave the store as a kill between writing down the token and the rows' rename does: token known, rows gone."""
    parts = store.rows("SELECT path FROM system.parts WHERE database = 'tidemill' AND table = 't' AND active")
    assert len(parts) == 1, token
    own[0].kill()
    shutil.rmtree(parts[0]["path"])
    own[0] = start_store(own[0].path, own[0].port)


def offsets_of(store: Store) -> list[int]:
    return [row["_offset"] for row in store.rows("SELECT _offset FROM t ORDER BY _offset")]


def never(reason: str, _seconds: float) -> None:
    raise AssertionError(f"nothing to wait for: {reason}")


def land(inserter: Inserter, found: Block, *, fresh: bool) -> Landed:
    return inserter.land(found, inserter.send(found) if fresh else None)


class Blind(Inserter):
    """The sink without healing: whatever is not certain is sent again, and an acknowledgment is believed."""

    _uncertain = Inserter._repeat


def test_the_property_the_recipe_rests_on(own: list[StoreProcess]) -> None:
    store, rows = opened(own), block(range(50)).rows
    store.insert("t", rows, "T")
    lose_parts(own, store, "T")
    for token, seen in (("T", 0), ("T", 0), ("T#h1", 50), ("T#h1", 50), ("T", 50)):
        store.insert("t", rows, token)
        assert len(offsets_of(store)) == seen, token


def test_a_token_in_flight_many_times_is_one_copy(own: list[StoreProcess]) -> None:
    store, rows = opened(own), block(range(50_000)).rows
    together = threading.Barrier(6)

    def insert() -> None:
        together.wait()
        store.insert("t", rows, "T")
        (row,) = store.rows("SELECT count() AS n FROM t")
        seen.append(row["n"])

    seen: list[int] = []
    senders = [threading.Thread(target=insert) for _ in range(6)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert seen == [50_000] * 6, "a copy is acknowledged only once the first is visible"


@pytest.mark.parametrize(("inserter", "missing", "healed"), [(Inserter, 0, 40), (Blind, 40, 0)])
def test_lost_rows_come_back_and_the_control_sees_them_missing(
    own: list[StoreProcess], inserter: type[Inserter], missing: int, healed: int
) -> None:
    store = opened(own)
    land(inserter(store, never), block(range(40)), fresh=True)
    lose_parts(own, store, "T")
    land(inserter(store, never), block(range(40, 60), token="U"), fresh=True)
    result = land(inserter(store, never), block(range(40)), fresh=False)
    assert (result.rows, result.healed) == (40, healed)
    assert len(set(range(60)) - set(offsets_of(store))) == missing and len(offsets_of(store)) == 60 - missing


def test_rows_lost_in_several_rounds_come_back(own: list[StoreProcess]) -> None:
    store = opened(own)
    for number in range(3):
        assert land(Inserter(store, never), block(range(9)), fresh=number == 0).rows == 9
        lose_parts(own, store, "T")
    assert land(Inserter(store, never), block(range(9)), fresh=False).healed > 0
    assert offsets_of(store) == list(range(9))


def test_too_many_rows_are_an_alarm(own: list[StoreProcess]) -> None:
    store = opened(own)
    for token in ("T", "by hand"):
        store.insert("t", block([4, 5]).rows, token)
    with pytest.raises(Alarmed, match="2 rows too many of the 2 offsets of T"):
        land(Inserter(store, never), block([4, 5, 6]), fresh=False)
    assert offsets_of(store) == [4, 4, 5, 5], "nothing is sent"


def test_rows_past_their_ttl_are_not_missing(own: list[StoreProcess]) -> None:
    store = opened(own, "TTL toDateTime(time) + INTERVAL 1 DAY")
    result = land(Inserter(store, never), block(range(5)), fresh=False)
    assert (result.rows, result.healed, offsets_of(store)) == (5, 0, [])


def test_a_ttl_that_cannot_be_judged_is_an_alarm(own: list[StoreProcess]) -> None:
    store = opened(own, "TTL toDateTime(time) + INTERVAL 1 DAY DELETE WHERE v = 1")
    with pytest.raises(Alarmed, match="cannot be told"):
        land(Inserter(store, never), block(range(5)), fresh=False)


def test_a_ttl_on_another_column_is_an_alarm(own: list[StoreProcess]) -> None:
    store = opened(own, "TTL fromUnixTimestamp(v) + INTERVAL 1 DAY")
    with pytest.raises(Alarmed, match="only time can be judged"):
        land(Inserter(store, never), block(range(5)), fresh=False)


def test_a_ttl_that_cannot_be_judged_stops_the_sink_at_its_start(own: list[StoreProcess]) -> None:
    store = opened(own)
    store.command("ALTER TABLE windows MODIFY TTL toDateTime(start) + INTERVAL 9 DAY")
    check_tables(store)
    for rule in ("toDateTime(start) + INTERVAL 9 DAY DELETE WHERE pipeline = 'a'", "toDateTime(_arrival_ms / 1000)"):
        store.command(f"ALTER TABLE windows MODIFY TTL {rule}")
        with pytest.raises(Stop, match=r"table windows: TTL .*ALTER TABLE windows MODIFY TTL"):
            check_tables(store)


@pytest.mark.parametrize("fresh", [True, False])
def test_refused_rows_are_found_by_halves_and_a_replay_doubles_none(own: list[StoreProcess], fresh: bool) -> None:
    store = opened(own)
    values = ["7"] * 9 + ["no number"] + ["7"] * 10
    for again in (fresh, False):
        result = land(Inserter(store, never), block(range(20), values), fresh=again)
        assert result.rows == 19 and [r.message.offset() for r in result.rejected] == [9]
    assert offsets_of(store) == [n for n in range(20) if n != 9]


def test_where_rows_cannot_be_counted_tokens_alone_decide(own: list[StoreProcess]) -> None:
    store = opened(own)
    store.command(TABLE.format("").replace("TABLE t ", "TABLE r ").replace("MergeTree", "ReplacingMergeTree"))
    values = ["7"] * 9 + ["no number"] + ["7"] * 10
    for _ in range(2):
        result = land(Inserter(store, never), replace(block(range(20), values), table="r"), fresh=False)
        assert result.rows == 19 and [r.message.offset() for r in result.rejected] == [9]
    assert store.rows("SELECT count() AS n FROM r") == [{"n": 19}]


def test_an_answer_that_never_comes_is_counted(own: list[StoreProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(own)
    insert = store.insert
    waited: list[str] = []

    def lost(table: str, rows: pa.Table, token: str, **options: float) -> None:
        insert(table, rows, token, **options)
        if len(waited) < 2:
            raise Retry("the answer was lost")

    monkeypatch.setattr(store, "insert", lost)
    result = land(Inserter(store, lambda reason, _: waited.append(reason)), block(range(7)), fresh=True)
    assert waited == ["the answer was lost"] and (result.rows, result.healed) == (7, 0)
    assert offsets_of(store) == list(range(7))


def first_offsets(settings: Settings) -> dict[int, int]:
    """By partition of the responses."""
    reader = follower(settings, "test-heal", RESPONSES)
    found = {p: reader.get_watermark_offsets(TopicPartition(RESPONSES.name, p))[0] for p in range(RESPONSES.partitions)}
    reader.close()
    return found


def test_a_store_killed_at_random_keeps_every_row_once(
    settings: Settings, fresh_topics: None, unique: Callable[[str], str], own: list[StoreProcess]
) -> None:
    deployment, noise, each = moved(settings, own[0], unique), random.Random(11), 6_000
    store = Store(deployment)
    with sink(deployment).start() as role:
        role.ready()
        for number in range(5):
            send(deployment, RESPONSES, responses(each, start=number * each))
            role.until(partial(has, store, "responses", number * each + 1, more=True), what="rows land")
            time.sleep(noise.random() * 0.8)  # where in its work the store is hit: the fault itself, not a wait
            own[0].kill()
            own[0] = start_store(own[0].path, own[0].port)
        role.until(lambda: landed(store, "responses")[1] == 5 * each, what="all rows")
        role.until(lambda: lag(deployment) == 0, what="the lag is zero")
        role.ready()
    assert landed(store, "responses") == (5 * each, 5 * each)


def test_an_alarm_is_visible_holds_up_no_other_partition_and_ends(
    settings: Settings, fresh_topics: None, unique: Callable[[str], str], own: list[StoreProcess]
) -> None:
    deployment = moved(settings, own[0], unique)
    store = Store(deployment)
    values: list[tuple[bytes | None, bytes | None]] = [(b"one key", value) for _, value in responses(10)]
    with sink(deployment).start() as role:
        role.ready()
        own[0].stop()
        send(deployment, RESPONSES, values)
        role.until(lambda: "does not answer" in role.readiness(), what="the sink waits for the store")
        own[0] = start_store(own[0].path)  # elsewhere, so that the sink does not see it yet
        elsewhere = deployment.clickhouse.model_copy(update={"url": own[0].url})
        other = Store(deployment.model_copy(update={"clickhouse": elsewhere}))
        firsts = first_offsets(deployment)
        twice = [f"('{RESPONSES.name}', {p}, {first}, {NOW_MS})" for p, first in firsts.items()] * 2
        other.command(f"INSERT INTO responses (_topic, _partition, _offset, time_ms) VALUES {', '.join(twice)}")
        own[0].stop()
        own[0] = start_store(own[0].path, int(deployment.clickhouse_url.rsplit(":", 1)[1]))
        role.until(lambda: "rows too many" in role.readiness(), what="the alarm")
        send(deployment, REQUESTS, [(b"k", encode(full(REQUESTS.event)))])
        role.until(lambda: has(store, "requests", 1), what="another partition goes on")
        assert "rows too many" in role.readiness() and landed(store, "responses")[0] == 2 * len(firsts)
        store.command("ALTER TABLE responses DELETE WHERE call_id = '' SETTINGS mutations_sync = 2")
        role.until(lambda: has(store, "responses", 10), what="the rows, once somebody has put things right")
        role.ready()
