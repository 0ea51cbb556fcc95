"""From a tally to window metrics: mean, share or sum, with quantiles where there is a histogram.

Absence is not zero: a metric without observations has no figure. Units and meanings: docs/reference/windows.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.windows.tally import Sums, Tally
from tidemill import sketch
from tidemill.events import Window
from tidemill.metrics import DURATIONS, TEXT_METRICS, UNITS

COUNTS = frozenset({"requests", "answers", "input_tokens", "cached_tokens", "output_tokens", "cost", "unpriced"})
"""Sums per window: their value is as sure with one observation as with many."""
FAILED = ("error", "timeout")
"""Not ``rejected``: that is the caller's fault, not the service's."""
TEXT = frozenset(TEXT_METRICS)
_MEANS = frozenset((*DURATIONS, *TEXT_METRICS, "truncated_rate", "other_finish_rate", "quality", "thumb"))


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
    share: float = 1.0
    """Share of the calls (or answers) that were looked at for it."""
    each: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None
    """The different observations and how many there are of each, where they are known."""

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
    for metric, sums in tally.moments.items():
        if metric in _MEANS and sums.n:
            found[metric] = _mean(sums, tally.histograms.get(metric), sample_share(metric, tally))
    return found


def observed(metric: str, tally: Tally) -> tuple[int, float] | None:
    """Observations of a metric and their sum, so that their quotient is its mean: over calls, or over answers for
    tokens and cost. None without any, and for metrics of words, which need a reference.
    """
    if sums := tally.moments.get(metric):
        return (sums.n, sums.total) if sums.n else None
    match metric:
        case "error_rate":
            n, total = tally.answers, float(sum(tally.outcomes.get(status, 0) for status in FAILED))
        case "cancel_rate":
            n, total = tally.answers, float(tally.outcomes.get("cancelled", 0))
        case "input_tokens" | "cached_tokens" | "output_tokens":
            told = tally.output_tokens if metric == "output_tokens" else tally.input_tokens
            n, total = tally.answers if told else 0, float(getattr(tally, metric))
        case "cost":
            n, total = tally.priced, tally.cost_micros / 1_000_000
        case "unpriced":
            n, total = tally.answers, float(tally.answers - tally.priced)
        case _:
            return None
    return (n, total) if n else None


def sample_share(metric: str, tally: Tally) -> float:
    """Share of the requests (metrics of the questions' text) or answers (of the answers') that was looked at."""
    if metric not in TEXT:
        return 1.0
    looked, of = (
        (tally.sampled, tally.requests) if metric.startswith("input_") else (tally.sampled_answers, tally.answers)
    )
    return min(1.0, looked / of) if looked and of else 1.0


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
        sample_share=figure.share,
    )


def _sum(n: int, total: float) -> Figure:
    return Figure(n, float(total), 0.0, float(total))


def _share(count: int, n: int) -> Figure:
    return Figure(n, float(count), float(count), count / n)


def _mean(sums: Sums, histogram: dict[int, int] | None, share: float) -> Figure:
    if not histogram:
        return Figure(sums.n, sums.total, sums.total_sq, sums.mean, share=share)
    ordered = dict(sorted(histogram.items()))
    p50, p95, p99 = sketch.quantiles(ordered, (0.5, 0.95, 0.99))
    return Figure(sums.n, sums.total, sums.total_sq, sums.mean, p50, p95, p99, ordered, share)
