"""Text drift on BANKING77: ours on one budget, with slices and without, and stage 2 as it is deployed, beside tests and
detectors without a budget.

Some calls without a change come first; then a share of the traffic is changed, each way in a copy of all that watches.
Other runs have no change at all. Each part here runs in a process of its own (``parts``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from benchmarks.drift_corpus import CHANGES, SLICES, Change, Corpus, available, calls, corpus, plain
from benchmarks.drift_peers import PEERS
from benchmarks.drift_stage2 import RATES, Said, Stage2
from benchmarks.drift_watches import METRICS, Features, Ours, Seen
from benchmarks.usage import rss_mb
from streams.detectors.budget import Series

SHARE = 0.3
BEFORE, AFTER = 3_000, 2_000
"""Calls before the change, and after it within which it must be found."""
SEEDS, SEEDS_LONG = 2, 10
QUIET, QUIET_LONG = 10_000, 100_000
"""Calls of a run without a change; ours and peers have one, with ``long`` two, stage 2 has one as long as all these."""
RESIDENT_CALLS = 1_000
WHOLE, SLICED = "tidemill, whole traffic", "tidemill, slices too"
OURS: dict[str, tuple[str, ...]] = {WHOLE: ("",), SLICED: SLICES}
STAGE2 = {f"tidemill, stage 2, {rate} {'call' if rate == 1 else 'calls'} a second": rate for rate in RATES}


class Named(NamedTuple):
    """Ours with slices at its first alarm."""

    alarmed: int
    """Series that alarmed …"""
    changed: int
    """… and series that e-BH names, judged together."""


class Changed(NamedTuple):
    """One seed: calls to each one's first alarm, by who watches, by kind of change; None: not found."""

    delays: dict[str, dict[str, int | None]]
    named: dict[str, list[Named]]
    first: dict[str, Said]
    """Stage 2's first alarm, by kind of change."""


class Quiet(NamedTuple):
    """A run without a change: figures by who watches."""

    calls: int
    updates: dict[str, int]
    """Of the clock."""
    allowed: dict[str, float]
    """False alarms that the budget allows, on average; ours only."""
    series: dict[str, int]
    alarms: dict[str, int]
    who: dict[str, int]
    """Alarms of ours with slices and of stage 2, by series."""
    cpu_s: dict[str, float]
    state_bytes: dict[str, int]


Wealth = list[tuple[str, list[float]]]
"""Of a few series, call by call, over one change: for a picture."""
Part = Changed | Quiet | float | Wealth


def parts(long: bool) -> dict[str, Callable[[], Part]]:
    """What is measured, by name; none without the texts."""
    if not available():
        return {}
    seeds, runs, n = (SEEDS_LONG, 2, QUIET_LONG) if long else (SEEDS, 1, QUIET)
    quiet: dict[str, Callable[[], Part]] = {
        f"no change, {n:,} calls, seed {seeds + run}": partial(quiet_run, seeds + run, n) for run in range(runs)
    }
    quiet |= {f"no change, {runs * n:,} calls, {name}": partial(quiet_stage2, name, runs * n) for name in STAGE2}
    changed: dict[str, Callable[[], Part]] = {
        f"changes, seed {seed}": partial(changed_run, seed) for seed in range(seeds)
    }
    changed |= {
        f"changes, seed {seed}, {name}": partial(changed_stage2, name, seed) for name in STAGE2 for seed in range(seeds)
    }
    memory: dict[str, Callable[[], Part]] = {
        f"memory, {name}": partial(resident_mb, name) for name in (*OURS, *STAGE2, *PEERS)
    }
    return quiet | changed | memory | {"wealth": wealth}


def changed_run(seed: int) -> Changed:
    """Each kind of change: all watch the same calls."""
    watching = Watching(seed)
    watching.run(plain, 0.0, BEFORE)
    delays: dict[str, dict[str, int | None]] = {name: {} for name in watching.series}
    named = {}
    for kind, change in CHANGES.items():
        changed = deepcopy(watching)
        for name, delay in changed.run_until_found(change, AFTER).items():
            delays[name][kind] = delay
        named[kind] = changed.named
    return Changed(delays, named, {})


def changed_stage2(name: str, seed: int) -> Changed:
    """Each kind of change: stage 2 as it is deployed."""
    texts = corpus(seed)
    watching = Stage2(texts, seed, STAGE2[name])
    for _ in watching.run(calls(texts, plain, 0.0, 1_000 + seed), BEFORE):
        pass
    delays: dict[str, int | None] = {}
    first = {}
    for kind, change in CHANGES.items():
        said = next(deepcopy(watching).run(calls(texts, change, SHARE, 2_000 + seed), AFTER), None)
        delays[kind] = said and said.call - BEFORE
        if said:
            first[kind] = said
    return Changed({name: delays}, {}, first)


def quiet_run(seed: int, n: int) -> Quiet:
    """No change: ours and peers."""
    watching = Watching(seed)
    watching.run(plain, 0.0, n)
    return Quiet(
        n,
        dict.fromkeys(watching.series, n),
        {name: ours.budget.spend.allowed for name, ours in watching.ours.items()},
        watching.series,
        watching.alarms,
        {"/".join(series): count for series, count in watching.who.items()},
        {name: watching.cpu_s(name) for name in watching.series},
        {name: ours.state_bytes() for name, ours in watching.ours.items()},
    )


def quiet_stage2(name: str, n: int) -> Quiet:
    """No change: stage 2 as it is deployed."""
    texts, seed = corpus(SEEDS_LONG), SEEDS_LONG
    watching, who = Stage2(texts, seed, STAGE2[name]), dict[str, int]()
    for said in watching.run(calls(texts, plain, 0.0, 1_000 + seed), n):
        series = f"{name}: {said.rule}/{said.slice}"
        who[series] = who.get(series, 0) + 1
    spent = watching.pipeline.spent
    return Quiet(
        n,
        {name: spent.updates},
        {name: spent.allowed},
        {name: spent.series},
        {name: sum(who.values())},
        who,
        {name: watching.cpu_s},
        {name: watching.state_bytes},
    )


def resident_mb(name: str) -> float:
    """What one that watches adds to a process that has the texts and features: megabytes, libraries included."""
    texts = corpus(0)
    features = Features(texts, 0)
    stream = calls(texts, plain, 0.0, 0)
    seen = [features.of(call) for call in islice(stream, RESIDENT_CALLS)]
    before = rss_mb(os.getpid())
    if name in STAGE2:
        for _ in Stage2(texts, 0, STAGE2[name]).run(iter([each.call for each in seen]), RESIDENT_CALLS):
            pass
        return rss_mb(os.getpid()) - before
    watch: Any = Ours(features, 0, OURS[name]) if name in OURS else PEERS[name](texts, features)
    for each in seen:
        watch.update(each)
    return rss_mb(os.getpid()) - before


def wealth() -> Wealth:
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
