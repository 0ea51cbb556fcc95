"""Figures of an engine from its Prometheus page: vLLM's names. Pure.

Totals become rates by comparison with the page before; an engine that has started anew has no rates once. What is no
finite number on the page (NaN, +Inf) is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from streams.host.machine import Figures
from tidemill.metrics import HostMetric

NOW: dict[str, HostMetric] = {
    "vllm:num_requests_running": "requests_running",
    "vllm:num_requests_waiting": "requests_waiting",
    "vllm:kv_cache_usage_perc": "kv_cache_share",
}
"""What is true now, by vLLM's name. (vLLM's "perc" is a share, 1 means full.)"""
RATES: dict[str, HostMetric] = {
    "vllm:num_preemptions_total": "preemptions_per_s",
    "vllm:prompt_tokens_total": "input_tokens_per_s",
    "vllm:generation_tokens_total": "output_tokens_per_s",
}
HITS, LOOKED_UP = "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"
_SHARES = ("kv_cache_share",)


class Scraped(NamedTuple):
    """One page: sums over an engine's labels (a server may hold several engines), the largest of shares."""

    at_s: float
    values: Mapping[str, float]


def scraped(page: str, at_s: float) -> Scraped:
    """The samples we know of a page taken at ``at_s`` (monotonic seconds). Raises ValueError on any other page."""
    known = {*NOW, *RATES, HITS, LOOKED_UP}
    found: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in known:
                found.setdefault(sample.name, []).append(sample.value)
    return Scraped(at_s, {name: _over_labels(name, values) for name, values in found.items()})


def figures(now: Scraped, before: Scraped | None) -> Figures:
    """What the page says, and rates since ``before``; what cannot be known is left out."""
    return {name: value for name, value in _figures(now, before).items() if isfinite(value)}


def _over_labels(name: str, values: list[float]) -> float:
    """NaN, or infinite, where one of them is."""
    total = sum(values)
    return max(values) if NOW.get(name) in _SHARES and isfinite(total) else total


def _figures(now: Scraped, before: Scraped | None) -> Figures:
    found: Figures = {name: now.values[theirs] for theirs, name in NOW.items() if theirs in now.values}
    if before is None or now.at_s <= before.at_s:
        return found
    grown = {name: now.values[name] - before.values.get(name, 0.0) for name in now.values}
    if any(grown[name] < 0 for name in (*RATES, HITS, LOOKED_UP) if name in grown):
        return found  # it has started anew
    for theirs, name in RATES.items():
        if theirs in grown:
            found[name] = grown[theirs] / (now.at_s - before.at_s)
    if grown.get(LOOKED_UP, 0) > 0:
        found["prefix_hit_share"] = grown.get(HITS, 0.0) / grown[LOOKED_UP]
    return found
