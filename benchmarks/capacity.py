"""From what one machine was measured to do to what a large deployment needs, and what breaks first.

    python -m benchmarks.capacity --events-per-s 1000000 --series 10000 --outage-s 600

The costs per event, row and series come from the last measured runs (benchmarks/measured), each bound by one core
here. The outage is simulated second by second: a daily swing of traffic, one part away for a while, the rest catching
up; what waits, waits in Kafka.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.frame import MEASURED, number

USED_SHARE = 0.6
"""Of a core, in the plan: the rest is for catching up and for the day's peak."""
PARTITION_MB_PER_S = 10.0
"""What one Kafka partition should take in."""
PASSES = 3
"""An event passes the broker when it is written, and when meter and sink read it; reading was measured."""
RANGE_S = 0.25
"""What the meter folds together of one source partition."""
HORIZON_S = 6 * 3600
"""Time that is simulated from the beginning of an outage."""
NODE_CORES = 16
PARTS = ("broker", "meter", "streams", "sink", "store")
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Costs:
    """CPU microseconds: per event, except stage 2's, which are per cell (``cells_per_s``)."""

    broker: float
    meter: float
    streams: float
    sink: float
    store: float
    event_bytes: float = 1_000.0
    """On the wire, before compression."""
    row_bytes: float = 120.0
    """In ClickHouse, after compression."""


@dataclass(frozen=True)
class Load:
    """What the deployment has to carry."""

    events_per_s: float
    series: int
    peak: float = 1.5
    """The day's peak over its mean."""
    days: int = 30
    """How long rows are kept."""


class Need(NamedTuple):
    """What one part needs."""

    part: str
    cores: float
    """At the day's mean."""
    units: int
    """Processes of one core each (broker and store: nodes of NODE_CORES)."""
    breaks_at: float
    """The factor on the mean traffic at which the planned units are used up."""


class Outage(NamedTuple):
    """How an outage went."""

    waiting: np.ndarray
    """Events that waited, by second; shape (seconds,)."""
    longest_lag_s: float
    caught_up_s: float
    """From the outage's end until nothing waits; infinite when it never comes to that."""


def measured() -> Costs:
    """Costs from the last measured runs. Raises FileNotFoundError when a benchmark was never run."""
    scale, meter, sink = (json.loads((MEASURED / f"{name}.json").read_text()) for name in ("scale", "meter", "sink"))
    many, few = (scale["figures"][name]["cores"]["streams"] for name in ("10,000 series", "10 series"))
    return Costs(
        broker=PASSES * sink["figures"]["broker_cpu_us"],
        meter=meter["figures"]["cpu_us_per_event"],
        streams=max(0.0, many - few) / cells_per_s(20_000, 10_000, 4) * 1e6,
        sink=sink["figures"]["cpu_us"],
        store=sink["figures"]["store_cpu_us"],
    )


def cells_per_s(events_per_s: float, series: int, source_partitions: int) -> float:
    """What stage 2 has to merge: in each range of each source partition, one cell for each series that occurs.

    Events are spread evenly over partitions and series; a range is RANGE_S long.
    """
    in_range = events_per_s * RANGE_S / source_partitions
    different = series * -math.expm1(in_range * math.log1p(-1 / max(series, 2)))
    return source_partitions / RANGE_S * different


def needs(load: Load, costs: Costs) -> list[Need]:
    """What each part needs for the load, the part that breaks first at the top."""
    found = []
    for part in PARTS:
        amount = load.events_per_s
        if part == "streams":
            amount = cells_per_s(load.events_per_s, load.series, partitions(load, costs))
        cores = amount * getattr(costs, part) / 1e6
        size = NODE_CORES if part in ("broker", "store") else 1
        units = max(1, math.ceil(cores * load.peak / (size * USED_SHARE)))
        found.append(Need(part, cores, units, units * size / cores if cores else math.inf))
    return sorted(found, key=lambda need: need.breaks_at)


def partitions(load: Load, costs: Costs) -> int:
    """Partitions of the inference topics together, for the day's peak."""
    by_bytes = load.events_per_s * load.peak * costs.event_bytes / 1e6 / PARTITION_MB_PER_S
    by_consumers = load.events_per_s * load.peak * max(costs.meter, costs.sink) / 1e6 / USED_SHARE
    return max(4, math.ceil(by_bytes), math.ceil(by_consumers))


