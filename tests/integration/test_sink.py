"""The sink against a real broker and store: every row once, whatever happens to the process or the store."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from consumers.deadletters.bury import STUB_BYTES
from tests.integration.role_process import Role, environment_of
from tests.integration.store_fixture import StoreProcess, start_store
from tests.unit.sink.samples import full, least
from tests.waiting import until
from tidemill.codec import encode
from tidemill.ids import uuid7
from tidemill.io.clickhouse import Store
from tidemill.io.decisions import latest
from tidemill.io.kafka import admin, follower, producer, read_to_end
from tidemill.settings import Settings
from tidemill.topics import (
    BY_NAME,
    DECISIONS,
    LANDING,
    MAX_DLQ_MESSAGE_BYTES,
    MAX_MESSAGE_BYTES,
    REQUESTS,
    RESPONSES,
    SINK_GROUP,
    Topic,
)

NOW_MS = 1_763_800_000_000


@pytest.fixture
def deployment(
    settings: Settings, store: StoreProcess, fresh_topics: None, unique: Callable[[str], str]
) -> Iterator[Settings]:
    """The settings with the test store, a database of its own and empty topics."""
    yield moved(settings, store, unique)


def moved(settings: Settings, store: StoreProcess, unique: Callable[[str], str]) -> Settings:
    name = unique("sink").replace("-", "_")
    clickhouse = settings.clickhouse.model_copy(update={"url": store.url, "database": name})
    found = settings.model_copy(update={"clickhouse": clickhouse})
    Store(found).migrate()
    return found


def sink(settings: Settings) -> Role:
    return Role("sink", settings, environment_of(settings))


def send(settings: Settings, topic: Topic, values: list[tuple[bytes | None, bytes | None]]) -> None:
    """Keys and values, in order, spread over partitions by key."""
    made = producer(settings, "test-sink", queue_buffering_max_kbytes=131_072)
    for key, value in values:
        while True:
            try:
                made.produce(topic.name, value, key, headers=[("origin", b"test")])
                break
            except BufferError:
                made.poll(0.1)
        made.poll(0)
    assert made.flush(60) == 0


def responses(count: int, *, start: int = 0) -> list[tuple[bytes | None, bytes | None]]:
    """Distinct, small answers."""
    event = full(RESPONSES.event, gen_ai_output_text="card_arrival")
    found: list[tuple[bytes | None, bytes | None]] = []
    for number in range(start, start + count):
        call = uuid7(NOW_MS, number.to_bytes(10, "big"))
        found.append((call.encode(), encode(msgspec.structs.replace(event, call_id=call, answer_id=call))))
    return found


def landed(store: Store, table: str) -> tuple[int, int]:
    """Rows, and different source offsets among them."""
    (row,) = store.rows(f"SELECT count() AS n, uniqExact(_topic, _partition, _offset) AS u FROM {table}")
    return row["n"], row["u"]


def has(store: Store, table: str, rows: int, *, more: bool = False) -> bool:
    """Whether the table holds so many rows, each from an offset of its own; or at least so many rows."""
    found = landed(store, table)
    return found[0] >= rows if more else found == (rows, rows)


def letters(settings: Settings, topic: Topic) -> list[Message]:
    """The dead letters of a topic."""
    reader = follower(settings, "test-dlq", Topic(topic.dlq, topic.event, "", topic.partitions, "", ""))
    found = list(read_to_end(reader))
    reader.close()
    return found


def lag(settings: Settings) -> int:
    """Messages of all landing topics beyond the sink's committed offsets."""
    reader = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "tidemill-sink"})
    places = [TopicPartition(topic.name, p) for topic in LANDING for p in range(topic.partitions)]
    total = 0
    for place in reader.committed(places, timeout=10):
        high = reader.get_watermark_offsets(place, timeout=10)[1]
        total += high - max(place.offset, 0)
    reader.close()
    return total


