"""Drift of real questions (``--texts FILE``): how soon it is found, beside how often what is not there is found.

The same streams for ours and the peers (``drift_texts``, ``drift_monitors``); ours also watches a long stream without
any change, with every metric and slice on.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.drift_monitors import RUN_LENGTH, WINDOW, Monitor, Ours, monitors
from benchmarks.drift_texts import INJECTIONS, SHARE, Text, pool, reference, stream
from benchmarks.frame import Goal, Table, number

REFERENCE, QUIET, CHANGED = 4_000, 1_000, 4_000
"""Calls of the reference, of a stream before its change, and at most after it."""
WITHIN = 2_000
"""Calls after the change within which a drift should be found."""
SLOW = "evidently, text"
"""A window takes it seconds: it gets fewer streams."""


class Found(NamedTuple):
    """One stream's outcome."""

    false: int
    """Alarms before the change."""
    delay: int | None
    """Calls from the change to the first alarm after it."""
    what: str
    us_per_call: float


def watch(monitor: Monitor, calls: Iterator[tuple[str, str]], quiet: int) -> Found:
    """Run until the first alarm after ``quiet`` calls, or the stream's end."""
    false, spent, number = 0, 0.0, 0
    for number, (text, slice_) in enumerate(calls, 1):
        begun = time.perf_counter()
        what = monitor.update(text, slice_)
        spent += time.perf_counter() - begun
        if what and number > quiet:
            return Found(false, number - quiet, what, spent / number * 1e6)
        false += what is not None
    return Found(false, None, "", spent / max(1, number) * 1e6)


def measure(texts: Sequence[Text], *, long: bool) -> tuple[dict[str, Any], list[Goal], list[Table]]:
    """Figures, goals and tables. Some minutes; a quarter of an hour with ``long``."""
    found = {
        name: {kind: [_run(texts, name, kind, seed) for seed in range(_streams(name, long))] for kind in INJECTIONS}
        for name in monitors([], 0)
    }
    ours = [one for runs in found["tidemill"].values() for one in runs]
    calls = 200_000 if long else 20_000
    false, series = _quiet(texts, calls)
    goals = [
        Goal(
            "text_found_share", fmean(one.delay is not None and one.delay <= WITHIN for one in ours), "", 0.95, "higher"
        ),
        Goal("text_false", false, f"alarms in {calls:,} calls", calls / RUN_LENGTH, "lower"),
    ]
    figures = {
        name: {kind: [one._asdict() for one in runs] for kind, runs in kinds.items()} for name, kinds in found.items()
    }
    memory = {name: _memory_kb(texts, name) for name in found}
    return figures | {"series": series, "memory_kb": memory}, goals, [_table(found, series, memory)]


def _streams(name: str, long: bool) -> int:
    return (3 if long else 1) if name == SLOW else (10 if long else 3)


def _run(texts: Sequence[Text], name: str, kind: str, seed: int) -> Found:
    drawn = pool(texts, seed)
    monitor = monitors(reference(drawn, REFERENCE, seed), seed)[name]()
    return watch(monitor, stream(drawn, INJECTIONS[kind], seed, QUIET, CHANGED), QUIET)


def _quiet(texts: Sequence[Text], calls: int) -> tuple[int, int]:
    """Alarms of ours in a stream without a change, and the detectors on its budget."""
    drawn = pool(texts, 0)
    monitor = Ours(reference(drawn, REFERENCE, 0), 0)
    return watch(monitor, stream(drawn, None, 0, calls, 0), calls).false, monitor.series


def _memory_kb(texts: Sequence[Text], name: str) -> float:
    """What a monitor holds after its first window of calls."""
    drawn = pool(texts, 0)
    known, calls = reference(drawn, REFERENCE, 0), list(stream(drawn, None, 0, WINDOW, 0))
    watch(monitors(known, 0)[name](), iter(calls), WINDOW)  # what is imported and cached is nobody's
    tracemalloc.start()
    monitor = monitors(known, 0)[name]()
    watch(monitor, iter(calls), WINDOW)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / 1024


def _table(found: dict[str, dict[str, list[Found]]], series: int, memory: Mapping[str, float]) -> Table:
    rows = []
    for name, kinds in found.items():
        everything = [one for runs in kinds.values() for one in runs]
        cells = [_delay(runs) for runs in kinds.values()]
        false = fmean(one.false for one in everything) / QUIET * 1_000
        cost = number(fmean(one.us_per_call for one in everything))
        rows.append((name, *cells, number(false), cost, number(memory[name])))
    columns = ("calls until found (of streams)", *INJECTIONS, "false alarms in 1,000 calls", "µs a call", "kB")
    return Table(f"Drift of {SHARE:.0%} of the questions; ours: {series} detectors on one budget", columns, rows)


def _delay(runs: Sequence[Found]) -> str:
    delays = [one.delay for one in runs if one.delay is not None]
    return f"{fmean(delays):,.0f} ({len(delays)} of {len(runs)})" if delays else f"– (0 of {len(runs)})"
