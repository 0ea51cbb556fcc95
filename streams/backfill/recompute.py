"""From events to the window rows that are not what they should be. Pure, but for what it is handed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial as bind
from typing import NamedTuple

import numpy as np

from streams.backfill.slices import Sliced, Slices
from streams.backfill.source import Counted
from streams.meter.batch import COLUMNS, Batch, Span
from streams.meter.fold import Rules, fold
from streams.windows.figures import Figure, figures, window_row
from streams.windows.slices import NO_SLICES, Slicing
from streams.windows.tally import OTHER, Series, Tally
from tidemill.events import Cell, InferenceRequest, InferenceResponse, Partial, Window
from tidemill.metrics import REFERENCE_METRICS, TEXT_METRICS
from tidemill.slices import dimension_of

INPUT_TEXT = tuple(name for name in TEXT_METRICS if name.startswith("input_") and name not in REFERENCE_METRICS)
OUTPUT_TEXT = tuple(name for name in TEXT_METRICS if name.startswith("output_"))
FOLDED_TOGETHER = 2_000
"""Events in one fold: few enough that no text is left out of it for want of time."""
ROUNDING = 1e-9
_EXACT = ("n", "histogram")
_ROUNDED = ("total", "total_sq", "value", "p50", "p95", "p99", "sample_share")
NOT_SLICED = Sliced()
NOTHING = Figure(0, 0.0, 0.0, None)
"""The stream counted something where there is nothing."""


class Recomputed:
    """The windows of one piece of time under construction."""

    def __init__(
        self,
        pipeline: str,
        size_ms: int,
        rules: Rules,
        known: Sequence[Window],
        max_series: int,
        slicing: Slicing = NO_SLICES,
    ) -> None:
        """``known``: the rows there are, which say what series and slices a window has; a new one gets at most
        ``max_series``, and the slices that ``slicing`` says.
        """
        self.slices = Slices(slicing, known)
        self._pipeline = pipeline
        self._size_ms = size_ms
        self._rules = rules
        self._max_series = max_series
        self._tallies: dict[int, dict[str, Tally]] = {}
        self._looked_at: dict[tuple[str, int], set[str]] = {}
        self._named: dict[int, set[str]] = {}
        self._sampled: dict[int, set[str]] = {}
        for row in known:
            if row.sample_share < 1:
                of = INPUT_TEXT if row.metric in INPUT_TEXT else OUTPUT_TEXT
                self._sampled.setdefault(row.start_ms, set()).update(of)
            if not row.slice:
                self._named.setdefault(row.start_ms, set()).add(Series(row.model_version, row.variant, row.role).key)

    def add(self, topic: str, counted: Sequence[Counted]) -> None:
        """Fold more events of one topic in."""
        for first in range(0, len(counted), FOLDED_TOGETHER):
            for partial in folded(topic, self._pipeline, counted[first : first + FOLDED_TOGETHER], self._rules):
                for cell in partial.cells:
                    start = self._start(cell.second)
                    series = self._tallies.setdefault(start, {})
                    series.setdefault(self._key(cell, start, series), Tally()).add(cell)
                for each in partial.slices:
                    self.slices.add(each, self._start(each.second))
        for time_ms, event in counted:
            kind = _text_of(event)
            if kind:
                self._looked_at.setdefault((kind, time_ms // 1000), set()).add(event.call_id)

    @property
    def tallies(self) -> Mapping[int, Mapping[str, Tally]]:
        """By window start and series key."""
        return self._tallies

    def unsampled(self) -> dict[int, set[str]]:
        """By window start, the text metrics that rest on a sample which cannot be drawn again."""
        found = {start: set(metrics) for start, metrics in self._sampled.items()}
        for (kind, second), calls in self._looked_at.items():
            if len(calls) > self._rules.samples_per_second:
                found.setdefault(self._start(second), set()).update(INPUT_TEXT if kind == "input" else OUTPUT_TEXT)
        return found

    def _start(self, second: int) -> int:
        return second * 1000 // self._size_ms * self._size_ms

    def _key(self, cell: Cell, start: int, series: Mapping[str, Tally]) -> str:
        """The cell's own series; OTHER's where the window's rows know it only so, or the window has enough."""
        own = Series.of_cell(cell)
        known = self._named.get(start)
        if not own.model_version or own.key in series:
            return own.key
        other = Series(OTHER, own.variant, own.role).key
        full = len(series) >= self._max_series if known is None else other in known
        return other if full and own.key not in (known or ()) else own.key


def folded(topic: str, pipeline: str, counted: Sequence[Counted], rules: Rules) -> Sequence[Partial]:
    """What the meter makes of one pipeline's events of one topic."""
    times_ms = np.array([time_ms for time_ms, _ in counted], np.int64)
    batch = Batch(range(len(counted)), times_ms, [event for _, event in counted])
    span = Span(topic, 0, 0, max(0, len(counted) - 1))
    return fold(span, batch, {pipeline: rules})


def _text_of(event: object) -> str:
    if isinstance(event, InferenceRequest) and COLUMNS["has_input"](event):
        return "input"
    if isinstance(event, InferenceResponse) and COLUMNS["has_output"](event):
        return "output"
    return ""


class Change(NamedTuple):
    """What a window needs, to say what its raw rows say."""

    rows: list[Window]
    was_there: bool


def changes(
    pipeline: str, start_ms: int, end_ms: int, tallies: Mapping[str, Tally], known: Iterable[Window],
    left_out: Iterable[str], time_ms: int, slices: Sliced = NOT_SLICED,
) -> Change:  # fmt: skip
    """The rows that differ from those there are (or are not there at all), as the next revision of their window."""
    before = {_place(row): row for row in known if not row.slice or dimension_of(row.slice) in slices.dimensions}
    revision = 1 + max((row.revision for row in before.values()), default=-1)
    leave = {*left_out, *REFERENCE_METRICS}  # never computed anew: the reference is gone
    now = {(key, "", metric): figure for key, tally in tallies.items() for metric, figure in figures(tally).items()}
    for name, tally in slices.tallies.items():
        now |= {(Series().key, name, metric): figure for metric, figure in figures(tally).items()}
    rows = []
    for place in sorted({*now, *before}):
        key, slice, metric = place
        old = before.get(place)
        if metric in leave or (old is not None and old.n == 0 and place not in now):
            continue
        series = Series.of_key(key)
        make = bind(
            Window,
            pipeline=pipeline,
            model_version=series.model_version,
            variant=series.variant,
            role=series.role,
            slice=slice,
            start_ms=start_ms,
            end_ms=end_ms,
            complete=True,
            revision=revision,
            time_ms=time_ms,
        )
        row = window_row(now.get(place, NOTHING), make, metric)
        if old is None or not same(old, row):
            rows.append(row)
    return Change(rows, bool(before))


def _place(row: Window) -> tuple[str, str, str]:
    return Series(row.model_version, row.variant, row.role).key, row.slice, row.metric


def same(one: Window, other: Window) -> bool:
    """Equal figures: counts exactly, sums to rounding."""
    return all(getattr(one, name) == getattr(other, name) for name in _EXACT) and all(
        _close(getattr(one, name), getattr(other, name)) for name in _ROUNDED
    )


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=ROUNDING)
