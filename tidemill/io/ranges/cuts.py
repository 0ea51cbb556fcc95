"""Whether a log lost its tail and grew again: the broker is asked with the leader epoch of what was read (KIP-320).

The client then goes back to where the log was cut. A message there whose leader epoch is above the one known is not
the one that was read, since leader epochs never fall along a log. Nothing else proves it: the end may have passed the
committed offset again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import Message, TopicPartition

from tidemill.io import kafka
from tidemill.io.ranges.ends import Place
from tidemill.settings import Settings

log = logging.getLogger(__name__)
WAIT_S = 10.0
"""So long the broker may say nothing."""


class Read(NamedTuple):
    """Up to where a partition was read, and the leader epoch of the last message there (0 or more)."""

    past: int
    leader_epoch: int


def identity(message: Message) -> tuple[int, int]:
    """A message's offset and leader epoch, which together no other message of a partition has; -1: not known."""
    return int(message.offset() or 0), leader_epoch(message)


def leader_epoch(message: Message) -> int:
    """-1 where the broker does not say."""
    found = message.leader_epoch()
    return -1 if found is None else int(found)


def at(topic: str, partition: int, offset: int, epoch: int) -> TopicPartition:
    """A place to read from, which the client checks against the log where the leader epoch is known."""
    if epoch < 0:
        return TopicPartition(topic, partition, offset)
    return TopicPartition(topic, partition, offset, "", epoch)


def cuts(settings: Settings, client: str, read: Mapping[Place, Read]) -> dict[Place, int]:
    """The first offset of another message below ``past``, of partitions where there is one. Blocks; KafkaException."""
    if not read:
        return {}
    waiting = dict(read)
    found: dict[Place, int] = {}
    reader = kafka.prober(settings, client)
    try:
        reader.assign([at(*place, known.past, known.leader_epoch) for place, known in read.items()])
        until_s = time.monotonic() + WAIT_S
        while waiting and time.monotonic() < until_s:
            for message in reader.consume(4_000, 0.1):
                place = message.topic() or "", message.partition() or 0
                error = message.error()
                if place not in waiting or (error is not None and not kafka.at_end(error)):
                    continue
                until_s = time.monotonic() + WAIT_S
                offset, epoch = identity(message)
                known, below = waiting[place], error is None and offset < waiting[place].past
                if below and epoch > known.leader_epoch:
                    found[place] = offset
                elif below:
                    continue  # the client went back further than to the cut
                del waiting[place]
                reader.pause([TopicPartition(*place)])
    finally:
        reader.close()
    if waiting:
        log.warning("not known whether these logs lost their tails: %s", sorted(waiting))
    return found
