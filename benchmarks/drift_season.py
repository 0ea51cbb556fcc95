"""A daily and a weekly wave are no change: with a past for each slot of the week, or as residuals of a ``Season``.

A value a minute; for 15 days and a half there is nothing but the season, then a shift. N is small here, so that false
alarms can be counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sin
from random import Random
from typing import NamedTuple

from benchmarks.frame import Table
from streams.detectors.conformal import Conformal, slot_of_week
from streams.detectors.season import Season

RUN_LENGTH = 10_000
WAVES = (0.0, 1.0, 2.0, 5.0)
"""Of the day, in deviations of the noise; the weekend is half of that higher, from midnight to midnight."""
SLOTS_MIN = (60, 10, None)
"""None: residuals of a season by the week."""
SHIFT = 2.0
DAY, WEEK = 1_440, 7 * 1_440
CHANGE = 15 * DAY + DAY // 2


class Wave(NamedTuple):
    """One wave, watched one way, over some runs."""

    wave: float
    slot_min: int | None
    false: list[int]
    """Alarms before the shift, for each run."""
    delays: list[int | None]
    """Minutes from the shift to the alarm, at most an hour."""

    @property
    def promised(self) -> float:
        """False alarms a run, at most; residuals begin with the second week."""
        return (CHANGE - (WEEK if self.slot_min is None else 0)) / RUN_LENGTH


def seasons(runs: int) -> list[Wave]:
    """Every wave, every way."""
    found = []
    for wave in WAVES:
        for slot_min in SLOTS_MIN:
            results = [_run(wave, slot_min, seed) for seed in range(runs)]
            found.append(Wave(wave, slot_min, [false for false, _ in results], [delay for _, delay in results]))
    return found


def season_table(found: Sequence[Wave]) -> Table:
    """For the page."""
    rows = [
        (
            f"{each.wave:g}",
            f"a past for each {each.slot_min} min" if each.slot_min else "residuals, `Season`",
            f"{2 * pi / 24 * each.wave * each.slot_min / 60:.2f}" if each.slot_min else "",
            f"{sum(each.false) / len(each.false):.1f}",
            f"{each.promised:.1f}",
            f"{sum(delay is not None for delay in each.delays)} of {len(each.delays)}",
        )
        for each in found
    ]
    columns = (
        "daily wave",
        "watched by",
        "steepest, in a slot",
        "false alarms a run",
        "promised at most",
        "found in an hour",
    )
    return Table(f"A season, in deviations; after 15.5 days a shift of {SHIFT:g} (N = {RUN_LENGTH:,})", columns, rows)


def _run(wave: float, slot_min: int | None, seed: int) -> tuple[int, int | None]:
    chance = Random(seed)
    season = None if slot_min else Season("week", seed)
    detector = Conformal(RUN_LENGTH, seed=seed, keep_past=season is None)
    false = 0
    for minute in range(CHANGE + 60):
        level = wave * sin(2 * pi * minute / DAY) + (wave / 2 if minute % WEEK >= 5 * DAY else 0.0)
        value = level + chance.gauss(0, 1) + (SHIFT if minute >= CHANGE else 0.0)
        found = season.update(value, 60_000 * minute) if season else value
        if found is None:
            continue
        detector.update(found, category=slot_of_week(60_000 * minute, 60_000 * slot_min) if slot_min else 0)
        if detector.drift_detected:
            if minute >= CHANGE:
                return false, minute - CHANGE
            false += 1
    return false, None
