"""Emptying the shared broker's topics between tests."""

from __future__ import annotations

from functools import partial

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.waiting import until
from tidemill.io.topic_admin import ensure_topics
from tidemill.settings import Settings
from tidemill.topics import TOPICS


def empty_topics(settings: Settings) -> None:
    """Delete every record of every topic of the table. Compacted topics are deleted and made again."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    compacted = [topic.name for topic in TOPICS if topic.compacted]
    reader = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "emptying"})
    ends = []
    used = set()
    for name, found in admin.list_topics(timeout=10).topics.items():
        if name.startswith("__"):
            continue
        for partition in found.partitions:
            low, high = until(partial(_span, reader, TopicPartition(name, partition)), what=f"{name} has a leader")
            if high > low:
                ends.append(TopicPartition(name, partition, high))
                used.add(name)
    reader.close()
    gone = [name for name in compacted if name in used]
    for future in admin.delete_records([end for end in ends if end.topic not in compacted]).values() if ends else ():
        future.result()
    for future in admin.delete_topics(gone).values() if gone else ():
        future.result()
    until(lambda: not set(gone) & set(admin.list_topics(timeout=10).topics), what="compacted topics are gone")
    ensure_topics(settings)


def _span(reader: Consumer, at: TopicPartition) -> tuple[int, int] | None:
    """First and next offset of a partition; None while a topic just made has no leader yet."""
    try:
        span: tuple[int, int] = reader.get_watermark_offsets(at, timeout=10)
    except KafkaException:
        return None
    return span
