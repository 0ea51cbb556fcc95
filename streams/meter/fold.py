"""Folding the events of one frozen range into a partial per pipeline. Pure: the range alone decides every byte.

Source of the shape: the combiner of MapReduce (Dean, Ghemawat, OSDI 2004): what is summed here need not travel.
Everything that each event has is folded column by column; only the text of the sampled calls is looked at singly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.meter.batch import Batch, Span
from streams.meter.cells import Cells
from streams.meter.sample import chosen
from streams.meter.scores import Judged, cell_keys, kept_points, relevant
from streams.meter.slices import sliced, sliced_scores
from tidemill.answers import ANSWER_FEATURES, TRUNCATED, USUAL_FINISHES, Check, answer_features, validity
from tidemill.embedding import EMBEDDING_FEATURES
from tidemill.events import Feedback, InferenceRequest, InferenceResponse, Partial, ScorePoint, SliceCell
from tidemill.events.types import MAX_MICROS
from tidemill.language import language_of
from tidemill.metrics import DURATIONS
from tidemill.settings import Settings
from tidemill.text import QUESTION_FEATURES, WORD_BUCKETS, question_features, word_buckets
from tidemill.word_sets import lowest, word_set

TOKENS = ("input_tokens", "cached_tokens", "output_tokens")
NUMBERS = (*(f"gen_ai_usage_{name}" for name in TOKENS), "cost_micros", *DURATIONS)
"""The columns of answers that are summed."""
FINISHES: Mapping[str, Callable[[str], bool]] = {
    "truncated_rate": TRUNCATED.__eq__,
    "other_finish_rate": lambda reason: reason not in USUAL_FINISHES,
}
"""Whether a known finish reason counts, by metric."""
OF_QUESTIONS = (*QUESTION_FEATURES, *EMBEDDING_FEATURES)
MAX_TEXTS = 2_000
"""So many calls' texts are looked at in a batch: the work is bounded, however many pipelines there are."""
_MAX_WORD_COUNT = 1_000_000


class Rules(NamedTuple):
    """What the fold must know of a pipeline."""

    quality_metric: str = ""
    """The metric whose scores are its quality; empty: none is known (a pipeline that is not in the settings)."""
    samples_per_second: int = 20
    check: Check | None = None
    """Whether an answer has the form it must have; None: any has."""
    slices: tuple[str, ...] = ()
    """Dimensions of its slices."""


UNKNOWN = Rules()


def rules_of(settings: Settings) -> dict[str, Rules]:
    """The rules of every pipeline in the settings; all others have ``UNKNOWN``."""
    return {
        name: Rules(
            pipeline.quality.metric,
            pipeline.drift.samples_per_second if pipeline.drift.enabled else 0,
            pipeline.output_format.check,
            pipeline.slices,
        )
        for name, pipeline in settings.pipelines.items()
    }


class _Scores(NamedTuple):
    points: tuple[ScorePoint, ...] = ()
    dropped: int = 0


class _Folded(NamedTuple):
    cells: Cells
    slices: Mapping[str, tuple[SliceCell, ...]] = {}
    scores: Mapping[str, _Scores] = {}


def fold(span: Span, batch: Batch, rules: Mapping[str, Rules]) -> list[Partial]:
    """The partials of a batch, one for each pipeline of which something counts in it, in order of their names."""
    if not batch.events:
        return []
    folded = _FOLDS[batch.kind](batch, rules)
    partials = []
    for pipeline, built in folded.cells.build().items():
        points, dropped = folded.scores.get(pipeline, _Scores())
        partials.append(
            Partial(
                topic=span.topic,
                partition=span.partition,
                lo=span.lo,
                hi=span.hi,
                pipeline=pipeline,
                cells=built,
                scores=points,
                scores_dropped=dropped,
                slices=folded.slices.get(pipeline, ()),
            )
        )
    return partials


def _requests(batch: Batch, rules: Mapping[str, Rules]) -> _Folded:
    cells = Cells(zip(batch.column("pipeline"), batch.seconds, strict=True))
    cells.count("requests")
    with_text = batch.column("has_input")
    looked_at = [
        (place, event, [message.content for message in event.gen_ai_input_messages or () if message.role == "user"])
        for place, event in _sample(cells, batch, with_text, rules)
    ]
    found = {
        place: event.input_features or question_features(event.gen_ai_input_messages or ())
        for place, event, _ in looked_at
    }
    _features(cells, "sampled", "input", OF_QUESTIONS, _in_cells(cells, found))
    words: dict[int, dict[int, int]] = {}
    word_sets, languages = [], []
    for place, event, users in looked_at:
        if not found[place]:
            continue
        cell = int(cells.at[place])
        known = {
            bucket: n
            for bucket, n in (event.input_words or word_buckets(users)).items()
            if 0 <= bucket < WORD_BUCKETS and n > 0
        }
        total = words.setdefault(cell, {})
        for bucket, n in known.items():
            total[bucket] = total.get(bucket, 0) + min(n, _MAX_WORD_COUNT)
        word_sets.append((cell, word_set(known)))
        languages.append((cell, event.input_language or language_of(users)))
    cells.words(words)
    cells.names("word_sets", word_sets, lowest)
    cells.names("languages", languages)
    if (by := sliced(batch, _dimensions(rules))) is None:
        return _Folded(cells)
    by.cells.count("requests")
    _features(by.cells, "sampled", "input", OF_QUESTIONS, by.pairs(found))
    return _Folded(cells, by.cells.build())


