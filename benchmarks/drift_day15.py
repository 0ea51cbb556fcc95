"""After 14 days with a strong season, day 15: does it stay quiet, and is a shift found within the hour?

Ten series share one budget of one false alarm in a week of clock updates (seconds): five of quality, five of the
length of answers. Each call has a score. Traffic, quality and length move with the hour, and quality and length at the
weekend, by more than the shift that is to be found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from math import pi
from statistics import fmean
from typing import NamedTuple

import numpy as np

from benchmarks.drift_day15_ways import (
    MIN_DROP,
    RUN_LENGTH,
    SERIES,
    STAGE2,
    WAYS,
    Batches,
    Calls,
    Scores,
    Seen,
    Values,
    Way,
    state_bytes,
)
from benchmarks.frame import Table, number

DAY = 1_440
BEGIN = 14 * DAY
DAY_ALLOWED = 86_400 / RUN_LENGTH
"""False alarms that the budget allows in a day, on average."""
HOURS = (3, 9, 15, 21)
"""Of day 15, at which shifts are injected, each into a copy of what watches."""
TRAFFIC = (60, 30, 10)
"""Calls a minute, on average over the day."""
FALL, RISE = 0.10, 1.3
KINDS = ("quality", "length")
SHIFTS = {"quality": FALL, "length": RISE}
DRAWS = 2
"""Times that each shift is drawn at each hour."""
DROPS = ((0.1, 0.10), (0.1, 0.15), (0.1, 0.20))
"""Settings ``min_drop`` other than MIN_DROP, and falls, of which it is measured whether stage 2 finds them."""
NOTE = (
    f"`day15_found_share` counts stage 2's shifts of both kinds at {TRAFFIC[0]} calls a minute, {DRAWS} draws of each; "
    "both tables show the same falls. It is to be 0.95, as for text: calls come by chance, so now and then those of an "
    "hour show a smaller shift than was injected, and with fewer calls that is so more often."
)
Delays = list[int | None]
"""Minutes to the alarm; None where there was none within the hour."""


def levels(minutes: Values, kind: str, phase: float) -> Values:
    """The usual quality, or length in characters, minute by minute."""
    wave = np.sin(2 * pi * minutes / DAY + phase)
    weekend = np.isin(minutes // DAY % 7, (2, 3))
    if kind == "quality":
        return 0.84 + 0.06 * wave - 0.03 * weekend
    return np.asarray(400 * np.exp(0.35 * wave + 0.2 * weekend))


def draw(
    rng: np.random.Generator, since: int, until: int, kind: str, calls: float, phase: float, shift: float | None = None
) -> Calls:
    """The calls of minutes ``since`` to ``until``; ``shift``: by how many points quality is lower, or how many times
    longer answers are."""
    minutes = np.arange(since, until, dtype=np.float64)
    n = rng.poisson(calls * (1 + 0.5 * np.sin(2 * pi * minutes / DAY)))
    usual = np.repeat(levels(minutes, kind, phase), n)
    times = np.sort((np.repeat(minutes, n) + rng.random(len(usual))) * 60_000).astype(np.int64)
    if kind == "quality":
        return Calls(times, (rng.random(len(usual)) < usual - (shift or 0.0)).astype(float))
    return Calls(times, usual * (shift or 1.0) * np.exp(rng.normal(0, 0.6, len(usual))))


class Run(NamedTuple):
    """SERIES series over 15 days, watched one way."""

    way: str
    calls: int
    before: int
    """False alarms in the 14 days before, all series together …"""
    on_day: int
    """… and on day 15, without a shift."""
    delays: dict[str, Delays]
    """By kind of shift."""
    drops: dict[tuple[float, float], Delays]
    """For DROPS; only of stage 2."""
    state_bytes: int
    """Of one series, on day 15."""


class Day15(NamedTuple):
    """One way to watch, with one traffic, over some runs of SERIES series."""

    way: str
    calls: int
    runs: int
    before: int
    on_day: int
    delays: dict[str, Delays]
    drops: dict[tuple[float, float], Delays]
    state_bytes: int

    @property
    def found_share(self) -> float:
        """The share of shifts that were found within the hour."""
        return fmean(delay is not None for delays in self.delays.values() for delay in delays)


def parts(runs: int, others: int) -> dict[str, Callable[[], list[Run]]]:
    """Every way with every traffic, ``runs`` times stage 2's and ``others`` times the others, by name."""
    found: dict[str, Callable[[], list[Run]]] = {}
    for calls in TRAFFIC:
        for way in WAYS:
            several = [[n] for n in range(runs)] if way == STAGE2 else [list(range(others))]
            for numbers in several:
                name = (
                    f"day 15, {calls} calls a minute, {way}, {'run' if len(numbers) == 1 else 'runs'} {numbers[0] + 1}"
                )
                found[name] = partial(_runs, way, calls, numbers)
    return found


def _runs(way: str, calls: int, numbers: Sequence[int]) -> list[Run]:
    return [run(way, calls, number) for number in numbers]


