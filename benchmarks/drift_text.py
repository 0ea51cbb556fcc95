"""Text drift on BANKING77: ours on one budget, with slices and without, beside tests and detectors without one.

Some calls without a change come first; then a share of the traffic is changed, each way in a copy of all that watches.
A long run has no change at all.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from itertools import islice
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.drift_corpus import CHANGES, DATA, KNOWN, SLICES, Change, Corpus, available, calls, corpus, plain
from benchmarks.drift_peers import PEERS
from benchmarks.drift_watches import METRICS, RUN_LENGTH, Features, Ours, Seen
from benchmarks.frame import Table, number
from benchmarks.usage import rss_mb
from streams.detectors.budget import Series

__all__ = ["DATA", "NOTE", "Measured", "available", "measure"]

SHARE = 0.3
BEFORE, AFTER = 3_000, 2_000
"""Calls before the change, and after it within which it must be found."""
QUIET, QUIET_LONG = 10_000, 200_000
RESIDENT_CALLS = 1_000
WHOLE, SLICED = "tidemill, whole traffic", "tidemill, slices too"
OURS: dict[str, tuple[str, ...]] = {WHOLE: ("",), SLICED: SLICES}
NOTE = (
    f"Text: questions of {KNOWN} of BANKING77's intents, {BEFORE:,} calls before the change; one call is one update of "
    f"the clock, the budget one false alarm in {RUN_LENGTH:,} calls for all K series together. tidemill has "
    f"{len(METRICS)} metrics a slice: vectors and learned words against a reference of 3,000 calls, four scalars "
    "(length, share of unseen words, word length, distance to the nearest reference vector) and two of the words of 50 "
    f"calls in a row; slices are the whole, five tenants and two prompt versions ({len(SLICES)}). River's detectors "
    "and KS watch the four scalars, Evidently the text, or our vectors, by its own defaults (an area under the curve "
    "above 0.55). CPU time of tidemill, river and KS includes that of the features they watch."
)


class Measured(NamedTuple):
    """What ``measure`` gives back."""

    tables: list[Table]
    figures: dict[str, Any]
    found_share: float
    """Of all changes, found by ours with slices within AFTER calls."""
    false: int
    """False alarms of ours with slices, all series together, in the run without a change …"""
    allowed: float
    """… and the most that the budget allows, on average."""
    wealth: list[tuple[str, list[float]]]
    """Of a few series, call by call, over one change: for a picture."""


class Named(NamedTuple):
    """Ours with slices at its first alarm."""

    alarmed: int
    """Series that alarmed …"""
    changed: int
    """… and series that e-BH names, judged together."""


def measure(long: bool) -> Measured:
    """Each kind of change with several seeds, and one run without any: all watch the same calls."""
    seeds = range(10 if long else 2)
    quiet_calls = QUIET_LONG if long else QUIET
    delays: dict[str, dict[str, list[int | None]]] = {name: {c: [] for c in CHANGES} for name in (*OURS, *PEERS)}
    named: dict[str, list[Named]] = {kind: [] for kind in CHANGES}
    for seed in seeds:
        watching = Watching(seed)
        watching.run(plain, 0.0, BEFORE)
        for kind, change in CHANGES.items():
            changed = deepcopy(watching)
            for name, delay in changed.run_until_found(change, AFTER).items():
                delays[name][kind].append(delay)
            named[kind] += changed.named
    quiet = Watching(len(seeds))
    quiet.run(plain, 0.0, quiet_calls)
    resident = {name: resident_mb(name) for name in delays}
    rows = [
        (
            name,
            str(quiet.series[name]),
            *(_cell(found) for found in by_change.values()),
            f"{quiet.alarms[name] / quiet_calls * 10_000:.1f}",
            number(quiet.cpu_s(name) / quiet_calls * 1e6),
            number(resident[name]),
        )
        for name, by_change in delays.items()
    ]
    columns = (
        "",
        "K",
        *CHANGES,
        "false alarms in 10,000 calls",
        "CPU ms for 1,000 calls",
        "memory beside texts and features, MB",
    )
    title = f"Text: {SHARE:.0%} of traffic changed; median delay in calls (found, of {len(seeds)}, within {AFTER:,})"
    ours = [delay for found in delays[SLICED].values() for delay in found]
    return Measured(
        [Table(title, columns, rows), _quiet_table(quiet, quiet_calls), _named_table(named)],
        {
            "delays": delays,
            "series": quiet.series,
            "quiet_calls": quiet_calls,
            "false": quiet.alarms,
            "false_by_series": {"/".join(series): n for series, n in quiet.who.items()},
            "cpu_us_a_call": {name: quiet.cpu_s(name) / quiet_calls * 1e6 for name in delays},
            "resident_mb": resident,
            "named": {kind: [each._asdict() for each in found] for kind, found in named.items()},
        },
        fmean(delay is not None for delay in ours),
        quiet.alarms[SLICED],
        quiet_calls / RUN_LENGTH,
        _wealth(),
    )


class Watching:
    """All that watches the same calls."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.texts: Corpus = corpus(seed)
        self.features = Features(self.texts, seed)
        self.ours = {name: Ours(self.features, seed, slices) for name, slices in OURS.items()}
        self._peers = {name: make(self.texts, self.features) for name, make in PEERS.items()}
        self.series = {name: each.series for name, each in self.ours.items()}
        self.series |= {name: each.series for name, each in self._peers.items()}
        self.alarms = dict.fromkeys(self.series, 0)
        self.who: dict[Series, int] = {}
        """Alarms of ours with slices, by series."""
        self.named: list[Named] = []
        self._took = dict.fromkeys(("features", *self.series), 0.0)

    def run(self, change: Change, share: float, n: int) -> None:
        """Let all watch so many calls."""
        for call in islice(calls(self.texts, change, share, 1_000 + self._seed), n):
            self.update(self._timed("features", self.features.of, call))

    def run_until_found(self, change: Change, n: int) -> dict[str, int | None]:
        """Calls from the change, which is now, to each one's first alarm; None where there was none within ``n``."""
        found: dict[str, int | None] = dict.fromkeys(self.series)
        for index, call in enumerate(islice(calls(self.texts, change, SHARE, 2_000 + self._seed), n), 1):
            for name in self.update(self.features.of(call)):
                if found[name] is None:
                    found[name] = index
            if None not in found.values():
                break
        return found

    def update(self, seen: Seen) -> list[str]:
        """Who alarmed."""
        names = []
        for name, ours in self.ours.items():
            if alarmed := self._timed(name, ours.update, seen):
                names.append(name)
                self.alarms[name] += len(alarmed)
                if name == SLICED:
                    self.named.append(Named(len(alarmed), len(ours.changed())))
                    for series in alarmed:
                        self.who[series] = self.who.get(series, 0) + 1
        for name, peer in self._peers.items():
            if self._timed(name, peer.update, seen):
                names.append(name)
                self.alarms[name] += 1
        return names

    def cpu_s(self, name: str) -> float:
        """CPU seconds so far; with those of the features, where they are watched."""
        return self._took[name] + (0.0 if name.startswith("Evidently, text") else self._took["features"])

    def _timed(self, name: str, act: Callable[[Any], Any], value: Any) -> Any:
        begun = time.process_time()
        made = act(value)
        self._took[name] += time.process_time() - begun
        return made


