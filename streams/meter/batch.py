"""The decoded events of one frozen range, as columns of equal length."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message
from numpy.typing import NDArray

from tidemill.answers import has_text
from tidemill.codec import Decoder
from tidemill.events import Feedback, InferenceRequest, InferenceResponse
from tidemill.slices import ATTRIBUTE
from tidemill.topics import Topic

PIECE = 200
"""Events in memory at a time: so many fit the processor's cache, which saves a third of the time."""
COLUMNS_OF: dict[type, tuple[str, ...]] = {
    InferenceRequest: ("time_ms", "pipeline", "call_id", "has_input"),
    InferenceResponse: (
        *("time_ms", "pipeline", "call_id", "answer_id", "model_version", "variant", "role", "status"),
        "gen_ai_response_finish_reason",
        *("gen_ai_usage_input_tokens", "gen_ai_usage_cached_tokens", "gen_ai_usage_output_tokens", "cost_micros"),
        *("queue_ms", "ttft_ms", "tpot_ms", "e2e_ms", "has_output"),
    ),
    Feedback: (),
}
"""What is kept of every event, by type; feedback, of which there is little, is kept whole."""
COLUMNS: dict[str, Callable[[Any], Any]] = {
    **{name: attrgetter(name) for names in COLUMNS_OF.values() for name in names},
    "has_input": lambda event: bool(event.input_features or event.gen_ai_input_messages),
    "has_output": lambda event: bool(
        event.output_features or event.gen_ai_output_text or has_text(event.gen_ai_output_text, event.status)
    ),
}
"""How each column is had of an event; a dimension of slices is one, too (``column_of``)."""


@cache
def column_of(name: str) -> Callable[[Any], Any]:
    """How a column, or the value of a dimension, is had of an event."""
    if name in COLUMNS:
        return COLUMNS[name]
    attribute = name.removeprefix(ATTRIBUTE)
    return attrgetter(name) if attribute == name else lambda event: (event.attributes or {}).get(attribute, "")


class Span(NamedTuple):
    """The source range of a partial: lo..hi of one partition, both inclusive; offsets as in ``Range.first``."""

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
    columns: Mapping[str, Sequence[Any]] = {}
    """What is known of every event without looking at it again (COLUMNS)."""

    @property
    def kind(self) -> type:
        """The type of the events: one of COLUMNS_OF. There must be one event."""
        return next(kind for kind in COLUMNS_OF if isinstance(self.events[0], kind))

    @property
    def seconds(self) -> list[int]:
        """The epoch second in which each event counts."""
        seconds: list[int] = (self.times_ms // 1000).tolist()
        return seconds

    def column(self, name: str) -> Sequence[Any]:
        """One of the COLUMNS of every event."""
        found = self.columns.get(name)
        return list(map(column_of(name), self.events)) if found is None else found

    def only(self, places: Sequence[int]) -> Batch:
        """The events at the given places (indices, ascending)."""
        return Batch(
            [self.offsets[place] for place in places],
            self.times_ms[np.asarray(places, np.int64)],
            [self.events[place] for place in places],
        )


class Encoded(Sequence[Any]):
    """Events as the messages they came in: decoded when they are looked at, and not kept."""

    def __init__(self, raws: Sequence[bytes], decoder: Decoder[Any]) -> None:
        self._raws, self._decoder = raws, decoder

    def __len__(self) -> int:
        return len(self._raws)

    def __getitem__(self, place: Any) -> Any:
        return self._decoder(self._raws[place])


class Reader:
    """Reads messages of one topic into batches."""

    def __init__(self, topic: Topic, max_skew_ms: int, dimensions: Collection[str] = ()) -> None:
        """``dimensions``: those by which a pipeline's calls are sliced."""
        self._bulk, self._single = topic.bulk_decoder(), topic.decoder()
        known = COLUMNS_OF[topic.event]
        self._columns = (*known, *sorted(dimensions)) if known else known
        self._max_skew_ms = max_skew_ms

    def read(self, messages: Sequence[Message]) -> Batch:
        """The messages that are valid events; the others are left out (the sink sends them to the dead letters)."""
        good: list[Message] = []
        columns: list[list[Any]] = [[] for _ in self._columns]
        events: list[Any] = []
        for start in range(0, len(messages), PIECE):
            piece = messages[start : start + PIECE]
            found, refused = self._bulk([message.value() for message in piece])
            good += [message for place, message in enumerate(piece) if place not in refused] if refused else piece
            for name, column in zip(self._columns, columns, strict=True):
                column.extend(map(column_of(name), found))
            if not self._columns:
                events += found
        known = dict(zip(self._columns, columns, strict=True))
        times_ms = known["time_ms"] if known else [event.time_ms for event in events]
        stamps = [message.timestamp() for message in good]
        arrivals = [-1 if kind == TIMESTAMP_NOT_AVAILABLE else at_ms for kind, at_ms in stamps]
        return Batch(
            [message.offset() or 0 for message in good],
            counting_times_ms(times_ms, arrivals, self._max_skew_ms),
            Encoded([message.value() for message in good], self._single) if known else events,
            known,
        )


def counting_times_ms(times_ms: Sequence[int], arrivals_ms: Sequence[int], max_skew_ms: int) -> NDArray[np.int64]:
    """When each event counts: at its own time, but never more than ``max_skew_ms`` after it arrived.

    An arrival of -1 is not known and bounds nothing. Shapes (n,) in, (n,) out.
    """
    times = np.asarray(times_ms, np.int64)
    arrivals = np.asarray(arrivals_ms, np.int64)
    return np.where(arrivals < 0, times, np.minimum(times, arrivals + max_skew_ms))
