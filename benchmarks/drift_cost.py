"""What an update of each detector costs, and what it keeps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np

from benchmarks.frame import Table
from streams.detectors.bounded import Bounded
from streams.detectors.conformal import Conformal
from streams.detectors.cusum_chart import CusumChart
from streams.detectors.score_hours import ScoreHours
from streams.detectors.season import SLOT_MS, SLOTS, Season
from streams.detectors.second_opinions import NAMES, SecondOpinion
from streams.detectors.text_vectors import DIMENSIONS
from streams.detectors.two_sample import TwoSample

VALUES = 5_000
NEVER = 1e9
"""A run length so long that no alarm begins anew what is timed."""
AN_HOUR = 30
"""Values an hour, for a detector behind a season."""

KSWIN_NOTE = (
    "KSWIN is river's own: it tests two samples anew at each update; no other detector of numbers here takes a tenth "
    "of that time. Those behind a season are timed after their first week, when hours have a verdict."
)


class Behind:
    """A conformal detector behind the season of a week, one that has seen a week already."""

    def __init__(self, season: Season | ScoreHours, residual: Callable[[float, int], float | None]) -> None:
        """``residual``: what ``season`` makes of a value and its time."""
        self._season, self._residual = season, residual
        self._conformal = Conformal(NEVER)
        self._now_ms = 0
        for value in np.random.default_rng(1).random(SLOTS["week"] * AN_HOUR).tolist():
            self.update(value)

    def update(self, x: float) -> None:
        """Take one value."""
        found = self._residual(x, self._now_ms)
        self._now_ms += SLOT_MS // AN_HOUR
        if found is not None:
            self._conformal.update(found)

    def snapshot(self) -> Any:
        """Of both."""
        return self._season.snapshot(), self._conformal.snapshot()


def behind_season() -> Behind:
    """What stage 2 has for a mean."""
    season = Season("week")
    return Behind(season, season.update)


def behind_hours() -> Behind:
    """What stage 2 has for scores."""
    hours = ScoreHours("week", 0)
    return Behind(hours, hours.take)


def cost_table() -> Table:
    """CPU time of an update in this process, and the size of a snapshot after the last."""
    chance = np.random.default_rng(0)
    values = chance.random(VALUES).tolist()
    vectors = chance.normal(size=(3_500, DIMENSIONS))
    scalars: dict[str, Any] = {
        "conformal": Conformal(NEVER),
        '`Season("week")`, then conformal': behind_season(),
        "`ScoreHours` of a week, then conformal": behind_hours(),
        "bounded": Bounded(NEVER, high=0.9, low=0.1),
        "CUSUM": CusumChart(0.5, 0.3, threshold=NEVER),
        **{f"river {kind}": SecondOpinion(name) for name, (_, kind) in NAMES.items()},
    }
    rows = [(name, *_cost(detector, values)) for name, detector in scalars.items()]
    two_sample = TwoSample(vectors[:3_000], NEVER)
    rows.append((f"two-sample, {DIMENSIONS} dimensions, 3,000 vectors", *_cost(two_sample, vectors[3_000:])))
    return Table("Cost of an update", ("detector", "CPU µs", "snapshot, bytes"), rows)


def _cost(detector: Any, values: Iterable[Any]) -> tuple[str, str]:
    begun, n = time.process_time(), 0
    for value in values:
        detector.update(value)
        n += 1
    took = time.process_time() - begun
    return f"{took / n * 1e6:.1f}", f"{len(msgspec.msgpack.encode(detector.snapshot())):,}"
