"""Partials as messages: one for each partition of their topic, parted only where one would be too large for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import msgspec

from streams.meter.batch import Batch, Span
from streams.meter.fold import Rules, fold
from tidemill.codec import encode
from tidemill.events import Feedback, InferenceRequest, InferenceResponse, Partial, Partials
from tidemill.io.ranges.range import EPOCH_OFFSETS
from tidemill.topics import partition_of

MAX_BYTES = 700_000
"""Below the topic's limit of 1 MiB, with room for the batch around it."""


class Packed(NamedTuple):
    """One message of monitoring.partials: the partition it goes to, and its bytes."""

    partition: int
    value: bytes


def pack(
    span: Span, batch: Batch, rules: Mapping[str, Rules], partitions: int, *, max_bytes: int = MAX_BYTES
) -> list[Packed]:
    """The messages of a range, in order of partition; pipelines in order of their names. Equal ranges, equal bytes.

    Pipelines whose figures do not fit one message go on in the next. A pipeline whose own do not fit (events of
    thousands of different seconds) becomes several partials of adjoining ranges: lo..m-1, m..hi. An event that is in
    the range twice (one ``call_id`` of a request, ``answer_id``, ``feedback_id`` of a pipeline) counts once, at its
    first place; a repeat in another range counts again, as nothing is remembered over ranges.
    """
    unique = _first_of_each(batch)
    waiting: dict[int, list[bytes]] = {}
    for partial in fold(span, unique, rules):
        own = waiting.setdefault(partition_of(partial.pipeline, partitions), [])
        own.extend(_parted(partial, unique, rules, max_bytes))
    return [
        Packed(partition, _message(together))
        for partition in sorted(waiting)
        for together in _batched(waiting[partition], max_bytes)
    ]


def _first_of_each(batch: Batch) -> Batch:
    """The events without those that came before in the same range, as a producer repeats them that heard no answer."""
    ids = _IDS[batch.kind](batch) if batch.events else []
    if len(set(ids)) == len(ids):
        return batch
    first: dict[tuple[str, str], int] = {}
    for place, identity in enumerate(zip(batch.column("pipeline"), ids, strict=True)):
        first.setdefault(identity, place)
    return batch.only(list(first.values()))


_IDS: dict[type, Callable[[Batch], Sequence[str]]] = {
    InferenceRequest: lambda batch: batch.column("call_id"),
    InferenceResponse: lambda batch: batch.column("answer_id"),
    Feedback: lambda batch: [event.feedback_id for event in batch.events],
}
"""What an event is known by within its pipeline."""


def _parted(partial: Partial, batch: Batch, rules: Mapping[str, Rules], max_bytes: int) -> Iterator[bytes]:
    """The partial's bytes, in adjoining parts of at most ``max_bytes`` where it holds more than one event."""
    value = encode(partial)
    if len(value) <= max_bytes:
        yield value
        return
    names = batch.column("pipeline")
    own = batch.only([place for place, name in enumerate(names) if name == partial.pipeline])
    middle = len(own.events) // 2
    if middle == 0:
        yield value
        return
    cut = partial.lo // EPOCH_OFFSETS * EPOCH_OFFSETS + own.offsets[middle]
    span = Span(partial.topic, partial.partition, partial.lo, partial.hi)
    for part, places in (
        (span._replace(hi=cut - 1), range(middle)),
        (span._replace(lo=cut), range(middle, len(own.events))),
    ):
        half = own.only(places)
        for folded in fold(part, half, rules):
            yield from _parted(folded, half, rules, max_bytes)


def _batched(values: list[bytes], max_bytes: int) -> Iterator[list[bytes]]:
    together: list[bytes] = []
    size = 0
    for value in values:
        if together and size + len(value) > max_bytes:
            yield together
            together, size = [], 0
        together.append(value)
        size += len(value) + 1
    yield together


def _message(values: list[bytes]) -> bytes:
    """Partials around partials that are encoded already."""
    return encode(Partials(partials=cast("tuple[Partial, ...]", tuple(map(msgspec.Raw, values)))))
