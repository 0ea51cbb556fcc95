"""Scores in feedback: which count, and which travel one by one to the quality detectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from streams.meter.batch import Batch
from tidemill.events import ScorePoint
from tidemill.events.types import MAX_NAME
from tidemill.slices import slice_name

SCORES_PER_SECOND = 256


class Judged(NamedTuple):
    """A piece of feedback that counts."""

    pipeline: str
    point: ScorePoint
    counts_as: tuple[str, ...]
    """Metrics it is an observation of: quality, thumb."""


def relevant(batch: Batch, quality: Mapping[str, str], dimensions: Mapping[str, Sequence[str]]) -> list[Judged]:
    """Scores of the pipeline's quality metric (``quality``: by pipeline) and thumbs; all else is left out.

    ``dimensions``: those of its slices, by pipeline.
    """
    found = []
    for time_ms, event in zip(batch.times_ms.tolist(), batch.events, strict=True):
        metric = event.metric or ("thumb" if event.kind == "thumb" else "")
        is_quality = metric != "" and metric == quality.get(event.pipeline)
        counts_as = ("quality",) * is_quality + ("thumb",) * (metric == "thumb")
        if event.score is None or not counts_as:
            continue
        point = ScorePoint(
            time_ms=time_ms,
            call_time_ms=event.call_time_ms,
            feedback_id=event.feedback_id,
            metric=metric,
            score=event.score,
            model_version=event.model_version[:MAX_NAME],
            variant=event.variant,
            source=event.source,
            label_source=event.label_source[:MAX_NAME],
            slices=_slices(event.slices, dimensions.get(event.pipeline, ())) if event.slices else (),
        )
        found.append(Judged(event.pipeline, point, counts_as))
    return found


def _slices(values: Mapping[str, str], dimensions: Sequence[str]) -> tuple[str, ...]:
    return tuple(slice_name(each, values[each]) for each in dimensions if each in values)


def cell_keys(judged: Iterable[Judged]) -> Iterator[tuple[str, int, str, str, str]]:
    """What cell each of them counts in."""
    for pipeline, point, _ in judged:
        role = "shadow" if point.variant == "shadow" else "client"
        yield pipeline, point.time_ms // 1000, point.model_version, point.variant, role


def kept_points(points: Sequence[ScorePoint], quality_metric: str) -> tuple[tuple[ScorePoint, ...], int]:
    """The first 256 of each second, the pipeline's own metric first, in event-time order; and how many were left out.

    ``points`` are of one pipeline.
    """
    kept: list[ScorePoint] = []
    seconds: dict[int, int] = {}
    for point in sorted(points, key=lambda p: (p.metric != quality_metric, p.time_ms, p.feedback_id)):
        second = point.time_ms // 1000
        seconds[second] = seconds.get(second, 0) + 1
        if seconds[second] <= SCORES_PER_SECOND:
            kept.append(point)
    kept.sort(key=lambda p: (p.time_ms, p.feedback_id))
    return tuple(kept), len(points) - len(kept)
