"""The embedded broker is a real one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tests.integration.topics import empty_topics
from tests.waiting import until
from tidemill import topics
from tidemill.io.kafka import consumer, follower, partition_count, read_to_end
from tidemill.io.topic_admin import ensure_topics
from tidemill.local import kafka as broker
from tidemill.settings import Settings


def test_topics_are_made_once(settings: Settings, kafka: str) -> None:
    assert ensure_topics(settings) == []
    names = set(AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics)
    assert {topic.name for topic in topics.TOPICS} <= names


def test_an_unknown_topic_is_not_made_by_asking(kafka: str) -> None:
    producer = Producer(
        {"bootstrap.servers": kafka, "message.timeout.ms": 3000, "topic.metadata.propagation.max.ms": 500}
    )
    failures = []
    producer.produce("no.such.topic", b"x", on_delivery=lambda error, _: failures.append(error))
    producer.flush(10)
    assert failures and failures[0] is not None


def test_group_members_commit_with_metadata(settings: Settings, kafka: str, unique: Callable[[str], str]) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(topics.WINDOWS.name, b"not an event, only bytes")
    producer.flush(10)
    member = consumer(settings, "test-broker", unique("broker"))
    member.subscribe([topics.WINDOWS.name])
    message = until(lambda: next((m for m in member.consume(10, 0.1) if m.error() is None), None), what="a message")
    member.commit(message=message, asynchronous=False)
    member.close()


def test_emptied_topics_are_empty(settings: Settings, kafka: str) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for topic in (topics.WINDOWS, topics.JOBS):
        producer.produce(topic.name, b"x", key=b"k")
    producer.flush(10)
    empty_topics(settings)
    for topic in (topics.WINDOWS, topics.JOBS):
        reader = follower(settings, "test-empty", topic)
        assert partition_count(reader, topic.name) == topic.partitions
        assert list(read_to_end(reader)) == []
        reader.close()


def test_a_topic_that_never_rests_is_read_to_where_it_ended(
    settings: Settings, kafka: str, unique: Callable[[str], str]
) -> None:
    """A message comes sooner than a fetch has waited: the broker never has to say that there is nothing more."""
    topic = replace(topics.HOSTS, name=unique("busy"), partitions=2)
    ensure_topics(settings, (topic,))
    writer = Producer({"bootstrap.servers": kafka, "linger.ms": 0})
    done = threading.Event()

    def write() -> None:
        while not done.wait(0.02):
            writer.produce(topic.name, b"x", partition=0)
            writer.poll(0)

    writing = threading.Thread(target=write, name="write")
    writing.start()
    reader = follower(settings, "test-busy", topic)
    started = time.monotonic()
    try:
        for _ in read_to_end(reader):
            assert time.monotonic() < started + 20, "it ends"
    finally:
        done.set()
        writing.join()
        reader.close()


def test_absent_broker_does_not_answer(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"local": settings.local.model_copy(update={"port_base": 1024})})
    assert broker.answers(elsewhere) is False


def test_wrong_broker_raises(kafka: str) -> None:
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}).list_topics(timeout=1)
