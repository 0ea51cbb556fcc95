"""What the windows must say, computed anew and plainly from the messages of the log: no code of the parts under test.

Left out: metrics of text (a sample that depends on the ranges), and windows without data.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tidemill.events import Feedback, InferenceRequest, InferenceResponse

DURATIONS = ("queue_ms", "ttft_ms", "tpot_ms", "e2e_ms")
FAILED = ("error", "timeout")
_CLOSE = 1e-9


class Place(NamedTuple):
    """Where a message is in Kafka."""

    topic: str
    partition: int
    offset: int


class Arrived(NamedTuple):
    """A good message of the log: its event, and when the broker took it (epoch milliseconds)."""

    event: InferenceRequest | InferenceResponse | Feedback
    arrival_ms: int


class Key(NamedTuple):
    """One metric of one window of one series."""

    pipeline: str
    model_version: str
    variant: str
    role: str
    metric: str
    start_ms: int


class Sums(NamedTuple):
    """What a window row says that adds up."""

    n: int = 0
    total: float = 0.0
    total_sq: float = 0.0

    def plus(self, n: int, total: float, total_sq: float) -> Sums:
        return Sums(self.n + n, self.total + total, self.total_sq + total_sq)

    def equals(self, other: Sums) -> bool:
        """Counts exactly, sums to rounding."""
        close = (math.isclose(a, b, rel_tol=_CLOSE, abs_tol=_CLOSE) for a, b in zip(self[1:], other[1:], strict=True))
        return self.n == other.n and all(close)


class Rules(NamedTuple):
    """What the reference must know of the settings."""

    size_ms: int
    skew_ms: int
    lateness_ms: int
    quality: Mapping[str, str]
    """The quality metric of each pipeline."""


Ranges = Mapping[tuple[str, int], list[tuple[int, int]]]
"""Frozen ranges of the meter (lo, hi) by source partition: a repeat inside one of them counts once."""


def expected(log: Mapping[Place, Arrived], rules: Rules, ranges: Ranges) -> dict[Key, Sums]:
    """Every window metric the log gives cause for."""
    found: defaultdict[Key, Sums] = defaultdict(Sums)
    for arrived in _counted(log, ranges):
        at_ms = min(arrived.event.time_ms, arrived.arrival_ms + rules.skew_ms)
        if at_ms < arrived.arrival_ms - rules.lateness_ms - 2 * rules.size_ms:
            continue  # hours behind: too late for its window
        start_ms = at_ms - at_ms % rules.size_ms
        for key, add in _figures(arrived.event, start_ms, rules):
            found[key] = found[key].plus(*add)
    return {key: sums for key, sums in found.items() if sums.n}


def _counted(log: Mapping[Place, Arrived], ranges: Ranges) -> Iterable[Arrived]:
    """Events without repeats of a request, an answer or a judgement inside one range."""
    seen: set[tuple[str, int, int, str]] = set()
    for place, arrived in sorted(log.items()):
        event = arrived.event
        name = {InferenceRequest: "call_id", InferenceResponse: "answer_id", Feedback: "feedback_id"}.get(type(event))
        if name is not None:
            lo = _range_of(place, ranges)
            once = (place.topic, place.partition, lo, getattr(event, name))
            if once in seen:
                continue
            seen.add(once)
        yield arrived


def _range_of(place: Place, ranges: Ranges) -> int:
    """The first offset of the range that holds the place; a range of its own where none does."""
    spans = ranges.get((place.topic, place.partition), [])
    return next((lo for lo, hi in spans if lo <= place.offset <= hi), place.offset)


Add = tuple[Key, tuple[int, float, float]]


def _figures(event: InferenceRequest | InferenceResponse | Feedback, start_ms: int, rules: Rules) -> Iterable[Add]:
    if isinstance(event, InferenceRequest):
        yield Key(event.pipeline, "", "champion", "client", "requests", start_ms), (1, 1, 0)
    elif isinstance(event, InferenceResponse):
        yield from _answer(event, start_ms)
    elif event.score is not None and event.metric == rules.quality.get(event.pipeline):
        role = "shadow" if event.variant == "shadow" else "client"
        key = Key(event.pipeline, event.model_version, event.variant, role, "quality", start_ms)
        yield key, (1, event.score, event.score**2)


def _answer(event: InferenceResponse, start_ms: int) -> Iterable[Add]:
    def key(metric: str) -> Key:
        return Key(event.pipeline, event.model_version, event.variant, event.role, metric, start_ms)

    failed, cancelled = event.status in FAILED, event.status == "cancelled"
    yield key("answers"), (1, 1, 0)
    yield key("error_rate"), (1, failed, failed)
    yield key("cancel_rate"), (1, cancelled, cancelled)
    if reason := event.gen_ai_response_finish_reason:
        yield key("truncated_rate"), (1, reason == "length", reason == "length")
        other = reason not in ("stop", "length")
        yield key("other_finish_rate"), (1, other, other)
    yield key("input_tokens"), (1, event.gen_ai_usage_input_tokens or 0, 0)
    yield key("cached_tokens"), (1, event.gen_ai_usage_cached_tokens or 0, 0)
    yield key("output_tokens"), (1, event.gen_ai_usage_output_tokens or 0, 0)
    yield key("unpriced"), (1, event.cost_micros is None, 0)
    if event.cost_micros is not None:
        yield key("cost"), (1, event.cost_micros / 1e6, 0)
    for metric in DURATIONS:
        value = getattr(event, metric)
        if value is not None:
            yield key(metric), (1, value, value**2)