def _responses(batch: Batch, rules: Mapping[str, Rules]) -> _Folded:
    column = batch.column
    keys = column("pipeline"), batch.seconds, column("model_version"), column("variant"), column("role")
    cells = Cells(zip(*keys, strict=True))
    numbers = {name: np.array(column(name), np.float64) for name in NUMBERS}
    reasons = column("gen_ai_response_finish_reason")
    for name, counts in FINISHES.items():
        found_by = {reason: float(counts(reason)) if reason else math.nan for reason in set(reasons)}
        numbers[name] = np.fromiter(map(found_by.__getitem__, reasons), np.float64, len(reasons))
    _answers(cells, numbers, column("status"), histograms=True)
    found = {
        place: _of_answer(event, rules.get(event.pipeline, UNKNOWN).check)
        for place, event in _sample(cells, batch, column("has_output"), rules)
    }
    _features(cells, "sampled_answers", "output", ANSWER_FEATURES, _in_cells(cells, found))
    if (by := sliced(batch, _dimensions(rules))) is None:
        return _Folded(cells)
    places = np.array(by.places, np.int64)
    taken = {name: values[places] for name, values in numbers.items()}
    _answers(by.cells, taken, list(map(column("status").__getitem__, by.places)), histograms=False)
    _features(by.cells, "sampled_answers", "output", ANSWER_FEATURES, by.pairs(found))
    return _Folded(cells, by.cells.build())


def _answers(
    cells: Cells, numbers: Mapping[str, NDArray[np.float64]], statuses: Sequence[str], *, histograms: bool
) -> None:
    """Fill the figures of answers; ``numbers``: columns by name, NaN where there is no number."""
    cells.count("answers")
    cells.outcomes(statuses)
    for name in TOKENS:
        cells.count(name, numbers[f"gen_ai_usage_{name}"])
    cells.count("cost_micros", numbers["cost_micros"], MAX_MICROS)
    cells.count("priced", ~np.isnan(numbers["cost_micros"]))
    for name in FINISHES:
        cells.measure(name, numbers[name], histogram=False)
    for name in DURATIONS:
        cells.measure(name, numbers[name], histogram=histograms)


def _of_answer(event: InferenceResponse, check: Check | None) -> Mapping[str, float]:
    """Its features: those that came with it, else those of its text. Only a form that its producer did not know of is
    looked for in any case."""
    given = event.output_features
    if given and (check is None or "valid" in given):
        return given
    answer = event.gen_ai_output_text, event.status, event.gen_ai_response_finish_reason
    return given | validity(*answer, check) if given else answer_features(*answer, check)


def _feedback(batch: Batch, rules: Mapping[str, Rules]) -> _Folded:
    quality = {name: rule.quality_metric for name, rule in rules.items()}
    judged = relevant(batch, quality, _dimensions(rules))
    cells = Cells(cell_keys(judged))
    _scores(cells, list(zip(cells.at.tolist(), judged, strict=True)))
    by = sliced_scores([(one.pipeline, one.point) for one in judged])
    if by is not None:
        _scores(by.cells, by.pairs(dict(enumerate(judged))))
    by_pipeline: dict[str, list[ScorePoint]] = {}
    for one in judged:
        by_pipeline.setdefault(one.pipeline, []).append(one.point)
    scores = {
        pipeline: _Scores(*kept_points(points, quality.get(pipeline, ""))) for pipeline, points in by_pipeline.items()
    }
    return _Folded(cells, {} if by is None else by.cells.build(), scores)


def _scores(cells: Cells, found: Sequence[tuple[int, Judged]]) -> None:
    """Fill the scores, each with the cell it belongs to."""
    for metric in ("quality", "thumb"):
        counted = [(cell, one.point.score) for cell, one in found if metric in one.counts_as]
        cells.observe(metric, [cell for cell, _ in counted], [score for _, score in counted])


_FOLDS: dict[type, Callable[[Batch, Mapping[str, Rules]], _Folded]] = {
    InferenceRequest: _requests,
    InferenceResponse: _responses,
    Feedback: _feedback,
}


def _sample(
    cells: Cells, batch: Batch, with_text: Sequence[bool], rules: Mapping[str, Rules]
) -> Iterator[tuple[int, Any]]:
    """The sampled events and their places: of each pipeline and second as many calls as its rules say."""
    numbers: dict[tuple[str, int], int] = {}
    of_cell = [numbers.setdefault((key.pipeline, key.second), len(numbers)) for key in cells.keys]
    most = [rules.get(pipeline, UNKNOWN).samples_per_second for pipeline, _ in numbers]
    groups: NDArray[np.int64] = np.array(of_cell, np.int64)[cells.at]
    limits: NDArray[np.int64] = np.array(most, np.int64)
    places = np.flatnonzero(np.array(with_text) & (limits[groups] > 0))
    ids = batch.column("call_id")
    calls = [ids[place] for place in places.tolist()]
    for place in places[chosen(groups[places], calls, limits, MAX_TEXTS)].tolist():
        yield place, batch.events[place]


def _in_cells(cells: Cells, found: Mapping[int, Mapping[str, float]]) -> list[tuple[int, Mapping[str, float]]]:
    """What was found at places, with the cells they are in."""
    return [(int(cells.at[place]), values) for place, values in found.items()]


def _dimensions(rules: Mapping[str, Rules]) -> dict[str, tuple[str, ...]]:
    return {name: rule.slices for name, rule in rules.items() if rule.slices}


def _features(
    cells: Cells, count: str, prefix: str, names: Sequence[str], found: Sequence[tuple[int, Mapping[str, float]]]
) -> None:
    cells.count_at(count, [cell for cell, values in found if values])
    for name in names:
        there = [(cell, values[name]) for cell, values in found if name in values]
        cells.observe(f"{prefix}_{name}", [cell for cell, _ in there], [value for _, value in there])
