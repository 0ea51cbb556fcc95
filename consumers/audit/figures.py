"""One window's figures by two ways, compared. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tidemill.metrics import DURATIONS
from tidemill.sketch import RELATIVE_ERROR
from tidemill.slices import dimension_of

ROUNDING = 1e-9
"""Sums of the same floats in another order differ by less than this share."""
QUANTILES = (0.5, 0.95, 0.99)
NO_QUANTILES = (None, None, None)
OTHER = "other"
"""The version, and the value of a slice, under which the stream counts what has no figures of its own."""


class Series(NamedTuple):
    """Whose figures they are."""

    model_version: str
    variant: str
    role: str
    slice: str = ""
    """Empty: the whole series."""

    @property
    def other(self) -> Series | None:
        """Where it counts if it has no figures of its own; None: it always has."""
        if self.slice:
            return self._replace(slice=f"{dimension_of(self.slice)}={OTHER}")
        return self._replace(model_version=OTHER) if self.model_version else None


class Figure(NamedTuple):
    """A metric: observations, their sum, and quantiles where it is a duration."""

    n: int
    total: float
    quantiles: tuple[float | None, float | None, float | None] = NO_QUANTILES


class Mismatch(NamedTuple):
    """What the two ways say of one metric; None: nothing."""

    series: Series
    metric: str
    stream: Figure | None
    rows: Figure | None


@dataclass(frozen=True)
class Counted:
    """What the raw rows of one series in one window add up to."""

    requests: int = 0
    answers: int = 0
    failed: int = 0
    cancelled: int = 0
    finished: int = 0
    truncated: int = 0
    other_finish: int = 0
    priced: int = 0
    cost_micros: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    durations: Mapping[str, Figure] = field(default_factory=dict)

    def plus(self, other: Counted) -> Counted:
        """Both together. Quantiles do not add up: they are left out."""
        added = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        durations = dict(self.durations)
        for metric, figure in other.durations.items():
            mine = durations.get(metric, Figure(0, 0.0))
            durations[metric] = Figure(mine.n + figure.n, mine.total + figure.total)
        return Counted(**added, durations=durations)

    def figures(self) -> dict[str, Figure]:
        """By window metric, as docs/reference/windows.md defines them."""
        found = {
            "requests": Figure(self.requests, self.requests),
            "answers": Figure(self.answers, self.answers),
            "error_rate": Figure(self.answers, self.failed),
            "cancel_rate": Figure(self.answers, self.cancelled),
            "truncated_rate": Figure(self.finished, self.truncated),
            "other_finish_rate": Figure(self.finished, self.other_finish),
            "cost": Figure(self.priced, self.cost_micros / 1_000_000),
            "unpriced": Figure(self.answers, self.answers - self.priced),
            "output_tokens": Figure(self.answers if self.output_tokens else 0, self.output_tokens),
        }
        if self.input_tokens:
            found["input_tokens"] = Figure(self.answers, self.input_tokens)
            found["cached_tokens"] = Figure(self.answers, self.cached_tokens)
        return {metric: figure for metric, figure in (found | dict(self.durations)).items() if figure.n}


COUNTS = tuple(name for name in Counted.__dataclass_fields__ if name != "durations")
"""Its sums by name."""
METRICS = (
    "requests",
    "answers",
    "error_rate",
    "cancel_rate",
    "truncated_rate",
    "other_finish_rate",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "cost",
    "unpriced",
    *DURATIONS,
)
"""What is compared."""


def counted_of(row: Mapping[str, Any]) -> Counted:
    """The sums that a query gave for one series."""
    durations = {
        metric: Figure(row[f"{metric}_n"], row[f"{metric}_total"], tuple(row.get(f"{metric}_quantiles", NO_QUANTILES)))
        for metric in DURATIONS
        if row.get(f"{metric}_n")
    }
    return Counted(**{name: int(row.get(name) or 0) for name in COUNTS}, durations=durations)


def mismatches(stream: Mapping[tuple[Series, str], Figure], rows: Mapping[Series, Counted]) -> list[Mismatch]:
    """Where they differ, in order. A figure of nothing (n = 0) is as good as none."""
    counted = _folded({series for series, _ in stream}, rows)
    expected = {(series, metric): f for series, sums in counted.items() for metric, f in sums.figures().items()}
    found = []
    for series, metric in sorted({*stream, *expected}):
        said, summed = stream.get((series, metric)), expected.get((series, metric))
        if not agrees(said, summed):
            found.append(Mismatch(series, metric, said, summed))
    return found


def agrees(stream: Figure | None, rows: Figure | None) -> bool:
    """Counts equal, sums equal to rounding, quantiles (of the lower rank, both) within the sketch's error."""
    said, counted = stream or Figure(0, 0.0), rows or Figure(0, 0.0)
    if said.n != counted.n or not math.isclose(said.total, counted.total, rel_tol=ROUNDING, abs_tol=ROUNDING):
        return False
    pairs = zip(said.quantiles, counted.quantiles, strict=True)
    return all(exact is None or (near is not None and _near(near, exact)) for near, exact in pairs)


def _near(near: float, exact: float) -> bool:
    return abs(near - exact) <= (RELATIVE_ERROR + ROUNDING) * abs(exact)


def _folded(named: set[Series], rows: Mapping[Series, Counted]) -> Mapping[Series, Counted]:
    """The raw rows' sums with the versions and slices the stream knows only as OTHER added up under that name."""
    folded: dict[Series, Counted] = {}
    for series, counted in rows.items():
        other = series.other
        to = other if other is not None and series not in named and other in named else series
        folded[to] = folded[to].plus(counted) if to in folded else counted
    return {
        series: counted.plus(Counted()) if series.model_version == OTHER else counted
        for series, counted in folded.items()
    }
