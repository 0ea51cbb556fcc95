"""The meter's fold as one would say it: event by event, sum by sum. What the columnar fold must equal."""

from __future__ import annotations

import zlib
from typing import Any

from msgspec import structs

from streams.meter.batch import Batch
from streams.meter.fold import TOKENS, Rules
from tidemill.answers import ANSWER_FEATURES
from tidemill.embedding import EMBEDDING_FEATURES
from tidemill.events import Cell, Feedback, InferenceRequest, InferenceResponse, Moments
from tidemill.metrics import DURATIONS
from tidemill.sketch import bucket
from tidemill.text import QUESTION_FEATURES
from tidemill.word_sets import word_set

Cells = dict[tuple[int, str, str, str], Cell]


def naive_fold(batch: Batch, pipeline: str, rules: Rules) -> tuple[Cell, ...]:
    """The cells of one pipeline's events, in order of their keys."""
    cells: Cells = {}
    mine = [(t, e) for t, e in zip(batch.times_ms.tolist(), batch.events, strict=True) if e.pipeline == pipeline]
    looked_at = _looked_at(mine, rules.samples_per_second)
    for time_ms, event in mine:
        second = time_ms // 1000
        sampled = (second, event.call_id) in looked_at
        if isinstance(event, InferenceRequest):
            _request(_cell(cells, second), event, sampled)
        elif isinstance(event, InferenceResponse):
            _response(_cell(cells, second, event.model_version, event.variant, event.role), event, sampled)
        elif event.score is not None:
            _score(cells, second, event, rules.quality_metric)
    return tuple(cell for _, cell in sorted(cells.items()))


def _looked_at(mine: list[tuple[int, Any]], most: int) -> set[tuple[int, str]]:
    by_second: dict[int, set[str]] = {}
    for time_ms, event in mine:
        if not isinstance(event, Feedback) and _given(event):
            by_second.setdefault(time_ms // 1000, set()).add(event.call_id)
    return {
        (second, call)
        for second, calls in by_second.items()
        for call in sorted(calls, key=lambda call: zlib.crc32(call.encode()))[:most]
    }


def _given(event: InferenceRequest | InferenceResponse) -> dict[str, float]:
    return event.input_features if isinstance(event, InferenceRequest) else event.output_features


def _cell(cells: Cells, second: int, version: str = "", variant: Any = "champion", role: Any = "client") -> Cell:
    new = Cell(second=second, model_version=version, variant=variant, role=role)
    return cells.setdefault((second, version, variant, role), new)


def _request(cell: Cell, event: InferenceRequest, sampled: bool) -> None:
    _add(cell, "requests", 1)
    if not sampled or not event.input_features:
        return
    _add(cell, "sampled", 1)
    for name in (*QUESTION_FEATURES, *EMBEDDING_FEATURES):
        if name in event.input_features:
            _observe(cell, f"input_{name}", event.input_features[name])
    for word, n in event.input_words.items():
        cell.words[word] = cell.words.get(word, 0) + n
    if event.input_words:
        one = word_set(event.input_words)
        cell.word_sets[one] = cell.word_sets.get(one, 0) + 1
    if language := event.input_language:
        cell.languages[language] = cell.languages.get(language, 0) + 1


def _response(cell: Cell, event: InferenceResponse, sampled: bool) -> None:
    _add(cell, "answers", 1)
    cell.outcomes[event.status] = cell.outcomes.get(event.status, 0) + 1
    for name in TOKENS:
        _add(cell, name, getattr(event, f"gen_ai_usage_{name}") or 0)
    if reason := event.gen_ai_response_finish_reason:
        _observe(cell, "truncated_rate", float(reason == "length"))
        _observe(cell, "other_finish_rate", float(reason not in ("stop", "length")))
    _add(cell, "cost_micros", event.cost_micros or 0)
    _add(cell, "priced", int(event.cost_micros is not None))
    for name in DURATIONS:
        value = getattr(event, name)
        if value is not None:
            _observe(cell, name, value)
            histogram = cell.histograms.setdefault(name, {})
            histogram[bucket(value)] = histogram.get(bucket(value), 0) + 1
    if not sampled or not event.output_features:
        return
    _add(cell, "sampled_answers", 1)
    for name in ANSWER_FEATURES:
        if name in event.output_features:
            _observe(cell, f"output_{name}", event.output_features[name])


def _score(cells: Cells, second: int, event: Feedback, quality_metric: str) -> None:
    assert event.score is not None
    role = "shadow" if event.variant == "shadow" else "client"
    for metric, counts in (("quality", event.metric == quality_metric), ("thumb", event.metric == "thumb")):
        if counts:
            _observe(_cell(cells, second, event.model_version, event.variant, role), metric, event.score)


def _add(cell: Cell, name: str, by: int) -> None:
    structs.force_setattr(cell, name, getattr(cell, name) + by)


def _observe(cell: Cell, metric: str, value: float) -> None:
    have = cell.moments.get(metric, Moments())
    cell.moments[metric] = Moments(n=have.n + 1, total=have.total + value, total_sq=have.total_sq + value * value)
