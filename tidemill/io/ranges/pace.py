"""Partitions read at one pace: none runs far ahead of the slowest in the time at which its messages arrived.

After an outage the backlog is then read in the order in which it would have been read without one, as Kafka Streams
chooses the partition with the smallest time. Arrival is the broker's word (LogAppendTime), so a producer's clock
cannot hold anything back; topics with the producers' times are not paced.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from tidemill.io.ranges.partition import PartitionState

STARVED_S = 5.0
"""A partition that goes on but gives no messages for so long holds nobody back any more."""


class Lane(NamedTuple):
    """Where one partition is, in epoch milliseconds of arrival."""

    next_ms: int | None
    """Arrival of the first message that waits here; None where none does."""
    last_ms: int | None
    """Arrival of the last message taken; None before the first."""
    starved_s: float | None
    """How long it has given nothing although it goes on; None where it is at its end, or a message waits."""


def horizon_ms(lanes: Iterable[Lane], ahead_ms: int) -> int | None:
    """Messages that arrived until then may be taken now; None: all may.

    That is ``ahead_ms`` after the slowest partition. A message that waits in the slowest may always be taken; a
    partition at its end holds nobody back, and one whose messages do not come only for STARVED_S.
    """
    reached: list[int] = []
    for lane in lanes:
        if lane.next_ms is not None:
            reached.append(lane.next_ms)
        elif lane.starved_s is not None and lane.starved_s < STARVED_S:
            reached.append(lane.last_ms or 0)
    return min(reached) + ahead_ms if reached else None


def lane(state: PartitionState[Message], end: int | None, now_s: float) -> Lane:
    """Where a partition is that ends at ``end`` (None: it is not known, so it may go on)."""
    head = state.waiting[0] if state.waiting else None
    goes_on = head is None and (end is None or state.seen < end)
    return Lane(arrival_ms(head), arrival_ms(state.taken), now_s - state.last_s if goes_on else None)


def arrival_ms(message: Message | None) -> int | None:
    """When the broker took the message; None where it does not say."""
    if message is None:
        return None
    kind, time_ms = message.timestamp()
    return time_ms if kind == TIMESTAMP_LOG_APPEND_TIME else None


def arrived_until(messages: Sequence[Message], horizon: int | None) -> int:
    """How many of the messages, which are in order of arrival, arrived until the horizon."""
    if horizon is None or not messages or arrival_ms(messages[0]) is None:
        return len(messages)
    return bisect_right(messages, horizon, key=lambda message: arrival_ms(message) or 0)
