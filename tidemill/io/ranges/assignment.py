"""Taking over partitions: where to go on, and which frozen range to replay first."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from tidemill.errors import Retry
from tidemill.io import kafka
from tidemill.io.ranges.partition import PartitionState
from tidemill.io.ranges.range import Intent
from tidemill.settings import Settings

log = logging.getLogger(__name__)
RETRY_S = 0.5


def place(
    settings: Settings,
    consumer: Consumer,
    partitions: list[TopicPartition],
    epoch: int,
    stopping: Callable[[], bool],
) -> list[PartitionState[Message]] | None:
    """A state for each partition, from its committed offset and note. Tries for ever; None when told to stop."""
    while not stopping():
        try:
            return _place(settings, consumer, partitions, epoch)
        except (KafkaException, Retry) as error:
            log.warning("reading committed offsets: %s", error)
            time.sleep(RETRY_S)
    return None


def _place(
    settings: Settings, consumer: Consumer, partitions: list[TopicPartition], epoch: int
) -> list[PartitionState[Message]]:
    if not partitions:
        return []
    ids = kafka.topic_ids(settings, sorted({tp.topic for tp in partitions}))
    states = []
    for found in consumer.committed(partitions, timeout=kafka.TIMEOUT_S):
        if found.error is not None:
            raise Retry(f"committed offset of {found.topic}/{found.partition}: {found.error}")
        topic_id = ids[found.topic]
        note = Intent.decode(found.metadata)
        made_anew = note is not None and note.t not in ("", topic_id)
        if found.offset < 0 or made_anew:
            where = TopicPartition(found.topic, found.partition)
            low, _ = consumer.get_watermark_offsets(where, timeout=kafka.TIMEOUT_S)
            states.append(PartitionState[Message](found.topic, found.partition, topic_id, low, epoch=epoch))
            continue
        state = PartitionState[Message](found.topic, found.partition, topic_id, found.offset, epoch=epoch)
        if note is not None and note.h is not None and note.h >= found.offset:
            state.replay(note.h, note.e)
        else:
            state.committed = found.offset
        states.append(state)
    for state in states:
        state.last_s = time.monotonic()
    return states
