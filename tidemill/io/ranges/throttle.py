"""Which partitions are fetched: those are paused that have enough here, and the rest resumed."""

from __future__ import annotations

import logging
from collections.abc import Collection

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from tidemill.io.ranges.partition import Limits, PartitionState, crowded

log = logging.getLogger(__name__)


def throttle(consumer: Consumer, states: Collection[PartitionState[Message]], limits: Limits, *, holding: bool) -> None:
    """Pause what must not be fetched (``holding``: all) and resume the rest; no resume is ever forgotten."""
    many = crowded(states, limits)
    for state in list(states):
        want = holding or state.full(limits, crowded=many)
        if want != state.paused:
            change = consumer.pause if want else consumer.resume
            try:
                change([TopicPartition(*state.place)])
                state.paused = want
            except KafkaException as error:
                log.debug("pause or resume of %s/%d: %s", *state.place, error)
