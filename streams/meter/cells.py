"""Cells under construction: columns of numbers by cell, summed at once. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.events import Cell, Moments
from tidemill.events.types import Variant
from tidemill.sketch import buckets

MAX_COUNT = 2_147_483_647
MAX_MICROS = 9_000_000_000_000_000
MAX_NAME = 256
MAX_VALUE = 1e12
"""Feature values beyond this are no measurement; their squares would leave the range of numbers."""


Role = Literal["client", "shadow"]


class Key(NamedTuple):
    """What a cell is for."""

    second: int
    model_version: str
    variant: Variant
    role: Role


class Cells:
    """Collects values by cell; ``build`` gives the finished cells in order of their keys."""

    def __init__(self) -> None:
        self._numbers: dict[Key, int] = {}
        self._counts: dict[str, list[int]] = {}
        self._outcomes: dict[tuple[int, str], int] = {}
        self._values: dict[str, tuple[list[int], list[float]]] = {}
        self._measured: set[str] = set()
        self._words: dict[int, dict[int, int]] = {}

    def at(self, second: int, model_version: str = "", variant: Variant = "champion", role: Role = "client") -> int:
        """The number of a cell, made when it is new."""
        key = Key(second, model_version[:MAX_NAME], variant, role)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers)
        return number

    def count(self, cell: int, name: str, by: int = 1) -> None:
        """Add to a plain count of the cell (a field of Cell)."""
        column = self._counts.setdefault(name, [])
        if len(column) <= cell:
            column.extend([0] * (len(self._numbers) - len(column)))
        column[cell] += by

    def outcome(self, cell: int, status: str) -> None:
        """Count an answer by how it ended."""
        place = (cell, status)
        self._outcomes[place] = self._outcomes.get(place, 0) + 1

    def value(self, cell: int, metric: str, value: float, *, histogram: bool = False) -> None:
        """Add one observation to the moments of a metric, and to its histogram where quantiles are wanted."""
        if not -MAX_VALUE <= value <= MAX_VALUE:
            return
        column = self._values.get(metric)
        if column is None:
            column = self._values[metric] = ([], [])
            if histogram:
                self._measured.add(metric)
        column[0].append(cell)
        column[1].append(value)

    def words(self, cell: int, counts: Iterable[tuple[int, int]]) -> None:
        """Add word counts by hash bucket."""
        total = self._words.setdefault(cell, {})
        for bucket, count in counts:
            total[bucket] = total.get(bucket, 0) + count

    def build(self) -> tuple[Cell, ...]:
        """The finished cells, sorted by key; everything inside sorted too, so that equal contents are equal bytes."""
        size = len(self._numbers)
        moments: list[dict[str, Moments]] = [{} for _ in range(size)]
        histograms: list[dict[str, dict[int, int]]] = [{} for _ in range(size)]
        outcomes: list[dict[str, int]] = [{} for _ in range(size)]
        for (cell, status), n in sorted(self._outcomes.items()):
            outcomes[cell][status] = n
        for metric, (cells, observed) in sorted(self._values.items()):
            at, values = np.asarray(cells, np.int64), np.asarray(observed, np.float64)
            for cell, found in _moments(at, values, size):
                moments[cell][metric] = found
            if metric in self._measured:
                for cell, bucket, n in _histogram(at, values):
                    histograms[cell].setdefault(metric, {})[bucket] = n
        return tuple(
            Cell(
                second=key.second,
                model_version=key.model_version,
                variant=key.variant,
                role=key.role,
                outcomes=outcomes[cell],
                moments=moments[cell],
                histograms=histograms[cell],
                words=dict(sorted(self._words.get(cell, {}).items())),
                **{name: _bounded(name, column[cell]) for name, column in self._counts.items() if cell < len(column)},
            )
            for key, cell in sorted(self._numbers.items())
        )


def _bounded(name: str, n: int) -> int:
    return min(n, MAX_MICROS if name == "cost_micros" else MAX_COUNT)


def _moments(at: NDArray[np.int64], values: NDArray[np.float64], size: int) -> Iterable[tuple[int, Moments]]:
    n = np.bincount(at, minlength=size)
    total = np.bincount(at, weights=values, minlength=size)
    total_sq = np.bincount(at, weights=values * values, minlength=size)
    for cell in np.flatnonzero(n).tolist():
        yield cell, Moments(n=int(n[cell]), total=float(total[cell]), total_sq=float(total_sq[cell]))


def _histogram(at: NDArray[np.int64], values: NDArray[np.float64]) -> Iterable[tuple[int, int, int]]:
    pairs, counts = np.unique(np.stack([at, buckets(values)]), axis=1, return_counts=True)
    yield from zip(pairs[0].tolist(), pairs[1].tolist(), counts.tolist(), strict=True)
