"""Partials as messages: one per (range, pipeline), parted further only where one would be too large for its topic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from streams.meter.fold import Arrived, Rules, Span, fold
from tidemill.codec import encode
from tidemill.events import Feedback

MAX_BYTES = 700_000
"""Below the topic's limit of 1 MiB, with room for the batch around it."""
UNKNOWN = Rules()


class Packed(NamedTuple):
    """One message of monitoring.partials."""

    pipeline: str
    value: bytes


def pack(
    span: Span, arrived: Sequence[Arrived], rules: Mapping[str, Rules], *, max_bytes: int = MAX_BYTES
) -> list[Packed]:
    """The messages of a range, in order of pipeline and offset. The same range gives the same bytes.

    A range whose figures do not fit one message (events of thousands of different seconds) becomes several that
    adjoin each other: lo..m-1, m..hi. Feedback that is in the range twice (one ``feedback_id``) counts once, at its
    first place; a repeat in another range counts again, as nothing is remembered over ranges.
    """
    by_pipeline: dict[str, list[Arrived]] = {}
    for one in _first_of_each(arrived):
        by_pipeline.setdefault(one.event.pipeline, []).append(one)
    found: list[Packed] = []
    for pipeline, events in sorted(by_pipeline.items()):
        found += _pack(span, pipeline, events, rules.get(pipeline, UNKNOWN), max_bytes)
    return found


def _first_of_each(arrived: Sequence[Arrived]) -> Iterator[Arrived]:
    """The events without feedback that came before in the same range (and pipeline)."""
    seen: set[tuple[str, str]] = set()
    for one in arrived:
        if isinstance(one.event, Feedback):
            named = (one.event.pipeline, one.event.feedback_id)
            if named in seen:
                continue
            seen.add(named)
        yield one


def _pack(span: Span, pipeline: str, arrived: Sequence[Arrived], rules: Rules, max_bytes: int) -> list[Packed]:
    value = encode(fold(span, pipeline, arrived, rules))
    if len(value) <= max_bytes or len(arrived) == 1:
        return [Packed(pipeline, value)]
    middle = len(arrived) // 2
    cut = arrived[middle].offset
    return [
        *_pack(span._replace(hi=cut - 1), pipeline, arrived[:middle], rules, max_bytes),
        *_pack(span._replace(lo=cut), pipeline, arrived[middle:], rules, max_bytes),
    ]
