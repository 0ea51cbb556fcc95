"""What the streaming core costs against traffic and against series, and what it holds in memory.

Traffic: 10 series at 100, 1,000 and 10,000 events/s: stage 2 sees partials, so its cost should hardly move.
Series: 10, 1,000 and 10,000 series, each with an answer a second, and one pipeline with 500.
Soak: the heaviest of them for a while (20 minutes with ``--long``); memory is read once a second.
Everything runs end to end in real time: producer, broker, store, meter, streams and sink on the same cores.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from benchmarks.frame import Goal, Result, Table, number
from benchmarks.load import Plan
from benchmarks.place import place, start
from benchmarks.usage import cpu_s, rss_mb
from tidemill.local.process import Children
from tidemill.settings import Settings

PARTS = ("kafka", "store")
ROLES = ("meter", "streams", "sink")
SECONDS = 30
SETTLE_S = 8
SETTINGS = """
engines: {local: {kind: provider, url: 'http://127.0.0.1:1/v1'}}
windows: {max_series: 512, max_unknown_pipelines: 2000}
"""
"""Windows of ten seconds, as by default; pipelines need no settings of their own to be measured."""


class Shape(NamedTuple):
    """A load: events a second over pipelines × versions."""

    name: str
    rate: int
    pipelines: int
    versions: int

    @property
    def series(self) -> int:
        """Series in all."""
        return self.pipelines * self.versions


class Cost(NamedTuple):
    """What the roles cost under one load."""

    cores: Mapping[str, float]
    """CPU seconds a second, by role."""
    rss_mb: Mapping[str, list[float]]
    """Memory by role, once a second."""


TRAFFIC = (Shape("1x", 100, 5, 2), Shape("10x", 1_000, 5, 2), Shape("100x", 10_000, 5, 2))
SERIES = (
    Shape("10 series", 2_000, 5, 2),
    Shape("1,000 series", 2_000, 100, 10),
    Shape("one pipeline of 500", 2_000, 1, 500),
    Shape("10,000 series", 20_000, 1_000, 10),
)


def measure(*, long: bool) -> Result:
    """Every shape on fresh roles; the last one again as the soak."""
    traffic = {shape: _cost(shape, SECONDS) for shape in TRAFFIC}
    series = {shape: _cost(shape, SECONDS) for shape in SERIES}
    soak = _cost(Shape("soak", 5_000, 100, 10), 1_200 if long else 120)
    heaviest = series[SERIES[-1]]
    least, most = (traffic[shape].cores["streams"] for shape in (TRAFFIC[0], TRAFFIC[-1]))
    peak = max(max(cost.rss_mb[role]) for cost in (*series.values(), soak) for role in ROLES)
    growth = max(_growth_mb_per_h(soak.rss_mb[role]) for role in ROLES) if long else None
    goals = [
        Goal("stage2_cpu_100x_over_1x", most / least, "", 1.3, "lower"),
        Goal("series_10k_cpu_share", heaviest.cores["streams"], "cores", 0.8, "lower"),
        Goal("rss_mb_max", peak, "MB", 250, "lower"),
        Goal("rss_growth_mb_per_h", growth, "MB/h", 5, "lower"),
    ]
    found = {**traffic, **series}
    return Result(
        "scale",
        {shape.name: {"cores": cost.cores, "rss_mb": _peaks(cost)} for shape, cost in found.items()}
        | {"soak": {"cores": soak.cores, "rss_mb": _peaks(soak)}},
        goals,
        tables=[_table("Cost against traffic", traffic), _table("Cost against series", series)],
        notes=[
            f"{SECONDS} s each, in real time; half of the events are requests. Cores: CPU seconds a second of a role.",
            "Memory growth is taken from a soak of 20 minutes; `--long` runs it.",
        ],
    )


def _cost(shape: Shape, seconds: int) -> Cost:
    with place([], text=SETTINGS) as (settings, children):
        pids = {name: start(settings, children, name) for name in (*PARTS, *ROLES)}
        return _watch(settings, children, pids, shape, seconds)


def _watch(settings: Settings, children: Children, pids: Mapping[str, int], shape: Shape, seconds: int) -> Cost:
    plan = Plan(shape.rate, seconds + SETTLE_S, shape.pipelines, shape.versions)
    load = subprocess.Popen(plan.command(settings.kafka_bootstrap), stdout=subprocess.DEVNULL)
    try:
        time.sleep(SETTLE_S)
        begun = time.monotonic()
        before = {role: cpu_s(pid) for role, pid in pids.items()}
        held: dict[str, list[float]] = {role: [] for role in pids}
        while time.monotonic() - begun < seconds:
            for role, pid in pids.items():
                held[role].append(rss_mb(pid))
            time.sleep(1.0)
        took = time.monotonic() - begun
        cores = {role: round((cpu_s(pid) - before[role]) / took, 4) for role, pid in pids.items()}
    finally:
        load.kill()
        load.wait()
    return Cost(cores, held)


def _growth_mb_per_h(held: list[float]) -> float:
    """Slope of the memory over the second half of the soak, when every cache is full."""
    later = np.asarray(held[len(held) // 2 :])
    return float(np.polyfit(np.arange(len(later)), later, 1)[0]) * 3600


def _peaks(cost: Cost) -> dict[str, float]:
    return {role: round(max(held), 1) for role, held in cost.rss_mb.items()}


def _table(title: str, found: Mapping[Shape, Cost]) -> Table:
    columns = ("load", "events/s", "series", *(f"{r}, cores" for r in (*ROLES, *PARTS)), *(f"{r}, MB" for r in ROLES))
    rows = [
        (
            shape.name,
            f"{shape.rate:,}",
            f"{shape.series:,}",
            *(number(cost.cores[role]) for role in (*ROLES, *PARTS)),
            *(number(max(cost.rss_mb[role])) for role in ROLES),
        )
        for shape, cost in found.items()
    ]
    return Table(title, columns, rows)
