"""The decoded events of one frozen range, as columns of equal length."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message
from numpy.typing import NDArray

from tidemill.codec import Decoder
from tidemill.errors import Quarantine


class Span(NamedTuple):
    """The source range of a partial: lo..hi of one partition, both inclusive."""

    topic: str
    partition: int
    lo: int
    hi: int


class Batch(NamedTuple):
    """Events of one topic, in the order of their offsets."""

    offsets: Sequence[int]
    times_ms: NDArray[np.int64]
    """When each one counts, epoch milliseconds."""
    events: Sequence[Any]

    @property
    def seconds(self) -> list[int]:
        """The epoch second in which each event counts."""
        seconds: list[int] = (self.times_ms // 1000).tolist()
        return seconds

    def column(self, name: str) -> list[Any]:
        """One field of every event."""
        return list(map(attrgetter(name), self.events))

    def only(self, places: Sequence[int]) -> Batch:
        """The events at the given places (indices, ascending)."""
        return Batch(
            [self.offsets[place] for place in places],
            self.times_ms[np.asarray(places, np.int64)],
            [self.events[place] for place in places],
        )


def decoded(messages: Sequence[Message], decoder: Decoder[Any], max_skew_ms: int) -> Batch:
    """The messages that are valid events; the others are left out (the sink sends them to the dead letters)."""
    offsets: list[int] = []
    arrivals: list[int] = []
    events: list[Any] = []
    for message in messages:
        try:
            events.append(decoder(message.value()))
        except Quarantine:
            continue
        offsets.append(message.offset() or 0)
        kind, arrival_ms = message.timestamp()
        arrivals.append(-1 if kind == TIMESTAMP_NOT_AVAILABLE else arrival_ms)
    return Batch(offsets, counting_times_ms([event.time_ms for event in events], arrivals, max_skew_ms), events)


def counting_times_ms(times_ms: Sequence[int], arrivals_ms: Sequence[int], max_skew_ms: int) -> NDArray[np.int64]:
    """When each event counts: at its own time, but never more than ``max_skew_ms`` after it arrived.

    An arrival of -1 is not known and bounds nothing. Shapes (n,) in, (n,) out.
    """
    times = np.asarray(times_ms, np.int64)
    arrivals = np.asarray(arrivals_ms, np.int64)
    return np.where(arrivals < 0, times, np.minimum(times, arrivals + max_skew_ms))
