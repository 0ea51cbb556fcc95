"""The tables of ``drift``: what was found, as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from benchmarks.drift_guarantee import AR, PARTS, Dependent, Family, Quiet
from benchmarks.drift_streams import CAPYMOA, PUBLISHED, Found, Score, capymoa
from benchmarks.frame import Table, number
from streams.detectors.second_opinions import NAMES

CAPYMOA_NOTE = (
    "CapyMOA's stream: river's ADWIN alarms at the very value where CapyMOA's (MOA's) does. River's PageHinkley takes "
    "its sum from the lowest one so far, as MOA's CUSUM does, so it alarms where that does; MOA's PageHinkley takes "
    "the sum as it is. Our CUSUM is told the level and the deviation of before, which the others must learn. `Bounded` "
    "and HDDM take values in [0, 1] only."
)


class Row(NamedTuple):
    """One detector on both kinds of streams."""

    abrupt: Score
    gradual: Score


class Chart(NamedTuple):
    """The CUSUM chart's simulated run length beside the exact one."""

    threshold: float
    shift: float
    published: float
    exact: float
    simulated: float
    error: float

    @property
    def holds(self) -> bool:
        """Within three standard errors, and our exact figure as published."""
        near = abs(self.exact - self.published) <= 0.005 * self.published
        return near and abs(self.simulated - self.exact) <= 3 * self.error


def stream_table(ours: Mapping[str, Row], peers: Mapping[str, Row]) -> Table:
    """Ours, river's, and published ones; each watches one series (K = 1)."""
    rows = [stream_row(name, row) for name, row in ours.items()]
    rows += [stream_row(f"river {NAMES[name][1]}", row) for name, row in peers.items()]
    rows += [
        (f"*{name}*", "", f"*{a}*", f"*{fa}*", "", f"*{g}*", f"*{fg}*") for name, (a, fa, g, fg) in PUBLISHED.items()
    ]
    columns = ("detector", "K", "abrupt: found", "delay", "false", "gradual: found", "delay", "false")
    return Table("Delay beside false alarms", columns, [(name, "1", *cells) for name, *cells in rows])


def capymoa_table(found: Mapping[str, Sequence[Found]]) -> Table:
    """The first alarms on CapyMOA's stream."""
    change = capymoa().change
    rows = []
    for name, some in found.items():
        hits = sorted(change + each.delay for each in some if each.delay is not None)
        first = "–" if not hits else f"{hits[0]:,}" + (f" to {hits[-1]:,}" if hits[-1] > hits[0] else "")
        rows.append((name, "1", f"{len(hits)} of {len(some)}", first, f"{fmean(each.false for each in some):.2f}"))
    rows += [(f"*CapyMOA {name}*", "*1*", "", f"*{first:,}*", "") for name, first in CAPYMOA.items()]
    columns = ("detector", "K", "found", "first alarm at value", "false")
    return Table(f"CapyMOA's stream of 2,000 numbers: 0 or 1, from value {change:,} on 6 to 11", columns, rows)


def stream_row(name: str, row: Row) -> tuple[str, ...]:
    """One detector's line."""
    cells = [name]
    for found in row:
        cells += [f"{found.found} of {found.streams}", number(found.delay), f"{found.false:.2f}"]
    return tuple(cells)


def quiet_table(quiet: Sequence[Quiet]) -> Table:
    """Single streams without a change."""
    rows = [
        (
            found.name,
            found.values,
            f"{found.run_length:,}",
            f"{found.mean:,.0f} ± {found.error:,.0f}",
            *(f"{found.within(part):.3f} (≤ {part:g})" for part in PARTS),
            "holds" if found.holds else "does not hold",
        )
        for found in quiet
    ]
    columns = ("detector", "values", "N", "mean run length", *(f"alarm within {part:g} N" for part in PARTS), "")
    return Table("No change: the promise, simulated", columns, rows)


def family_table(families: Sequence[Family]) -> Table:
    """Families without a change."""
    rows = [
        (
            str(found.series),
            f"{found.updates} of N = {found.run_length:,}",
            f"{fmean(found.alarms):.2f}",
            f"{found.any_share:.2f}",
            f"{found.updates / found.run_length:g}",
            "holds" if found.holds else "does not hold",
        )
        for found in families
    ]
    columns = ("series", "clock updates", "alarms a run", "runs with any", "promised at most", "")
    return Table("No change: families of dependent series on one budget, slices arriving on the way", columns, rows)


def dependent_table(broken: Sequence[Dependent]) -> Table:
    """What dependence does."""
    rows = [
        (f"{b.run_length:,}", number(b.alarm_after), number(b.warned_after), f"{b.warned_first:.0%}") for b in broken
    ]
    columns = ("N", "mean updates to a false alarm", "to the warning", "warned by the time of the alarm")
    return Table(f"An assumption broken: conformal detector on AR(1) noise, coefficient {AR}", columns, rows)


def cusum_table(charts: Sequence[Chart]) -> Table:
    """Run lengths."""
    rows = [
        (
            f"{chart.threshold:g}",
            f"{chart.shift:g}",
            number(chart.published),
            f"{chart.exact:.2f}",
            f"{chart.simulated:.2f} ± {chart.error:.2f}",
            "holds" if chart.holds else "does not hold",
        )
        for chart in charts
    ]
    return Table("CUSUM, k = 0.5: mean run length", ("h", "shift", "published", "ours, exact", "simulated", ""), rows)
