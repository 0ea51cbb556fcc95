"""Responses of a kilobyte into ClickHouse, exactly once: rows a second and CPU time a row, beside a plain sink.

Messages are on the broker before a sink starts. The product's sink (``tidemill run sink``) and the plain one
(``benchmarks.sink_process``) take turns on the same messages, each into a database of its own; broker, store and sink
share the machine. Clocks run from the first tenth of the rows to the last twentieth, so start and end are left out.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from confluent_kafka import KafkaException

from benchmarks.calls import Call, call_id
from benchmarks.frame import Goal, Result, Table, number
from benchmarks.place import fill, place, start
from benchmarks.usage import busy_s, cpu_s, peak_rss_mb
from tidemill.clock import SystemClock
from tidemill.errors import Retry, Stop
from tidemill.io import kafka
from tidemill.io.clickhouse import Store, StoreError
from tidemill.local.plan import embedded_stack
from tidemill.local.process import Children, python
from tidemill.settings import Settings
from tidemill.topics import RESPONSES, SINK_GROUP

TURNS = ("exactly once", "plain", "plain", "exactly once")
SERIES = 100
WITHIN_S = 600.0
LOOK_EVERY_S = 0.25


class Turn(NamedTuple):
    """One sink over all messages."""

    rows_per_s: float
    cpu_us: float
    """CPU time of the sink's process a row, microseconds."""
    store_cpu_us: float
    broker_cpu_us: float
    peak_mb: float
    others_share: float
    """What of the machine's CPU time other processes took meanwhile: it is missing in the rate."""
    lost: int
    twice: int


def measure(*, long: bool) -> Result:
    """Two turns of each sink (four with ``long``), then one of the product's with clocks around its stages."""
    count = 2_000_000 if long else 400_000
    turns: dict[str, list[Turn]] = {"exactly once": [], "plain": []}
    with place([]) as (settings, children):
        others = [start(settings, children, name) for name in ("store", "kafka")]
        size = _produce(settings, count)
        for name in TURNS * (2 if long else 1):
            turns[name].append(_turn(settings, children, others, name, count))
        file = settings.data_dir / "stages.json"
        _turn(settings, children, others, f"stages {file}", count)
        spent_s = json.loads(file.read_text(encoding="utf-8"))
    exact, plain = turns["exactly once"], turns["plain"]
    rate, peer = median(t.rows_per_s for t in exact), median(t.rows_per_s for t in plain)
    cpu = median(t.cpu_us for t in exact)
    goals = [
        Goal("rows_per_s", rate, "rows/s", 60_000, "higher"),
        Goal("exactly_once_cost", 1 - rate / peer, "share", 0.15, "lower"),
        Goal("cpu_us_per_row", cpu, "µs", 14, "lower"),
    ]
    figures = _figures(exact) | {"rows": count, "bytes_per_message": size}
    return Result(
        "sink",
        figures,
        goals,
        {"plain": _figures(plain)},
        [_table(turns), _where(spent_s, count)],
        [
            f"{count:,} messages of {size:,} bytes on {RESPONSES.partitions} partitions, all columns, one process; "
            "CPU µs are a row's; `others` is the share of the machine that other processes took. "
            "Every turn's rows were counted in the table afterwards.",
            "For comparison, published by others: ClickPipes moves 39 k rows/s of 1.6 kB per vCPU.",
        ],
    )


def _produce(settings: Settings, count: int) -> int:
    """Put the messages on the broker; their mean size in bytes."""
    noise, begun_ms = random.Random(1), SystemClock().now_ms()
    calls = [Call(f"p{n % 10}", f"p{n % 10}-v{1 + n % 3}", e2e_ms=100.0 + n) for n in range(SERIES)]

    def message(sent: int) -> tuple[bytes, bytes]:
        value = calls[sent % SERIES].response(call_id(sent), begun_ms - (count - sent) // 50)
        return call_id(sent), value.replace(b"budget", noise.randbytes(12).hex().encode())

    return fill(settings, RESPONSES, map(message, range(count)))


def _turn(settings: Settings, children: Children, others: Sequence[int], name: str, count: int) -> Turn:
    """One sink from the first message to the last, into an empty database."""
    database = f"turn_{time.monotonic_ns()}"
    moved = settings.model_copy(update={"clickhouse": settings.clickhouse.model_copy(update={"database": database})})
    store = Store(moved)
    store.migrate()
    _forget_group(settings)
    process = embedded_stack(settings, ["sink"])[0]
    argv = process.argv if name == "exactly once" else python("-m", "benchmarks.sink_process", *name.split())
    process = replace(process, argv=argv, env={**process.env, "TIDEMILL_CLICKHOUSE__DATABASE": database})
    started = children.start(process, settings.data_dir / "logs" / "sink.log")
    pids = [started.pid, *others]
    first, spent_first = _reached(store, count // 10), [*map(cpu_s, pids), busy_s()]
    last, spent_last = _reached(store, count - count // 20), [*map(cpu_s, pids), busy_s()]
    _reached(store, count)
    time_s, rows = last[0] - first[0], last[1] - first[1]
    *spent_s, busy = (after - before for before, after in zip(spent_first, spent_last, strict=True))
    cpu = [spent / rows * 1e6 for spent in spent_s]
    others_share = max(0.0, (busy - sum(spent_s)) / time_s / (os.cpu_count() or 1))
    peak = peak_rss_mb(started.pid)
    children.stop(started, process.grace_s)
    (found,) = store.rows("SELECT count() AS n, uniqExact(_partition, _offset) AS u FROM responses")
    store.command(f"DROP DATABASE {database}", database="default")
    return Turn(rows / time_s, cpu[0], cpu[1], cpu[2], peak, others_share, count - found["u"], found["n"] - found["u"])


def _reached(store: Store, rows: int) -> tuple[float, int]:
    """When the table holds so many rows, and how many it does."""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        try:
            (found,) = store.rows("SELECT count() AS n FROM responses")
            if found["n"] >= rows:
                return time.monotonic(), found["n"]
        except (Retry, StoreError):
            pass
        time.sleep(LOOK_EVERY_S)
    raise Stop(f"the sink did not bring {rows:,} rows within {WITHIN_S:g} s")


def _forget_group(settings: Settings) -> None:
    """Let the next sink begin at the first message."""
    admin = kafka.admin(settings, "bench-sink")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            admin.delete_consumer_groups([SINK_GROUP])[SINK_GROUP].result()
            return
        except KafkaException as error:
            if error.args[0].name() == "GROUP_ID_NOT_FOUND":
                return
            time.sleep(0.2)
    raise Stop(f"the consumer group {SINK_GROUP} of the last turn does not go away")


def _figures(turns: Sequence[Turn]) -> dict[str, float]:
    return {name: median(getattr(turn, name) for turn in turns) for name in Turn._fields}


def _table(turns: dict[str, list[Turn]]) -> Table:
    columns = ("", "rows/s", "sink µs", "store µs", "broker µs", "peak MB", "others", "lost", "twice")
    return Table("Each turn", columns, [(name, *map(number, turn)) for name, found in turns.items() for turn in found])


def _where(spent_s: dict[str, float], count: int) -> Table:
    rows = [(stage, number(spent / count * 1e6)) for stage, spent in sorted(spent_s.items(), key=lambda one: -one[1])]
    rows.append(("all", number(sum(spent_s.values()) / count * 1e6)))
    return Table("Where the sink's time goes, CPU µs a row", ("stage", "µs"), rows)
