"""Frozen ranges on a real broker: replayed after a crash, moved by a rebalance, refused to a fenced member."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.waiting import until
from tidemill.errors import Retry
from tidemill.io.kafka import consumer
from tidemill.io.ranges import Range, RangeConsumer
from tidemill.settings import Settings


@pytest.fixture
def topic(kafka: str, unique: Callable[[str], str]) -> Iterator[str]:
    name = unique("ranges")
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, 4, 1)])[name].result()
    yield name
    admin.delete_topics([name])[name].result()


def fill(kafka: str, topic: str, count: int, **options: str) -> None:
    made = Producer({"bootstrap.servers": kafka} | {k.replace("_", "."): v for k, v in options.items()})
    if options:
        made.init_transactions(10)
        made.begin_transaction()
    for number in range(count):
        made.produce(topic, str(number), str(number))
        made.poll(0)
    if options:
        made.commit_transaction()
    assert made.flush(30) == 0


def poll(member: RangeConsumer) -> list[Range]:
    try:
        return member.poll()
    except Retry:
        return []


def ranges_of(member: RangeConsumer) -> list[Range]:
    return until(lambda: poll(member), what="ranges")


def test_an_open_range_is_replayed_with_the_same_token(
    settings: Settings, kafka: str, topic: str, unique: Callable[[str], str]
) -> None:
    fill(kafka, topic, 4000)
    group = unique("g")
    first = RangeConsumer(settings, "t", group, [topic], 100, 0.2)
    opened = ranges_of(first)
    for span in opened[1:]:
        first.done(span)
    lost = opened[0]
    first.close()
    second = RangeConsumer(settings, "t", group, [topic], 250, 0.2)
    taken = [m.value() for span in opened[1:] for m in span.messages]
    replayed: list[Range] = []

    def all_taken() -> bool:
        for span in poll(second):
            assert second.holds(span)
            replayed.extend([span] if span.replayed else [])
            taken.extend(m.value() for m in span.messages)
            second.done(span)
        return len(taken) >= 4000

    until(all_taken, what="everything")
    second.close()
    assert Counter(taken) == Counter(str(n).encode() for n in range(4000))
    assert [s.token for s in replayed] == [lost.token]
    assert [m.value() for m in replayed[0].messages] == [m.value() for m in lost.messages]


def test_a_rebalance_moves_partitions_without_gap_or_overlap(
    settings: Settings, kafka: str, topic: str, unique: Callable[[str], str]
) -> None:
    group = unique("g")
    members = [RangeConsumer(settings, "t", group, [topic], 200, 0.1)]
    effects: dict[str, list[bytes]] = {}
    fill(kafka, topic, 2000)

    def turn() -> int:
        for member in members:
            for span in poll(member):
                if member.holds(span):
                    effects.setdefault(span.token, [m.value() for m in span.messages])
                    member.done(span)
        return sum(map(len, effects.values()))

    until(lambda: turn() >= 500, what="a beginning")
    members.append(RangeConsumer(settings, "t", group, [topic], 200, 0.1))
    until(lambda: turn() >= 0 and members[1].positions(), what="the second member owns something")
    fill(kafka, topic, 2000)
    until(lambda: turn() >= 4000, what="everything")
    members.pop(0).close()
    fill(kafka, topic, 1000)
    until(lambda: turn() >= 5000, within_s=60, what="the one left takes over")
    members[0].close()
    assert Counter(Counter(v for values in effects.values() for v in values).values()) == {3: 1000, 2: 1000}


def test_a_range_taken_away_is_not_held(
    settings: Settings, kafka: str, topic: str, unique: Callable[[str], str]
) -> None:
    fill(kafka, topic, 100)
    group = unique("g")
    first = RangeConsumer(settings, "t", group, [topic], 1000, 0.1)
    opened: list[Range] = []

    def four() -> bool:
        opened.extend(poll(first))
        return len(opened) == 4

    until(four, what="four ranges")
    second = RangeConsumer(settings, "t", group, [topic], 1000, 0.1)
    replayed: list[Range] = []

    def moved() -> bool:
        first.hold(0.1)
        replayed.extend(poll(second))
        return bool(replayed)

    until(moved, what="the second member gets a range the first had opened")
    gone = {span.token for span in replayed}
    held = {span.token for span in opened if first.holds(span)}
    assert gone and not gone & held
    for span in opened:
        first.done(span)
    assert all(second.holds(span) for span in replayed), "a late done() takes nothing from the new owner"
    first.close()
    second.close()


def test_a_range_that_is_held_grows_old(
    settings: Settings, kafka: str, topic: str, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.io.ranges.consumer.SESSION_S", 0.0)
    fill(kafka, topic, 1)
    member = RangeConsumer(settings, "t", unique("g"), [topic], 10, 0.1)
    (span,) = ranges_of(member)
    opened_s = time.monotonic()
    until(lambda: member.holds(span) and time.monotonic() - opened_s > 0.5, what="half a second of renewals")
    assert member.oldest_open_s() > 0.5
    member.done(span)
    assert member.oldest_open_s() == 0.0
    member.close()


def test_a_range_whose_renewal_the_group_refuses_is_not_worked_on(
    settings: Settings, kafka: str, topic: str, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(kafka, topic, 1)
    member = RangeConsumer(settings, "t", unique("g"), [topic], 10, 0.1)
    (span,) = ranges_of(member)
    monkeypatch.setattr(member, "_commit_offsets", lambda _: [])
    assert member.holds(span), "acknowledged a moment ago"
    monkeypatch.setattr("tidemill.io.ranges.consumer.SESSION_S", 0.0)
    with pytest.raises(Retry, match="could not be renewed"):
        member.holds(span)
    member.close()


def test_partitions_given_up_while_paused_are_read_again_when_they_come_back(
    settings: Settings, kafka: str, topic: str, unique: Callable[[str], str]
) -> None:
    group = unique("g")
    first = RangeConsumer(settings, "t", group, [topic], 100, 0.1)
    until(lambda: poll(first) or len(first.positions()) == 4, what="the first member owns all")
    second = RangeConsumer(settings, "t", group, [topic], 100, 0.1)

    def shared() -> bool:
        first.hold(0.1)  # paused all the while, also when it gives up
        poll(second)
        return len(first.positions()) == 2 and len(second.positions()) == 2

    until(shared, what="each has two")
    second.close()

    def back() -> bool:
        first.hold(0.1)
        return len(first.positions()) == 4

    until(back, what="the first member owns all again")
    fill(kafka, topic, 400)
    taken = 0

    def all_taken() -> bool:
        nonlocal taken
        for span in poll(first):
            taken += len(span.messages)
            first.done(span)
        return taken == 400

    until(all_taken, what="everything, of every partition")
    first.close()


def test_idle_partitions_are_committed_past_transaction_markers(
    settings: Settings, kafka: str, topic: str, unique: Callable[[str], str]
) -> None:
    fill(kafka, topic, 40, transactional_id=unique("tx"))
    group = unique("g")
    member = RangeConsumer(settings, "t", group, [topic], 1000, 0.1)
    reader = consumer(settings, "look", group)
    count = 0

    def at_end() -> bool:
        nonlocal count
        for span in poll(member):
            count += len(span.messages)
            member.done(span)
        places = reader.committed(
            [TopicPartition(topic, p) for p in range(len(reader.list_topics(topic, 10).topics[topic].partitions))],
            timeout=10,
        )
        return all(p.offset == reader.get_watermark_offsets(p, timeout=10)[1] for p in places)

    until(at_end, what="committed offsets at the end")
    assert count == 40
    assert [(p.position, p.end) for p in member.positions()] == [(p.end, p.end) for p in member.positions()]
    member.close()
    reader.close()


def test_who_takes_nothing_in_is_not_at_the_end(
    settings: Settings, kafka: str, topic: str, unique: Callable[[str], str]
) -> None:
    fill(kafka, topic, 40)
    member = RangeConsumer(settings, "t", unique("g"), [topic], 1000, 0.1)

    def behind() -> list[int]:
        return [p.end - p.position for p in member.positions()]

    def at_end() -> bool:
        for span in poll(member):
            member.done(span)
        return behind() == [0, 0, 0, 0]

    until(at_end, what="all partitions at their end")
    member.hold(0.1)  # nothing is fetched from now on
    fill(kafka, topic, 400)

    def known_of() -> bool:
        member.hold(0.05)
        return sum(behind()) == 400

    until(known_of, what="the new messages are known of")
    until(at_end, what="all partitions at their end again")
    member.close()


def test_no_partition_runs_ahead_of_the_slowest(settings: Settings, kafka: str, unique: Callable[[str], str]) -> None:
    name = unique("paced")
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, 2, 1, config={"message.timestamp.type": "LogAppendTime"})])[name].result()
    made = Producer({"bootstrap.servers": kafka})
    for partition, count in ((0, 100), (1, 5)):
        for _ in range(count):
            made.produce(name, "early", partition=partition)
    assert made.flush(30) == 0
    early_s = time.monotonic()
    until(lambda: time.monotonic() - early_s > 1.0, what="a second between early and late")
    for _ in range(100):
        made.produce(name, "late", partition=1)
    assert made.flush(30) == 0
    member = RangeConsumer(settings, "t", unique("g"), [name], 5, 0.1, ahead_ms=500)
    order: list[bytes | None] = []

    def all_taken() -> bool:
        for span in poll(member):
            order.extend(message.value() for message in span.messages)
            member.done(span)
        return len(order) == 205

    until(all_taken, what="everything")
    assert order == [b"early"] * 105 + [b"late"] * 100
    member.close()
    admin.delete_topics([name])[name].result()


def test_without_a_broker_poll_says_retry(settings: Settings) -> None:
    away = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap": "127.0.0.1:1"})})
    quick = away.model_copy(
        update={"kafka": away.kafka.model_copy(update={"options": {"socket.connection.setup.timeout.ms": 1000}})}
    )
    with pytest.raises((Retry, KafkaException)):
        RangeConsumer(quick, "t", "g", ["x"], 10, 0.1).poll()
