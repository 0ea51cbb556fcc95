"""A daily and a weekly wave are no change: the conformal detector with slots of the week, a value a minute.

For 15 days and a half there is nothing but the season; then a shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sin
from random import Random
from typing import NamedTuple

from benchmarks.frame import Table
from streams.detectors.conformal import Conformal, slot_of_week

RUN_LENGTH = 10_000
WAVES = (0.0, 1.0, 2.0, 5.0)
"""Of the day, in deviations of the noise; the weekend is half of that higher."""
SLOTS_MIN = (60, 10)
SHIFT = 2.0
DAY, WEEK = 1_440, 7 * 1_440
CHANGE = 15 * DAY + DAY // 2


class Season(NamedTuple):
    """One wave with one length of slots, over some runs."""

    wave: float
    slot_min: int
    false: list[int]
    """Alarms before the shift, for each run."""
    delays: list[int | None]
    """Minutes from the shift to the alarm, at most an hour."""


def seasons(runs: int) -> list[Season]:
    """Every wave with every length of slots."""
    found = []
    for wave in WAVES:
        for slot_min in SLOTS_MIN:
            results = [_run(wave, slot_min, seed) for seed in range(runs)]
            found.append(Season(wave, slot_min, [false for false, _ in results], [delay for _, delay in results]))
    return found


def season_table(found: Sequence[Season]) -> Table:
    """For the page."""
    rows = [
        (
            f"{each.wave:g}",
            f"{each.slot_min} min",
            f"{2 * pi / 24 * each.wave * each.slot_min / 60:.2f}",
            f"{sum(each.false) / len(each.false):.1f}",
            f"{CHANGE / RUN_LENGTH:.1f}",
            f"{sum(delay is not None for delay in each.delays)} of {len(each.delays)}",
        )
        for each in found
    ]
    columns = (
        "daily wave",
        "slots",
        "steepest, in a slot",
        "false alarms a run",
        "promised at most",
        "found in an hour",
    )
    return Table(f"A season, in deviations; after 15.5 days a shift of {SHIFT:g} (N = {RUN_LENGTH:,})", columns, rows)


def _run(wave: float, slot_min: int, seed: int) -> tuple[int, int | None]:
    chance = Random(seed)
    detector = Conformal(RUN_LENGTH, seed=seed, keep_past=True)
    false = 0
    for minute in range(CHANGE + 60):
        level = wave * sin(2 * pi * minute / DAY) + (wave / 2 if minute % WEEK >= 5 * DAY else 0.0)
        value = level + chance.gauss(0, 1) + (SHIFT if minute >= CHANGE else 0.0)
        detector.update(value, category=slot_of_week(60_000 * minute, 60_000 * slot_min))
        if detector.drift_detected:
            if minute >= CHANGE:
                return false, minute - CHANGE
            false += 1
    return false, None
