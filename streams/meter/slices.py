"""Which events count in which slices: client calls, answers and scores, once for each dimension of their pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

from streams.meter.batch import Batch
from streams.meter.cells import Cells, SliceKey
from tidemill.events import InferenceResponse, ScorePoint
from tidemill.slices import OTHER, dimension_of, slice_name

MAX_VALUES = 256
"""Of a dimension that have cells of their own, in each second of a range: those with most events. Others are OTHER."""

Key = tuple[str, int, str]
"""Pipeline, second, slice: the values of a SliceKey."""


class Sliced(NamedTuple):
    """The cells of slices, and which event of the batch each of their entries is."""

    cells: Cells
    places: list[int]

    def pairs(self, found: Mapping[int, Any]) -> list[tuple[int, Any]]:
        """What was ``found`` at places of the batch, with the cells it belongs to."""
        at = zip(self.cells.at.tolist(), self.places, strict=True)
        return [(cell, found[place]) for cell, place in at if place in found]


def sliced(batch: Batch, dimensions: Mapping[str, Sequence[str]]) -> Sliced | None:
    """Cells to fill for the slices of a batch; None: it has none. ``dimensions``: by pipeline."""
    pipelines = batch.column("pipeline")
    if not dimensions or dimensions.keys().isdisjoint(pipelines):
        return None
    keys: list[Key] = []
    places: list[int] = []
    seconds = batch.seconds
    for dimension in sorted({each for several in dimensions.values() for each in several}):
        having = frozenset(pipeline for pipeline, several in dimensions.items() if dimension in several)
        here = _places(batch, pipelines, having)
        values = batch.column(dimension)
        named = {value: slice_name(dimension, value) for value in set(values)}
        keys += _bounded([(pipelines[place], seconds[place], named[values[place]]) for place in here])
        places += here
    return Sliced(Cells(keys, SliceKey), places) if keys else None


def sliced_scores(scores: Sequence[tuple[str, ScorePoint]]) -> Sliced | None:
    """The same for clients' scores, each with its pipeline; ``places`` are theirs in ``scores``."""
    by_dimension: dict[str, tuple[list[Key], list[int]]] = {}
    for place, (pipeline, point) in enumerate(scores):
        for name in point.slices if point.variant != "shadow" else ():
            keys, places = by_dimension.setdefault(dimension_of(name), ([], []))
            keys.append((pipeline, point.time_ms // 1000, name))
            places.append(place)
    found = [by_dimension[dimension] for dimension in sorted(by_dimension)]
    bounded = [key for keys, _ in found for key in _bounded(keys)]
    return Sliced(Cells(bounded, SliceKey), [place for _, places in found for place in places]) if bounded else None


def _places(batch: Batch, pipelines: Sequence[str], having: frozenset[str]) -> list[int]:
    chosen: Iterable[bool] = map(having.__contains__, pipelines)
    if batch.kind is InferenceResponse:
        roles = batch.column("role")
        chosen = (mine and role == "client" for mine, role in zip(chosen, roles, strict=True))
    return list(compress(range(len(pipelines)), chosen))


def _bounded(keys: list[Key]) -> list[Key]:
    """The keys of one dimension with at most MAX_VALUES values a pipeline and second. The range alone decides."""
    counts = Counter(keys)
    if len(counts) <= MAX_VALUES:
        return keys
    several: dict[tuple[str, int], list[str]] = {}
    for pipeline, second, name in counts:
        several.setdefault((pipeline, second), []).append(name)
    to: dict[Key, Key] = {}
    for (pipeline, second), names in several.items():
        if len(names) > MAX_VALUES:
            names.sort(key=lambda name: (-counts[pipeline, second, name], name))
            other = f"{names[0].partition('=')[0]}={OTHER}"
            to |= {(pipeline, second, name): (pipeline, second, other) for name in names[MAX_VALUES:]}
    return [to.get(key, key) for key in keys]