def outage(load: Load, need: Need, outage_s: int) -> Outage:
    """One part is away for ``outage_s`` at the day's peak, then works at all its units hold."""
    second = np.arange(HORIZON_S)
    arriving = load.events_per_s * (1 + (load.peak - 1) * np.cos(2 * np.pi * second / 86_400))
    capacity = load.events_per_s * need.breaks_at
    waiting = np.zeros(HORIZON_S)
    held = 0.0
    for at in range(HORIZON_S):
        held = max(0.0, held + arriving[at] - (0.0 if at < outage_s else capacity))
        waiting[at] = held
    after = np.flatnonzero(waiting[outage_s:] == 0)
    longest = float(np.max(waiting / arriving))
    return Outage(waiting, longest, float(after[0]) if after.size else math.inf)


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--events-per-s", type=float, default=1_000_000, help="requests, responses and feedback")
    parser.add_argument("--series", type=int, default=10_000, help="pipelines × versions with traffic")
    parser.add_argument("--outage-s", type=int, default=600, help="how long one part is away")
    parser.add_argument("--peak", type=float, default=1.5, help="the day's peak over its mean")
    parser.add_argument("--days", type=int, default=30, help="how long rows are kept")
    parser.add_argument("--usd-per-core-hour", type=float, default=0.04)
    parser.add_argument("--usd-per-gb-month", type=float, default=0.08)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    asked = parser.parse_args()
    load, costs = Load(asked.events_per_s, asked.series, asked.peak, asked.days), measured()
    said = _report(load, costs, asked.usd_per_core_hour, asked.usd_per_gb_month)
    if not asked.json:
        _show(load, costs, said, asked.outage_s, Console(highlight=False))
    print(json.dumps({"bench": "capacity", "figures": said}))


def _report(load: Load, costs: Costs, usd_core_hour: float, usd_gb_month: float) -> dict[str, Any]:
    found = needs(load, costs)
    stored_gb = load.events_per_s * 86_400 * load.days * costs.row_bytes / 1e9
    cores = sum(need.units * (NODE_CORES if need.part in ("broker", "store") else 1) for need in found)
    return {
        "events_per_s": load.events_per_s,
        "series": load.series,
        "partitions": partitions(load, costs),
        "units": {need.part: need.units for need in found},
        "cores": {need.part: round(need.cores, 2) for need in found},
        "breaks_first": found[0].part,
        "breaks_at": {need.part: round(need.breaks_at, 2) for need in found},
        "stored_gb": round(stored_gb),
        "usd_per_month": round(cores * usd_core_hour * 730 + stored_gb * usd_gb_month),
    }


def _show(load: Load, costs: Costs, said: Mapping[str, Any], outage_s: int, console: Console) -> None:
    title = f"{load.events_per_s:,.0f} events/s, {load.series:,} series, peak {load.peak:g} x the mean"
    table = Table("part", "cores at the mean", "units", "full at", "outage: lag", "caught up after", title=title)
    for need, (lag, after, line) in zip(needs(load, costs), _outages(load, costs, outage_s), strict=True):
        unit = f"{need.units:,} {'nodes' if need.part in ('broker', 'store') else 'processes'}"
        table.add_row(need.part, number(need.cores), unit, f"{need.breaks_at:.2f} x", lag, f"{after}  {line}")
    console.print(table)
    console.print(
        f"{said['partitions']:,} partitions for the inference topics; {said['stored_gb']:,} GB kept for {load.days} "
        f"days; some {said['usd_per_month']:,} USD a month. First to fill up: {said['breaks_first']}."
    )


def _outages(load: Load, costs: Costs, outage_s: int) -> Iterator[tuple[str, str, str]]:
    for need in needs(load, costs):
        if math.isinf(need.breaks_at):
            yield "–", "–", ""
            continue
        went = outage(load, need, outage_s)
        after = "never" if math.isinf(went.caught_up_s) else f"{went.caught_up_s:,.0f} s"
        yield f"{went.longest_lag_s:,.0f} s", after, _line(went, outage_s)


def _line(went: Outage, outage_s: int) -> str:
    """What waited, as a little picture from the outage's begin to when it was caught up."""
    end = outage_s + (went.caught_up_s if math.isfinite(went.caught_up_s) else len(went.waiting) - outage_s)
    shown = went.waiting[: max(int(end), 1)]
    steps = [float(part.max()) for part in np.array_split(shown, 24) if part.size]
    most = max(steps) or 1.0
    return "".join(_BARS[min(7, int(8 * step / most))] for step in steps)


if __name__ == "__main__":
    main()
