"""Folding one pipeline's events of one frozen range into a partial. Pure: the range alone decides every byte.

Source of the shape: the combiner of MapReduce (Dean, Ghemawat, OSDI 2004): what is summed here need not travel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from streams.meter.cells import MAX_NAME, Cells, Role
from streams.meter.sample import chosen
from tidemill.events import Feedback, InferenceRequest, InferenceResponse, Partial, ScorePoint
from tidemill.text import FEATURES, WORD_BUCKETS, features, word_buckets

SCORES_PER_SECOND = 256
DURATIONS = ("queue_ms", "ttft_ms", "tpot_ms", "e2e_ms")
OUTPUT_FEATURES = ("chars", "words")
_MAX_WORD_COUNT = 1_000_000


class Span(NamedTuple):
    """The source range of a partial: lo..hi of one partition, both inclusive."""

    topic: str
    partition: int
    lo: int
    hi: int


class Arrived(NamedTuple):
    """A decoded event with its place and the time it counts at (epoch milliseconds)."""

    offset: int
    time_ms: int
    event: Any


class Rules(NamedTuple):
    """What the fold must know of a pipeline."""

    quality_metric: str = ""
    """The metric whose scores are its quality; empty: none is known (a pipeline that is not in the settings)."""
    samples_per_second: int = 20


def counting_time_ms(time_ms: int, arrival_ms: int | None, max_skew_ms: int) -> int:
    """When an event counts: its own time, but never more than ``max_skew_ms`` after it arrived."""
    return time_ms if arrival_ms is None else min(time_ms, arrival_ms + max_skew_ms)


def fold(span: Span, pipeline: str, arrived: Sequence[Arrived], rules: Rules) -> Partial:
    """The partial of one pipeline's events. All of one topic; the order they come in is the topic's."""
    cells = Cells()
    scores: tuple[ScorePoint, ...] = ()
    dropped = 0
    requests = [a for a in arrived if isinstance(a.event, InferenceRequest)]
    responses = [a for a in arrived if isinstance(a.event, InferenceResponse)]
    judgements = [a for a in arrived if isinstance(a.event, Feedback)]
    if requests:
        _requests(cells, requests, rules)
    if responses:
        _responses(cells, responses, rules)
    if judgements:
        scores, dropped = _feedback(cells, judgements, rules)
    return Partial(
        topic=span.topic,
        partition=span.partition,
        lo=span.lo,
        hi=span.hi,
        pipeline=pipeline,
        cells=cells.build(),
        scores=scores,
        scores_dropped=dropped,
    )


def _requests(cells: Cells, arrived: Sequence[Arrived], rules: Rules) -> None:
    looked_at = chosen(
        (
            (a.time_ms // 1000, a.event.call_id)
            for a in arrived
            if a.event.input_features or a.event.gen_ai_input_messages
        ),
        rules.samples_per_second,
    )
    for _, time_ms, event in arrived:
        cell = cells.at(time_ms // 1000)
        cells.count(cell, "requests")
        if event.call_id not in looked_at:
            continue
        users = [m.content for m in event.gen_ai_input_messages or () if m.role == "user"]
        found = event.input_features or (features("\n".join(users)) if users else {})
        if not found:
            continue
        cells.count(cell, "sampled")
        for name in FEATURES:
            if name in found:
                cells.value(cell, f"input_{name}", found[name])
        counts = event.input_words or word_buckets(users)
        cells.words(cell, ((b, min(n, _MAX_WORD_COUNT)) for b, n in counts.items() if 0 <= b < WORD_BUCKETS and n > 0))


def _responses(cells: Cells, arrived: Sequence[Arrived], rules: Rules) -> None:
    looked_at = chosen(
        (
            (a.time_ms // 1000, a.event.call_id)
            for a in arrived
            if a.event.output_features or a.event.gen_ai_output_text
        ),
        rules.samples_per_second,
    )
    for _, time_ms, event in arrived:
        cell = cells.at(time_ms // 1000, event.model_version, event.variant, event.role)
        cells.count(cell, "answers")
        cells.outcome(cell, event.status)
        if event.gen_ai_usage_input_tokens:
            cells.count(cell, "input_tokens", event.gen_ai_usage_input_tokens)
        if event.gen_ai_usage_cached_tokens:
            cells.count(cell, "cached_tokens", event.gen_ai_usage_cached_tokens)
        if event.gen_ai_usage_output_tokens:
            cells.count(cell, "output_tokens", event.gen_ai_usage_output_tokens)
        if event.cost_micros is not None:
            cells.count(cell, "cost_micros", event.cost_micros)
            cells.count(cell, "priced")
        for name in DURATIONS:
            if (value := getattr(event, name)) is not None:
                cells.value(cell, name, value, histogram=True)
        if event.call_id in looked_at:
            found = event.output_features or (features(event.gen_ai_output_text) if event.gen_ai_output_text else {})
            for name in OUTPUT_FEATURES:
                if name in found:
                    cells.value(cell, f"output_{name}", found[name])


def _feedback(cells: Cells, arrived: Sequence[Arrived], rules: Rules) -> tuple[tuple[ScorePoint, ...], int]:
    """Scores count in the cells; the first 256 of each second, the pipeline's own metric first, travel one by one."""
    points: list[ScorePoint] = []
    for _, time_ms, event in arrived:
        metric = event.metric or ("thumb" if event.kind == "thumb" else "")
        is_quality = metric != "" and metric == rules.quality_metric
        if event.score is None or not (is_quality or metric == "thumb"):
            continue
        role: Role = "shadow" if event.variant == "shadow" else "client"
        version = event.model_version[:MAX_NAME]
        cell = cells.at(time_ms // 1000, version, event.variant, role)
        if is_quality:
            cells.value(cell, "quality", event.score)
        if metric == "thumb":
            cells.value(cell, "thumb", event.score)
        points.append(
            ScorePoint(
                time_ms=time_ms,
                call_time_ms=event.call_time_ms,
                feedback_id=event.feedback_id,
                metric=metric,
                score=event.score,
                model_version=version,
                variant=event.variant,
                source=event.source,
                label_source=event.label_source[:MAX_NAME],
            )
        )
    kept: list[ScorePoint] = []
    seconds: dict[int, int] = {}
    for point in sorted(points, key=lambda p: (p.metric != rules.quality_metric, p.time_ms, p.feedback_id)):
        second = point.time_ms // 1000
        seconds[second] = seconds.get(second, 0) + 1
        if seconds[second] <= SCORES_PER_SECOND:
            kept.append(point)
    kept.sort(key=lambda p: (p.time_ms, p.feedback_id))
    return tuple(kept), len(points) - len(kept)
