"""Cells of a batch: columns of numbers, summed by cell at once. Pure and deterministic.

Sums run in the order of the batch, and everything in a cell is sorted: equal batches give equal bytes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import count as counter
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.events import Cell, Moments, SliceCell
from tidemill.events.types import MAX_NAME, Variant
from tidemill.sketch import ZERO_BUCKET, buckets

MAX_COUNT = 2_147_483_647
MAX_VALUE = 1e12
"""Feature values beyond this are no measurement; their squares would leave the range of numbers."""
_BUCKETS = 2**21
"""More than there are histogram buckets."""

Role = Literal["client", "shadow"]


class Key(NamedTuple):
    """What a cell is for."""

    pipeline: str
    second: int
    model_version: str = ""
    variant: Variant = "champion"
    role: Role = "client"

    def bounded(self) -> Key:
        """With a name no longer than is kept."""
        return self._replace(model_version=self.model_version[:MAX_NAME])

    def cell(self, fields: dict[str, Any]) -> Cell:
        """The finished cell."""
        return Cell(
            second=self.second, model_version=self.model_version, variant=self.variant, role=self.role, **fields
        )


class SliceKey(NamedTuple):
    """What a cell of a slice is for."""

    pipeline: str
    second: int
    slice: str

    def bounded(self) -> SliceKey:
        """As it is: ``slices.py`` bounds its names."""
        return self

    def cell(self, fields: dict[str, Any]) -> SliceCell:
        """The finished cell."""
        return SliceCell(second=self.second, slice=self.slice, **fields)


class Cells:
    """One cell for each different key of a batch's events; figures are added column by column."""

    def __init__(self, keys: Iterable[tuple[Any, ...]], of: type[Key] | type[SliceKey] = Key) -> None:
        """``keys``: of each event, the values of its key (all of them, or the first ones)."""
        seen: defaultdict[tuple[Any, ...], int] = defaultdict(counter().__next__)
        places: NDArray[np.int64] = np.fromiter(map(seen.__getitem__, keys), np.int64)
        bounded: list[Any] = [of(*key).bounded() for key in seen]
        self.keys: list[Any] = sorted(set(bounded))
        """Key by cell number."""
        numbers = {key: number for number, key in enumerate(self.keys)}
        self.at: NDArray[np.int64] = np.array([numbers[key] for key in bounded], np.int64)[places]
        """Cell number by event."""
        self._fields: list[dict[str, Any]] = [{} for _ in self.keys]

    def count(self, name: str, by: NDArray[Any] | None = None, most: int = MAX_COUNT) -> None:
        """Fill a plain count (a field of Cell): the events, or the sum of ``by``, where NaN adds nothing."""
        weights = None if by is None else np.nan_to_num(by)
        for cell, n in _nonzero(np.bincount(self.at, weights, len(self.keys))):
            self._fields[cell][name] = min(int(n), most)

    def count_at(self, name: str, at: Sequence[int]) -> None:
        """Fill a plain count: how often each cell number is in ``at``."""
        for cell, n in _nonzero(np.bincount(np.array(at, np.int64), minlength=len(self.keys))):
            self._fields[cell][name] = int(n)

    def outcomes(self, statuses: Sequence[str]) -> None:
        """Count the events by how they ended."""
        kinds = sorted(set(statuses))
        code = {kind: number for number, kind in enumerate(kinds)}
        codes = np.fromiter(map(code.__getitem__, statuses), np.int64, len(statuses))
        for place, n in _nonzero(np.bincount(self.at * len(kinds) + codes)):
            cell, kind = divmod(place, len(kinds))
            self._inner(cell, "outcomes")[kinds[kind]] = int(n)

    def measure(self, metric: str, values: NDArray[np.float64], *, histogram: bool = True) -> None:
        """Fill the moments and the histogram of a metric that every event may have; NaN is no measurement."""
        there = ~np.isnan(values)
        at, observed = self.at[there], values[there]
        self._moments(metric, at, observed)
        if not histogram:
            return
        pairs, counts = np.unique(at * _BUCKETS + (buckets(observed) - ZERO_BUCKET), return_counts=True)
        for pair, n in zip(pairs.tolist(), counts.tolist(), strict=True):
            cell, bucket = divmod(pair, _BUCKETS)
            self._inner(cell, "histograms").setdefault(metric, {})[bucket + ZERO_BUCKET] = n

    def observe(self, metric: str, at: Sequence[int], values: Sequence[float]) -> None:
        """Fill the moments of a metric from ``values`` in the cells ``at``; absurd values are left out."""
        observed = np.array(values, np.float64)
        sound = np.abs(observed) <= MAX_VALUE
        self._moments(metric, np.array(at, np.int64)[sound], observed[sound])

    def words(self, counts: dict[int, dict[int, int]]) -> None:
        """Fill word counts: by cell number, by hash bucket."""
        for cell, found in counts.items():
            self._fields[cell]["words"] = dict(sorted(found.items()))

    def names(
        self, field: str, found: Iterable[tuple[int, str]], kept: Callable[[dict[str, int]], dict[str, int]] = dict
    ) -> None:
        """Count calls by a name (a language, a word set): cell numbers and names, where an empty one counts nothing.

        ``kept``: what of a cell's counts is told.
        """
        counts: dict[int, dict[str, int]] = {}
        for (cell, name), n in sorted(Counter(found).items()):
            if name:
                counts.setdefault(cell, {})[name] = n
        for cell, inner in counts.items():
            self._fields[cell][field] = kept(inner)

    def build(self) -> dict[str, tuple[Any, ...]]:
        """The finished cells by pipeline, in order of their keys."""
        found: dict[str, list[Any]] = {}
        for key, fields in zip(self.keys, self._fields, strict=True):
            found.setdefault(key.pipeline, []).append(key.cell(fields))
        return {pipeline: tuple(cells) for pipeline, cells in found.items()}

    def _moments(self, metric: str, at: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        size = len(self.keys)
        totals = np.bincount(at, values, size).tolist()
        squares = np.bincount(at, values * values, size).tolist()
        for cell, n in _nonzero(np.bincount(at, minlength=size)):
            self._inner(cell, "moments")[metric] = Moments(n=int(n), total=totals[cell], total_sq=squares[cell])

    def _inner(self, cell: int, name: str) -> dict[Any, Any]:
        inner: dict[Any, Any] = self._fields[cell].setdefault(name, {})
        return inner


def _nonzero(counts: NDArray[Any]) -> Iterable[tuple[int, float]]:
    places = np.flatnonzero(counts)
    return zip(places.tolist(), counts[places].tolist(), strict=True)
