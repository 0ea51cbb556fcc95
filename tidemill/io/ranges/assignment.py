"""Taking over partitions: what Kafka has of each is fetched, ``beginning`` decides, losses are said aloud."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from prometheus_client import Counter

from tidemill.errors import Retry
from tidemill.io import kafka, topic_admin
from tidemill.io.ranges.beginning import Beginning, Found, beginning
from tidemill.io.ranges.cuts import Read, cuts
from tidemill.io.ranges.ends import Place
from tidemill.io.ranges.partition import PartitionState
from tidemill.io.ranges.range import Intent
from tidemill.settings import Settings

log = logging.getLogger(__name__)
RETRY_S = 0.5
CONFIRM_S = 2.0
"""An end below what was read is believed when it is the same after so long."""
LEAST_S = 0.5
"""So long each partition's leader has to say where it ends, however many others did not."""

LOST = Counter(
    "tidemill_offsets_lost_total", "offsets a log lost (cut) or deleted unread (retention)", ["topic", "why"]
)


def place(
    settings: Settings,
    client: str,
    consumer: Consumer,
    partitions: list[TopicPartition],
    epoch: int,
    stopping: Callable[[], bool],
) -> list[PartitionState[Message]] | None:
    """A state for each partition, from its committed offset and note. Tries for ever; None when told to stop."""
    while not stopping():
        try:
            found = _found(settings, client, consumer, partitions) if partitions else {}
            return [_state(where, each, beginning(each, epoch)) for where, each in found.items()]
        except (KafkaException, Retry) as error:
            log.warning("reading committed offsets: %s", error)
            time.sleep(RETRY_S)
    return None


def _found(settings: Settings, client: str, consumer: Consumer, partitions: list[TopicPartition]) -> dict[Place, Found]:
    ids = topic_admin.topic_ids(settings, sorted({tp.topic for tp in partitions}))
    found: dict[Place, Found] = {}
    for tp in consumer.committed(partitions, timeout=kafka.TIMEOUT_S):
        if tp.error is not None:
            raise Retry(f"committed offset of {tp.topic}/{tp.partition}: {tp.error}")
        where = (tp.topic, tp.partition)
        found[where] = Found(ids[tp.topic], tp.offset, Intent.decode(tp.metadata))
    found = _with_ends(consumer, found)
    early = {where: each for where, each in found.items() if each.end < each.past and not each.anew}
    if early:
        time.sleep(CONFIRM_S)
        found |= _with_ends(consumer, early)
    read = {
        where: Read(each.past, each.note.le)
        for where, each in found.items()
        if each.note is not None and each.note.le >= 0 and each.committed >= 0 and not each.anew
    }
    for where, offset in cuts(settings, f"{client}-cuts", read).items():
        found[where] = found[where]._replace(cut=offset)
    return found


def _with_ends(consumer: Consumer, found: dict[Place, Found]) -> dict[Place, Found]:
    """With where each begins and ends; a partition without a leader goes on as if nothing had happened to it."""
    until_s = time.monotonic() + kafka.TIMEOUT_S
    told = {}
    for where, each in found.items():
        try:
            left_s = max(LEAST_S, until_s - time.monotonic())
            low, end = consumer.get_watermark_offsets(TopicPartition(*where), timeout=left_s, cached=False)
        except KafkaException as error:
            if each.committed < 0 or each.anew:
                raise
            log.warning("not known where %s/%d begins and ends: %s", *where, error)
            low, end = 0, each.past
        told[where] = each._replace(low=low, end=max(each.end, end))
    return told


def _state(where: Place, found: Found, start: Beginning) -> PartitionState[Message]:
    state = PartitionState[Message](*where, found.topic_id, start.pos, epoch=start.epoch)
    state.leader_epoch, state.compare_below = start.leader_epoch, start.compare_below
    state.last_s = time.monotonic()
    if start.hi is not None:
        state.replay(start.hi, start.hi_epoch)
    elif start.pos == found.committed and not start.cut and not found.anew:
        state.committed = start.pos
    if start.cut:
        LOST.labels(where[0], "cut").inc(start.cut)
        log.error(
            "%s/%d lost its tail: offsets %d to %d were read and are given out again; from %d on under epoch %d",
            *(*where, found.past - start.cut, found.past - 1, found.past - start.cut, start.epoch),
        )
    if start.gone:
        LOST.labels(where[0], "retention").inc(start.gone)
        log.error(
            "%s/%d: offsets %d to %d were deleted before they were read (retention)",
            *(*where, found.low - start.gone, found.low - 1),
        )
    if start.compare_below and found.note is None:
        log.warning(
            "%s/%d: no note of ours is committed (offset %d); what is below %d is looked for before it is written",
            *(*where, found.committed, start.compare_below),
        )
    return state
