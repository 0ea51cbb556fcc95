"""What the text part of ``drift`` found, put together: tables, figures, what goals are about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks import drift_stage2
from benchmarks.drift_corpus import CHANGES, KNOWN, SLICES
from benchmarks.drift_events import QUALITY, SCORED
from benchmarks.drift_peers import PEERS
from benchmarks.drift_text import AFTER, BEFORE, OURS, SHARE, SLICED, STAGE2, Changed, Named, Part, Quiet, Wealth
from benchmarks.drift_watches import METRICS, RUN_LENGTH
from benchmarks.frame import Table, number

NOTE = (
    f"Text: questions of {KNOWN} of BANKING77's intents, {BEFORE:,} calls before the change; one call is one update of "
    f"the clock, the budget one false alarm in {RUN_LENGTH:,} calls for all K series together. tidemill has "
    f"{len(METRICS)} metrics a slice: vectors and learned words against a reference of 3,000 calls, four scalars "
    "(length, share of unseen words, word length, distance to the nearest reference vector) and two of the words of 50 "
    f"calls in a row; slices are the whole, five tenants and two prompt versions ({len(SLICES)}). River's detectors "
    "and KS watch the four scalars (not HDDM, whose bound is for values in [0, 1], nor KSWIN, which takes some fifty "
    "times as long), Evidently the text, or our vectors, by its own defaults (an area under the curve above 0.55). CPU "
    "time of tidemill, river and KS includes that of the features they watch."
)
NOTE_STAGE2 = (
    "*tidemill, stage 2* is what a deployment runs, without Kafka: the gateway's features, the meter's fold, and the "
    "fold of stage 2 with windows of 10 s, every metric but durations watched over all calls and in each tenant, "
    "prompt version and language (far more series than by default), and scores for "
    f"{SCORED:.0%} of the answers ({QUALITY:.0%} right). Calls come by chance; a clock update is a second, the budget "
    f"one false alarm in {drift_stage2.RUN_LENGTH:,} of them, of which an only pipeline has a half (the other is for "
    "pipelines that nobody announced). Alarms are those on quality and notices; answers, costs, scores never change. "
    "Its goals count both rates together."
)
CHANCE = "within chance"
NOTE_CHANCE = f"*{CHANCE.capitalize()}*: above what the budget allows on average, by less than three standard errors."


class Measured(NamedTuple):
    """What was found."""

    tables: list[Table]
    figures: dict[str, Any]
    found_share: float
    """Of all changes, found by ours with slices within AFTER calls …"""
    stage2_found_share: float
    """… and by stage 2, at all RATES together."""
    false: int
    """False alarms of ours with slices, all series together, in the runs without a change …"""
    allowed: float
    """… and the most that the budget allows, on average."""
    stage2_false: int
    """Of stage 2 at all RATES together, likewise …"""
    stage2_allowed: float
    wealth: Wealth
    notes: list[str]
    """Below the tables."""


def joined(found: Mapping[str, Part]) -> Measured | None:
    """All parts together; None where there were none."""
    if not found:
        return None
    changed = [part for part in found.values() if isinstance(part, Changed)]
    quiet = [part for part in found.values() if isinstance(part, Quiet)]
    memory = {name: part for name, part in found.items() if isinstance(part, float)}
    delays = {
        name: {kind: [each.delays[name][kind] for each in changed if name in each.delays] for kind in CHANGES}
        for name in (*OURS, *STAGE2, *PEERS)
    }
    without = {name: _without_change(name, quiet) for name in delays}
    named = {kind: [one for each in changed for one in each.named.get(kind, [])] for kind in CHANGES}
    seeds = max(len(some) for by_kind in delays.values() for some in by_kind.values())
    rows = [
        (
            name,
            str(without[name].series),
            *(_cell(some) for some in by_kind.values()),
            f"{without[name].alarms / without[name].calls * 10_000:.1f}",
            number(without[name].cpu_s / without[name].calls * 1e6),
            number(memory[f"memory, {name}"]),
        )
        for name, by_kind in delays.items()
    ]
    columns = (
        "",
        "K",
        *CHANGES,
        "false alarms in 10,000 calls",
        "CPU ms for 1,000 calls",
        "memory beside texts and features, MB",
    )
    title = f"Text: {SHARE:.0%} of traffic changed; median delay in calls (found, of {seeds}, within {AFTER:,})"
    quiet_table = _quiet_table({name: without[name] for name in (*OURS, *STAGE2)})
    by_chance = any(CHANCE in row for row in quiet_table.rows)
    return Measured(
        [Table(title, columns, rows), _first_table(changed), quiet_table, _named_table(named)],
        {
            "delays": delays,
            "without_change": {name: each._asdict() for name, each in without.items()},
            "false_by_series": dict(sum((Counter(each.who) for each in quiet), Counter())),
            "resident_mb": memory,
            "named": {kind: [each._asdict() for each in some] for kind, some in named.items()},
        },
        _share(delays[SLICED].values()),
        _share(some for name in STAGE2 for some in delays[name].values()),
        without[SLICED].alarms,
        without[SLICED].allowed or 0.0,
        sum(without[name].alarms for name in STAGE2),
        sum(without[name].allowed or 0.0 for name in STAGE2),
        next(part for part in found.values() if isinstance(part, list)),
        [NOTE, NOTE_STAGE2, *([NOTE_CHANCE] if by_chance else [])],
    )


class WithoutChange(NamedTuple):
    """One that watches, over all runs without a change."""

    calls: int
    updates: int
    series: int
    alarms: int
    allowed: float | None
    """By the budget; None for those that have none."""
    cpu_s: float
    state_bytes: int | None


def _without_change(name: str, quiet: Iterable[Quiet]) -> WithoutChange:
    runs = [each for each in quiet if name in each.series]
    last = runs[-1]
    return WithoutChange(
        sum(each.calls for each in runs),
        sum(each.updates[name] for each in runs),
        last.series[name],
        sum(each.alarms[name] for each in runs),
        sum(each.allowed[name] for each in runs) if name in last.allowed else None,
        sum(each.cpu_s[name] for each in runs),
        last.state_bytes.get(name),
    )


def _quiet_table(found: Mapping[str, WithoutChange]) -> Table:
    rows = [
        (
            name,
            str(each.series),
            f"{each.calls:,}",
            f"{each.updates:,}",
            str(each.alarms),
            number(each.allowed),
            f"{(each.state_bytes or 0) / 1e3:,.0f}",
            _verdict(each.alarms, each.allowed or 0.0),
        )
        for name, each in found.items()
    ]
    columns = ("", "K", "calls", "clock updates", "false alarms", "the budget allows", "state, kB", "")
    return Table("Text without a change: every metric and slice on one budget", columns, rows)


def _verdict(alarms: int, allowed: float) -> str:
    """The promise is on an average: a count somewhat above it is no proof of more."""
    if alarms <= allowed:
        return "holds"
    return CHANCE if alarms <= allowed + 3 * sqrt(allowed) else "does not hold"


def _first_table(changed: Sequence[Changed]) -> Table:
    """What finds a change first in stage 2."""
    rows = []
    for kind in CHANGES:
        rules = Counter(each.first[kind].rule.removeprefix("drift_") for each in changed if kind in each.first)
        slices = sum(bool(each.first[kind].slice) for each in changed if kind in each.first)
        cells = ", ".join(f"`{rule}` {n}" for rule, n in rules.most_common()) or "–"
        rows.append((kind, cells, f"{slices} of {rules.total()}"))
    columns = ("change", "first alarm: by which metric, in how many runs", "in a slice")
    return Table("Text, stage 2: what finds a change first", columns, rows)


def _named_table(named: Mapping[str, Sequence[Named]]) -> Table:
    rows = []
    for kind, found in named.items():
        rows.append((kind, *(f"{fmean(some):.1f}" for some in zip(*found, strict=True))) if found else (kind, "–", "–"))
    columns = ("change", "series that alarmed", "series named together")
    return Table("Text, slices too: which of the 64 series have changed, at an alarm (mean)", columns, rows)


def _share(delays: Iterable[Sequence[int | None]]) -> float:
    return fmean(delay is not None for some in delays for delay in some)


def _cell(delays: Sequence[int | None]) -> str:
    found = sorted(delay for delay in delays if delay is not None)
    return f"{number(found[len(found) // 2]) if found else '–'} ({len(found)})"
