"""Topics at the broker: made where they are missing, and told apart from others of the same name."""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from tidemill.errors import Retry, Stop
from tidemill.io.kafka import TIMEOUT_S, admin
from tidemill.settings import Settings
from tidemill.topics import MAX_DLQ_MESSAGE_BYTES, TOPICS, Topic


def ensure_topics(settings: Settings, topics: tuple[Topic, ...] = TOPICS) -> list[str]:
    """Create the missing topics and dead-letter topics; give back the names created. Safe to repeat.

    Raises Retry where the broker does not answer, Stop where a topic cannot be as it must.
    """
    asking = admin(settings, "tidemill-init")
    try:
        existing = asking.list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise Retry(f"Kafka at {settings.kafka_bootstrap} does not answer: {error}") from error
    wanted: list[NewTopic] = []
    for topic in topics:
        have = existing.get(topic.name)
        if have is not None and len(have.partitions) < topic.partitions:
            raise Stop(
                f"topic {topic.name} has {len(have.partitions)} partitions and needs {topic.partitions}; "
                "add partitions with Kafka's tools (this moves keys) or delete the topic"
            )
        replication = settings.kafka.replication
        if have is None:
            config = {"message.timestamp.type": "LogAppendTime"}  # arrival is the broker's word, no producer's clock
            if topic.compacted:
                config |= {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.5"}
            else:
                config |= {"retention.ms": str(topic.retention_ms), "compression.type": "producer"}
            wanted.append(NewTopic(topic.name, topic.partitions, replication, config=config))
        if topic.dead_letters and topic.dlq not in existing:
            dlq_config = {"max.message.bytes": str(MAX_DLQ_MESSAGE_BYTES), "retention.ms": str(30 * 86_400_000)}
            wanted.append(NewTopic(topic.dlq, topic.partitions, replication, config=dlq_config))
    created: list[str] = []
    for name, future in asking.create_topics(wanted, operation_timeout=TIMEOUT_S).items() if wanted else ():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Stop(f"topic {name} cannot be created: {error}") from error
    _appear(asking, created)
    return created


def _appear(asking: AdminClient, names: list[str]) -> None:
    """Wait until the broker tells of topics that it has made: a busy one does so a moment later."""
    until_s = time.monotonic() + TIMEOUT_S
    while missing := set(names) - asking.list_topics(timeout=TIMEOUT_S).topics.keys():
        if time.monotonic() > until_s:
            raise Retry(f"topics were made and are not there after {TIMEOUT_S:.0f} s: {', '.join(sorted(missing))}")
        time.sleep(0.05)


def topic_ids(settings: Settings, names: list[str]) -> dict[str, str]:
    """Kafka's own id of each topic: it changes when a topic is deleted and made again."""
    asking = admin(settings, "tidemill-topic-ids")
    futures = asking.describe_topics(TopicCollection(names), request_timeout=TIMEOUT_S)
    try:
        return {name: str(future.result().topic_id) for name, future in futures.items()}
    except KafkaException as error:
        raise Retry(f"topics cannot be described: {error}") from error