def resident_mb(name: str) -> float:
    """What one that watches adds to a process that has the texts and features: megabytes, libraries included."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_resident_mb, name).result()


def _resident_mb(name: str) -> float:
    texts = corpus(0)
    features = Features(texts, 0)
    seen = [features.of(call) for call in islice(calls(texts, plain, 0.0, 0), RESIDENT_CALLS)]
    before = rss_mb(os.getpid())
    watch: Any = Ours(features, 0, OURS[name]) if name in OURS else PEERS[name](texts, features)
    for each in seen:
        watch.update(each)
    return rss_mb(os.getpid()) - before


def _quiet_table(quiet: Watching, n: int) -> Table:
    rows = [
        (
            name,
            str(ours.series),
            f"{quiet.alarms[name]}",
            f"{n / RUN_LENGTH:g}",
            f"{ours.state_bytes() / 1e3:,.0f}",
            "holds" if quiet.alarms[name] <= n / RUN_LENGTH else "does not hold",
        )
        for name, ours in quiet.ours.items()
    ]
    columns = ("", "K", "false alarms", "the budget allows", "state, kB", "")
    return Table(f"Text without a change: {n:,} calls, every metric and slice on one budget", columns, rows)


def _named_table(named: dict[str, list[Named]]) -> Table:
    rows = []
    for kind, found in named.items():
        first = [f"{fmean(each.alarmed for each in found):.1f}", f"{fmean(each.changed for each in found):.1f}"]
        rows.append((kind, *(first if found else ("–", "–"))))
    columns = ("change", "series that alarmed", "series named together")
    return Table("Text, slices too: which of the 64 series have changed, at an alarm (mean)", columns, rows)


def _wealth() -> list[tuple[str, list[float]]]:
    """Ours without slices over unseen intents that come after BEFORE calls."""
    watching = Watching(0)
    watching.run(plain, 0.0, BEFORE - 1_000)
    ours = watching.ours[WHOLE]
    lines: dict[str, list[float]] = {metric: [] for metric in METRICS}
    stream = (
        calls(watching.texts, CHANGES["unseen intents"], 0.0, 5),
        calls(watching.texts, CHANGES["unseen intents"], SHARE, 6),
    )
    for part, n in zip(stream, (1_000, 600), strict=True):
        for call in islice(part, n):
            ours.update(watching.features.of(call))
            for series, value in ours.wealth().items():
                lines[series.metric].append(value)
    return list(lines.items())


def _cell(delays: Sequence[int | None]) -> str:
    found = sorted(delay for delay in delays if delay is not None)
    return f"{number(found[len(found) // 2]) if found else '–'} ({len(found)})"
