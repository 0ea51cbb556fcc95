"""Kafka clients with the deployment's settings: the only place that knows librdkafka's option names."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tidemill.errors import Retry
from tidemill.settings import Settings
from tidemill.topics import MAX_DLQ_MESSAGE_BYTES, Topic

log = logging.getLogger(__name__)
TIMEOUT_S = 10.0


def _common(settings: Settings, client: str, log_level: int = 3) -> dict[str, Any]:
    """Options of every client. ``log_level`` (librdkafka's; kafka.options has the last word) 0: it prints nothing."""
    return {
        "bootstrap.servers": settings.kafka_bootstrap,
        "client.id": client,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 2_000,
        "log_level": log_level,
        **settings.kafka.options,
    }


def producer(settings: Settings, client: str, **options: Any) -> Producer:
    """An idempotent producer. ``options`` are librdkafka's, with dots as underscores (``linger_ms=5``)."""
    return Producer(
        _common(settings, client)
        | {
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 5,
            "message.max.bytes": MAX_DLQ_MESSAGE_BYTES,
            "message.timeout.ms": 60_000,
        }
        | _dotted(options)
    )


def transactional_producer(settings: Settings, client: str, transactional_id: str) -> Producer:
    """A producer whose writes are transactions; starting one fences the one before with the same id (blocks)."""
    made = producer(settings, client, transactional_id=transactional_id, transaction_timeout_ms=60_000)
    made.init_transactions(30)
    return made


def send_offsets(producer: Producer, offsets: list[TopicPartition], group: Any, within_s: float = TIMEOUT_S) -> None:
    """Make consumed offsets part of the producer's open transaction. Raises KafkaException, or Retry when time is up.

    The driver's own call may wait for ever for a coordinator that went away, whatever its timeout (librdkafka 5456).
    After Retry the producer is of no use: drop it; ``init_transactions`` of the next one ends what it left open.
    """
    outcome: list[KafkaException | None] = []

    def send() -> None:
        try:
            producer.send_offsets_to_transaction(offsets, group, within_s)
            outcome.append(None)
        except KafkaException as error:
            outcome.append(error)

    sender = threading.Thread(target=send, name="send offsets", daemon=True)
    sender.start()
    sender.join(within_s)
    if not outcome:
        raise Retry(f"Kafka did not take the offsets within {within_s:g} s")
    if outcome[0] is not None:
        raise outcome[0]


def consumer(settings: Settings, client: str, group: str, **options: Any) -> Consumer:
    """A group consumer (KIP-848) that commits nothing by itself and starts at the beginning of a topic."""
    return Consumer(
        _common(settings, client)
        | {
            "group.id": group,
            "group.protocol": "consumer",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 500,
            "max.poll.interval.ms": 300_000,
        }
        | _dotted(options)
    )


def fetching(max_bytes: int) -> dict[str, int]:
    """Options of a consumer that reads fast in little memory.

    ``max_bytes``: of a partition in one answer of the broker, as it travels; unpacked it may be ten times that,
    whatever the client's queue may hold. A full queue is looked at again soon: by default it stays empty for up to a
    second.
    """
    return {
        "fetch_message_max_bytes": max_bytes,
        "queued_max_messages_kbytes": 48 * max_bytes // 1024,
        "fetch_queue_backoff_ms": 20,
    }


def _outside_groups(settings: Settings, client: str, isolation: str) -> Consumer:
    """A consumer that is assigned by hand, commits nothing and says where a partition ends.

    It prints nothing: that the broker is away its calls say.
    """
    return Consumer(
        _common(settings, client, log_level=0)
        | {
            "group.id": f"{client}-follower",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": isolation,
            "fetch.wait.max.ms": 500,
        }
    )


def prober(settings: Settings, client: str) -> Consumer:
    """A consumer without a group that is assigned by hand and answers soon, also where nothing more is there."""
    return Consumer(
        _common(settings, client)
        | {
            "group.id": f"{client}-prober",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
            "fetch.message.max.bytes": 65_536,
        }
    )


def at_end(error: KafkaError) -> bool:
    """Whether the client only says that a partition holds nothing more."""
    return bool(error.code() == KafkaError._PARTITION_EOF)


def follower(settings: Settings, client: str, topic: Topic, *, from_end: bool = False) -> Consumer:
    """A consumer without a group, assigned to every partition of ``topic`` from its beginning (or its end)."""
    made = _outside_groups(settings, client, "read_committed")
    partitions = partition_count(made, topic.name)
    start = OFFSET_BEGINNING if not from_end else None
    assignment = []
    for partition in range(partitions):
        offset = start
        if offset is None:
            offset = made.get_watermark_offsets(TopicPartition(topic.name, partition), timeout=TIMEOUT_S)[1]
        assignment.append(TopicPartition(topic.name, partition, offset))
    made.assign(assignment)
    return made


def first_offset(settings: Settings, topic: Topic, partition: int, begin: int) -> int:
    """The first offset from ``begin`` on that holds a message, in a transaction or not; the end where there is none.

    Raises Retry where the broker does not say within TIMEOUT_S.
    """
    reader = _outside_groups(settings, "tidemill-first-offset", "read_uncommitted")
    try:
        reader.assign([TopicPartition(topic.name, partition, begin)])
        message = reader.poll(TIMEOUT_S)
    finally:
        reader.close()
    error = None if message is None else message.error()
    if message is None or (error is not None and error.code() != KafkaError._PARTITION_EOF):
        raise Retry(f"Kafka does not say where {topic.name}/{partition} goes on from {begin}: {error or 'no answer'}")
    return int(message.offset())


def partition_count(client: Consumer, topic: str) -> int:
    """How many partitions a topic has. Raises Retry when the broker or topic is not there."""
    try:
        found = client.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    except KafkaException as error:
        raise Retry(f"Kafka does not answer: {error}") from error
    if found.error is not None or not found.partitions:
        raise Retry(f"topic {topic!r} is not there (yet): run `tidemill init`")
    return len(found.partitions)


def read_to_end(client: Consumer, *, timeout_s: float = 30.0) -> Iterator[Message]:
    """Messages of a ``follower`` up to where each partition ended when this began, also where more keeps coming.

    Some of what came since may follow. Raises Retry on a broken broker.
    """
    ends = {(place.topic, place.partition): end_of(client, place) for place in client.assignment()}
    idle = 0.0
    while ends:
        messages = client.consume(500, 0.1)
        idle = 0.0 if messages else idle + 0.1
        if idle > timeout_s:
            raise Retry("Kafka sends neither messages nor the end of the topic")
        for message in messages:
            error = message.error()
            place = message.topic() or "", message.partition() or 0
            if error is None:
                yield message
            at_end = error is None and int(message.offset() or 0) + 1 >= ends.get(place, 0)
            if at_end or (error is not None and error.code() == KafkaError._PARTITION_EOF):
                ends.pop(place, None)


def end_of(client: Consumer, place: TopicPartition) -> int:
    """The offset of a partition's next message. Raises Retry where the broker does not say."""
    try:
        return int(client.get_watermark_offsets(place, timeout=TIMEOUT_S)[1])
    except KafkaException as error:
        raise Retry(f"Kafka does not say where {place.topic}/{place.partition} ends: {error}") from error


def admin(settings: Settings, client: str) -> AdminClient:
    """A client for the broker's own business, which prints nothing. Keep it until its answers have come: they go with
    it.
    """
    return AdminClient(_common(settings, client, log_level=0))


def cluster_id(settings: Settings) -> str:
    """The broker's cluster id."""
    asking = admin(settings, "tidemill-cluster-id")
    try:
        return str(asking.list_topics(timeout=TIMEOUT_S).cluster_id)
    except KafkaException as error:
        raise Retry(f"Kafka at {settings.kafka_bootstrap} does not answer: {error}") from error


def hand_over(producer: Producer, topic: str, value: bytes | None, key: str | bytes | None = None, **more: Any) -> None:
    """Give the producer a message; waits while its queue is full. What becomes of it ``on_delivery`` is told.

    Raises KafkaException where the client refuses it (too large, say).
    """
    while True:
        try:
            producer.produce(topic, value=value, key=key, **more)
            break
        except BufferError:
            producer.poll(0.1)
    producer.poll(0)


def delivered(failures: list[str]) -> Callable[[KafkaError | None, Message], None]:
    """A delivery callback that notes failures; look at the list after ``flush``."""

    def note(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(f"{message.topic()}: {error}")

    return note


def _dotted(options: dict[str, Any]) -> dict[str, Any]:
    return {name if name.endswith("_cb") else name.replace("_", "."): value for name, value in options.items()}