def test_every_topic_lands_once_and_the_lag_goes_to_zero(deployment: Settings) -> None:
    store = Store(deployment)
    for topic in LANDING:
        send(deployment, topic, [(b"k", encode(make(topic.event))) for make in (full, least, full)])
    with sink(deployment).start() as role:
        for topic in LANDING:
            assert topic.table is not None
            role.until(partial(has, store, topic.table, 3), within_s=120, what=topic.table)
        role.ready()
        role.until(lambda: lag(deployment) == 0, what="the lag is zero")
        (row,) = store.rows("SELECT time, state, pipeline FROM jobs LIMIT 1")
        assert row["time"].timestamp() * 1000 == NOW_MS and msgspec.json.decode(row["state"])["job_id"]
        ((said,),) = latest(store, NOW_MS, 9).values()
        assert said in (full(DECISIONS.event), least(DECISIONS.event)), "what the console and the command read"
        assert role.stop() == 0
    with sink(deployment).start() as role:
        role.ready()
        send(deployment, REQUESTS, [(b"k", encode(full(REQUESTS.event)))])
        role.until(lambda: landed(store, "requests") == (4, 4), what="the next row lands")
    assert landed(store, "jobs") == (3, 3)


def test_killed_in_the_middle_every_row_lands_once(deployment: Settings) -> None:
    count = 20_000
    store = Store(deployment)
    with sink(deployment).start() as role:
        for part in range(2):
            send(deployment, RESPONSES, responses(count // 2, start=part * count // 2))
            role.until(
                partial(has, store, "responses", 1 + part * count // 3, more=True), within_s=120, what="rows land"
            )
            role.kill()
            role.start()
        role.until(lambda: landed(store, "responses")[1] == count, within_s=120, what="all rows")
        role.until(lambda: lag(deployment) == 0, what="the lag is zero")
    assert landed(store, "responses") == (count, count)


def test_offsets_that_the_broker_forgot_double_no_row(deployment: Settings) -> None:
    """Ranges are other ones then, with other tokens: what the table has already is left out."""
    store = Store(deployment)
    send(deployment, RESPONSES, responses(500))
    with sink(deployment).start() as role:
        role.until(partial(has, store, "responses", 500), within_s=120, what="rows land")
        role.until(lambda: lag(deployment) == 0, what="the lag is zero")
        assert role.stop() == 0
    send(deployment, RESPONSES, responses(700, start=500))
    asking = admin(deployment, "test-sink")
    until(partial(forgotten, asking), what="the group is gone")
    with sink(deployment).start() as role:
        role.until(lambda: landed(store, "responses")[0] >= 1200, within_s=120, what="the other rows land")
        role.until(lambda: lag(deployment) == 0, what="the lag is zero")
    assert landed(store, "responses") == (1200, 1200)


def forgotten(asking: AdminClient) -> bool:
    """Delete the sink's group; False while a member is still known."""
    try:
        asking.delete_consumer_groups([SINK_GROUP])[SINK_GROUP].result()
    except KafkaException as error:
        return bool(error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND)
    return True


def test_the_store_goes_away_and_comes_back(
    settings: Settings, fresh_topics: None, unique: Callable[[str], str], tmp_path: Path
) -> None:
    own = start_store(tmp_path / "data")
    deployment = moved(settings, own, unique)
    try:
        with sink(deployment).start() as role:
            send(deployment, RESPONSES, responses(100))
            role.until(lambda: landed(Store(deployment), "responses") == (100, 100), within_s=120, what="rows land")
            own.stop()
            send(deployment, RESPONSES, responses(100, start=100))
            role.until(lambda: "store" in role.readiness(), what="the sink says what it waits for")
            own = start_store(tmp_path / "data", own.port)
            role.until(lambda: landed(Store(deployment), "responses") == (200, 200), within_s=120, what="rows land")
            role.ready()
    finally:
        own.kill()


def test_a_table_that_does_not_fit_is_refused(deployment: Settings) -> None:
    Store(deployment).command("ALTER TABLE responses DROP COLUMN http_status")
    with sink(deployment).start() as role:
        assert role.process is not None and role.process.wait(60) != 0
        assert "column http_status is missing" in role.text()


def test_malformed_messages_that_are_large_only_when_unpacked_hold_up_nothing(deployment: Settings) -> None:
    large, huge = b"[" * (2 * MAX_MESSAGE_BYTES), b"{" * (MAX_DLQ_MESSAGE_BYTES + 1)
    made = producer(deployment, "test-sink", message_max_bytes=4 * MAX_DLQ_MESSAGE_BYTES)
    for value in (large, huge):
        made.produce(REQUESTS.name, value, b"bad", headers=[("origin", b"test")])
        assert made.flush(60) == 0
    send(deployment, REQUESTS, [(b"bad", encode(full(REQUESTS.event)))])
    store = Store(deployment)
    with sink(deployment).start() as role:
        role.until(lambda: landed(store, "requests") == (1, 1), within_s=60, what="the row behind them lands")
        role.until(lambda: lag(deployment) == 0, within_s=60, what="the lag is zero")
        assert role.process is not None and role.process.poll() is None
    whole, stub = sorted(letters(deployment, REQUESTS), key=lambda m: m.offset() or 0)
    assert whole.value() == large and stub.value() == huge[:STUB_BYTES]
    said: dict[str, Any] = dict(stub.headers())
    assert said["__connect.errors.value.bytes"] == str(len(huge)).encode() and said["origin"] == b"test"


def malformed(good: bytes, number: int, noise: random.Random) -> bytes | None:
    """One of the ways to be no valid event; different bytes each time."""
    mark = f"{number:08d}".encode()
    ways: list[Callable[[], bytes | None]] = [
        lambda: b'{"bad json": ' + mark,
        lambda: good.replace(b'"time_ms":', b'"time_ms":"' + mark + b'","then":'),
        lambda: b'{"schema":1,"call_id":"' + mark + b'"}',
        lambda: good.replace(b'"schema":1', b'"schema":9', 1).replace(b'"tenant":"', b'"tenant":"' + mark),
        lambda: good.replace(b'"pipeline":"', b'"pipeline":null,"was":"' + mark),
        lambda: b"\xff\xfe" + mark + noise.randbytes(20),
        lambda: good.replace(b'"e2e_ms":0.25', b'"e2e_ms":-' + mark.lstrip(b"0") + b"1"),
        lambda: None,
    ]
    if number % 500 == 0:
        return mark + b"x" * 900_000
    return ways[number % len(ways)]()


def test_ten_thousand_malformed_among_a_hundred_thousand(deployment: Settings) -> None:
    good, bad, noise = 100_000, 10_000, random.Random(7)
    sample = encode(full(RESPONSES.event))
    mixed = responses(good)
    rejected = [(f"bad-{n}".encode(), malformed(sample, n, noise)) for n in range(bad)]
    for number, one in enumerate(rejected):
        mixed.insert(noise.randrange(len(mixed)) if number % 100 == 0 else len(mixed) - number * 9, one)
    send(deployment, RESPONSES, mixed)
    store = Store(deployment)
    with sink(deployment).start() as role:
        role.until(lambda: landed(store, "responses")[1] == good, within_s=120, every_s=0.3, what="rows land")
        role.until(lambda: lag(deployment) == 0, within_s=120, what="the lag is zero")
        assert role.process is not None and role.process.poll() is None
        role.ready()
    assert landed(store, "responses") == (good, good)
    found = letters(deployment, RESPONSES)
    assert sorted((m.key(), m.value() or b"") for m in found) == sorted((k, v or b"") for k, v in rejected)
    assert sum(m.value() is None for m in found) == sum(v is None for _, v in rejected) > 1000
    for message in found:
        headers: dict[str, Any] = dict(message.headers())
        assert headers["origin"] == b"test" and headers["__connect.errors.topic"] == RESPONSES.name.encode()
        assert headers["__connect.errors.exception.message"].split(b":")[0] in (b"json", b"schema", b"null", b"utf-8")
    assert BY_NAME[RESPONSES.name].dlq == found[0].topic()
