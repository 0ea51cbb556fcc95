"""How fresh what people see is: from produced to queryable in ClickHouse, and from a window's end to its alarm.

At each rate the real broker, store, meter, streams and sink run on this machine beside a producer in real time.
Probes (20 answers a second) are looked for in the table every 20 ms; ten pipelines fail in every other second, so
that every window of one second ends in ten threshold events, whose arrival on the topic is timed.
"""

from __future__ import annotations

import subprocess
import threading
import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.frame import Goal, Result, Table, number
from benchmarks.load import Plan
from benchmarks.place import place
from tidemill.clock import SystemClock
from tidemill.errors import Retry
from tidemill.io import kafka
from tidemill.io.clickhouse import Store, StoreError
from tidemill.local.process import Children
from tidemill.settings import Settings
from tidemill.topics import THRESHOLDS

RATES = (1_000, 5_000, 20_000)
FLIPS = 10
PROBES = 20
GOAL_RATE = 5_000
LOOK_EVERY_S = 0.02
DRAIN_S = 10.0
WARM_S = 5
ROLES = ("meter", "streams", "sink")
PIPELINE = """
  {name}:
    engine: local
    champion: {name}-v1
    rules: [{{name: flip, metric: error_rate, above: 0.5, for_windows: 1, min_count: 1}}]
"""
SETTINGS = (
    "engines: {local: {kind: provider, url: 'http://127.0.0.1:1/v1'}}\nwindows: {size_s: 1}\npipelines:"
    + "".join(PIPELINE.format(name=f"flip-{number}") for number in range(FLIPS))
)


class Seen(NamedTuple):
    """Delays of one rate, ms."""

    visible: list[float]
    threshold: list[float]
    lost: int
    """Probes that were produced and never seen in the table."""


def measure(*, long: bool) -> Result:
    """Rates one after the other on one warm stack."""
    seconds = 120 if long else 30
    found: dict[int, Seen] = {}
    with place(["kafka", "store", *ROLES], text=SETTINGS) as (settings, children):
        _rate(settings, children, 500, WARM_S)
        for rate in RATES:
            found[rate] = _rate(settings, children, rate, seconds)
    at_goal = found[GOAL_RATE]
    goals = [
        Goal("threshold_after_window_p99_s", _at(at_goal.threshold, 99), "s", 1.5, "lower"),
        Goal("visible_p99_s", _at(at_goal.visible, 99), "s", 2.0, "lower"),
    ]
    figures = {str(rate): _figures(seen) for rate, seen in found.items()}
    return Result(
        "freshness",
        figures,
        goals,
        tables=[_table(found)],
        notes=[
            f"{seconds} s at each rate; producer, broker, store and roles share the cores. A window of event time can "
            "close 0.5 s after its end at the earliest: that long an event may be on its way without being late.",
            "For comparison, published by others: Langfuse shows traces after up to 5 min and 30 s, MLRun's monitoring "
            "windows are 10 min.",
        ],
    )


def _rate(settings: Settings, children: Children, rate: int, seconds: int) -> Seen:
    clock = SystemClock()
    begun_ms = clock.now_ms()
    stop = threading.Event()
    watchers = [_Visible(settings, begun_ms, stop), _Alarms(settings, begun_ms, stop)]
    for watcher in watchers:
        watcher.start()
        watcher.set.wait(60)
    plan = Plan(rate, seconds, flips=FLIPS, probes=PROBES)
    subprocess.run(plan.command(settings.kafka_bootstrap), check=True, stdout=subprocess.DEVNULL)
    wanted = PROBES * seconds - 1
    end = time.monotonic() + DRAIN_S
    while time.monotonic() < end and len(watchers[0].delays_ms) < wanted:
        time.sleep(0.1)
    stop.set()
    for watcher in watchers:
        watcher.join(30)
    visible, alarms = (watcher.delays_ms for watcher in watchers)
    return Seen(visible, alarms, max(0, wanted - len(visible)))


class _Watcher(threading.Thread):
    """Notes delays until told to stop. ``set`` is set once it watches."""

    def __init__(self, settings: Settings, begun_ms: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._settings, self._begun_ms, self._stop_event = settings, begun_ms, stop
        self._clock = SystemClock()
        self.set = threading.Event()
        self.delays_ms: list[float] = []


class _Visible(_Watcher):
    """When each probe can be selected."""

    def run(self) -> None:
        store = Store(self._settings)
        known: set[str] = set()
        sql = (
            "SELECT call_id, time_ms FROM responses WHERE pipeline = 'probe' AND time >= "
            "fromUnixTimestamp64Milli({since:Int64}) AND time_ms >= {since:Int64}"
        )
        newest = self._begun_ms
        self.set.set()
        while not self._stop_event.is_set():
            try:
                rows = store.rows(sql, {"since": newest - 10_000})
            except (Retry, StoreError):
                continue
            now_ms = self._clock.now_ms()
            for row in rows:
                if row["call_id"] not in known and row["time_ms"] >= self._begun_ms:
                    known.add(row["call_id"])
                    self.delays_ms.append(now_ms - row["time_ms"])
                    newest = max(newest, row["time_ms"])
            self._stop_event.wait(LOOK_EVERY_S)


class _Alarms(_Watcher):
    """When each threshold event arrives, after the end of its window."""

    def run(self) -> None:
        reader = kafka.follower(self._settings, "bench-alarms", THRESHOLDS, from_end=True)
        decode = THRESHOLDS.decoder()
        self.set.set()
        while not self._stop_event.is_set():
            for message in reader.consume(100, 0.02):
                if message.error() is None:
                    event = decode(message.value())
                    if event.data.window_end_ms > self._begun_ms + 2_000:
                        self.delays_ms.append(self._clock.now_ms() - event.data.window_end_ms)
        reader.close()


def _at(delays_ms: list[float], percent: float) -> float | None:
    return float(np.percentile(delays_ms, percent)) / 1000 if delays_ms else None


def _figures(seen: Seen) -> dict[str, Any]:
    named = {"visible": seen.visible, "threshold_after_window": seen.threshold}
    figures: dict[str, Any] = {"lost_probes": seen.lost}
    for name, delays in named.items():
        figures[f"{name}_n"] = len(delays)
        for percent in (50, 95, 99):
            figures[f"{name}_p{percent}_s"] = _at(delays, percent)
    return figures


def _table(found: dict[int, Seen]) -> Table:
    rows = [
        (f"{rate:,}", *(number(_at(delays, p)) for delays in (seen.visible, seen.threshold) for p in (50, 95, 99)))
        for rate, seen in found.items()
    ]
    shown = ("events/s", *(f"{what} p{p}" for what in ("row", "alarm") for p in (50, 95, 99)))
    return Table("Row: produced → queryable. Alarm: window's end → threshold event. Seconds", shown, rows)