def day15(found: Sequence[Run]) -> list[Day15]:
    """The runs together, in the order of TRAFFIC and WAYS."""
    several = {
        (calls, way): [r for r in found if (r.calls, r.way) == (calls, way)] for calls in TRAFFIC for way in WAYS
    }
    return [_joined(some) for some in several.values() if some]


def run(way: str, calls: int, number: int) -> Run:
    """One run, all series of it; the same calls for each way."""
    before = on_day = size = 0
    delays: dict[str, Delays] = {kind: [] for kind in KINDS}
    drops: dict[tuple[float, float], Delays] = {each: [] for each in DROPS}
    for index in range(SERIES):
        kind, phase = KINDS[index % 2], 0.4 * (index // 2)
        rng = np.random.default_rng([15, number, index])
        watch = WAYS[way](SERIES * number + index, kind)
        before += _alarms(watch, draw(rng, 0, BEGIN, kind, calls, phase))
        at = BEGIN
        for start in [BEGIN + 60 * hour for hour in HOURS] if index < len(KINDS) else []:
            on_day += _alarms(watch, draw(rng, at, start, kind, calls, phase))
            at, size = start, state_bytes(watch)
            shifted = partial(draw, np.random.default_rng([16, number, index, start]), start, start + 60, kind, calls)
            delays[kind] += [_delay(deepcopy(watch), shifted(phase, SHIFTS[kind]), start) for _ in range(DRAWS)]
            if isinstance(watch, Scores):
                for min_drop, fall in DROPS:
                    delay = _delay(watch.with_min_drop(min_drop), shifted(phase, fall), start)
                    drops[min_drop, fall].append(delay)
        on_day += _alarms(watch, draw(rng, at, BEGIN + DAY, kind, calls, phase))
    return Run(way, calls, before, on_day, delays, drops, size)


def day15_table(found: Sequence[Day15]) -> Table:
    """As people read it."""
    rows = [
        (
            f"{each.calls}",
            each.way,
            f"{each.runs}",
            f"{each.before / each.runs:.1f}",
            f"{each.on_day / each.runs:.2f}",
            *(_cell(each.delays[kind]) for kind in KINDS),
            f"{each.state_bytes:,}",
        )
        for each in found
    ]
    columns = (
        "calls a minute",
        "watched by",
        "runs",
        f"false alarms in 14 days (budget {14 * DAY_ALLOWED:g})",
        f"on day 15 (budget {DAY_ALLOWED:.2f})",
        f"quality −{100 * FALL:.0f} points: found within the hour; median delay",
        f"lengths +{100 * (RISE - 1):.0f} %: the same",
        "state of a series, bytes",
    )
    return Table(f"A season of day and week; day 15 (K = {SERIES} series, N = {RUN_LENGTH:,} seconds)", columns, rows)


def drops_table(found: Sequence[Day15]) -> Table:
    """Stage 2's quality by its setting; the first row is the one of ``day15_table``."""
    stage2 = [each for each in found if each.way == STAGE2]
    by_drop = [{(MIN_DROP, FALL): each.delays["quality"]} | each.drops for each in stage2]
    rows = [
        (f"{drop:g}", f"{100 * fall:.0f} points", *(_cell(each[drop, fall]) for each in by_drop))
        for drop, fall in ((MIN_DROP, FALL), *DROPS)
    ]
    columns = ("`quality.min_drop`", "fall", *(f"{each.calls} scores a minute" for each in stage2))
    return Table("Stage 2's quality on day 15: falls found within the hour; median delay", columns, rows)


def _joined(runs: Sequence[Run]) -> Day15:
    first = runs[0]
    return Day15(
        first.way,
        first.calls,
        len(runs),
        sum(each.before for each in runs),
        sum(each.on_day for each in runs),
        {kind: [delay for each in runs for delay in each.delays[kind]] for kind in KINDS},
        {drop: [delay for each in runs for delay in each.drops[drop]] for drop in DROPS},
        max(each.state_bytes for each in runs),
    )


def _alarms(watch: Way, calls: Calls) -> int:
    return sum(1 for _ in watch.alarms(calls))


def _delay(watch: Way, calls: Calls, start: int) -> int | None:
    first = next(watch.alarms(calls), None)
    return None if first is None else first // 60_000 - start + 1


def _cell(delays: Delays) -> str:
    found = sorted(delay for delay in delays if delay is not None)
    middle = f"; {number(found[len(found) // 2])} min" if found else ""
    return f"{len(found)} of {len(delays)}{middle}"


def figures(found: Day15) -> Mapping[str, object]:
    """For the JSON line."""
    return found._asdict() | {
        "drops": [{"min_drop": drop, "fall": fall, "delays": delays} for (drop, fall), delays in found.drops.items()]
    }


def example(calls: int = 30) -> tuple[list[Seen], int]:
    """One series of means of quality, up to an hour after its fall on day 15, and the minute of that: for a picture."""
    rng, watch = np.random.default_rng([15, 0, 0]), Batches(0, "quality", season=True)
    fall = BEGIN + 60 * HOURS[1]
    usual, fallen = (
        draw(rng, since, until, "quality", calls, 0.0, shift)
        for since, until, shift in ((0, fall, None), (fall, fall + 60, FALL))
    )
    return [*watch.watch(usual), *watch.watch(fallen)], fall
