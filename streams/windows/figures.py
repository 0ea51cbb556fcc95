"""From a tally to window metrics: mean, share or sum, with quantiles where there is a histogram.

Absence is not zero: a metric without observations has no figure. Units and meanings: docs/reference/windows.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from streams.windows.tally import Sums, Tally
from tidemill import sketch
from tidemill.events import Window
from tidemill.metrics import UNITS

COUNTS = frozenset({"requests", "answers", "input_tokens", "cached_tokens", "output_tokens", "cost", "unpriced"})
"""Sums per window: their value is as sure with one observation as with many."""
DURATIONS = ("queue_ms", "ttft_ms", "tpot_ms", "e2e_ms")
FAILED = ("error", "timeout")
"""Not ``rejected``: that is the caller's fault, not the service's."""
_MEANS = (
    *DURATIONS,
    "input_chars",
    "input_words",
    "input_digit_share",
    "input_mean_word_length",
    "output_chars",
    "output_words",
    "quality",
    "thumb",
)


class Figure(NamedTuple):
    """One metric of one window: ``n`` observations, their sums, and the headline ``value``."""

    n: int
    total: float
    total_sq: float
    value: float | None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    histogram: dict[int, int] | None = None

    def statistic(self, name: str) -> float | None:
        """``value``, ``p50``, ``p95`` or ``p99``; None where there is none."""
        found: float | None = getattr(self, name)
        return found


NO_REQUESTS = Figure(0, 0.0, 0.0, 0.0)
"""A pipeline that had traffic has none in this window: known to be zero, since every source has said so."""


def figures(tally: Tally) -> dict[str, Figure]:
    """Every window metric this tally has data for, by name."""
    found: dict[str, Figure] = {}
    if tally.requests:
        found["requests"] = _sum(tally.requests, tally.requests)
    if tally.answers:
        found["answers"] = _sum(tally.answers, tally.answers)
        found["error_rate"] = _share(sum(tally.outcomes.get(status, 0) for status in FAILED), tally.answers)
        found["cancel_rate"] = _share(tally.outcomes.get("cancelled", 0), tally.answers)
        if tally.input_tokens:
            found["input_tokens"] = _sum(tally.answers, tally.input_tokens)
            found["cached_tokens"] = _sum(tally.answers, tally.cached_tokens)
        if tally.output_tokens:
            found["output_tokens"] = _sum(tally.answers, tally.output_tokens)
        if tally.priced:
            found["cost"] = _sum(tally.priced, tally.cost_micros / 1_000_000)
        found["unpriced"] = _sum(tally.answers, tally.answers - tally.priced)
    for metric in _MEANS:
        _mean(found, metric, tally.moments.get(metric), tally.histograms.get(metric))
    return found


def window_row(
    figure: Figure,
    make: Callable[..., Window],
    metric: str,
) -> Window:
    """The event for one figure; ``make`` has the series, times, revision and completeness bound."""
    return make(
        metric=metric,
        unit=UNITS[metric],
        n=figure.n,
        total=figure.total,
        total_sq=figure.total_sq,
        value=figure.value,
        p50=figure.p50,
        p95=figure.p95,
        p99=figure.p99,
        histogram=figure.histogram,
    )


def _sum(n: int, total: float) -> Figure:
    return Figure(n, float(total), 0.0, float(total))


def _share(count: int, n: int) -> Figure:
    return Figure(n, float(count), float(count), count / n)


def _mean(found: dict[str, Figure], metric: str, sums: Sums | None, histogram: dict[int, int] | None) -> None:
    if sums is None or not sums.n:
        return
    figure = Figure(sums.n, sums.total, sums.total_sq, sums.mean)
    if histogram:
        p50, p95, p99 = (sketch.quantile(histogram, q) for q in (0.5, 0.95, 0.99))
        figure = figure._replace(p50=p50, p95=p95, p99=p99, histogram=dict(sorted(histogram.items())))
    found[metric] = figure
