"""E-detector that needs no baseline: it finds when new values stand elsewhere among the old ones than by chance.

Each value's rank among all before it is uniform while the values are exchangeable, whatever their distribution. The
detector bets that ranks have become common in a tail (the outer 2 %, 20 %, 50 % on either side), which finds changes
of level both ways, of spread, and of rare events. After an alarm it starts a new past; with ``keep_past`` it goes on
comparing with the old one, and alarms again and again while the change lasts, until ``forget``.

What is assumed is watched by ``dependence``: with dependent values (a slow wave, a season) the promise is void, and
``warned`` says so. Where values have a season, give each its category and keep the past, which takes weeks to gather:
ranks are then taken within the category.

A change that comes before there is much of a past, or slowly, becomes part of the past it is compared with, and a
small one may never be found; ``bounded`` and ``two_sample`` compare with something fixed.

Source: Vovk et al.: Retrain or not retrain (2102.10439); sums as in Shin, Ramdas, Rinaldo (2203.03532).
"""

from __future__ import annotations

from bisect import bisect
from functools import cache
from math import isfinite
from typing import Literal

from msgspec import Struct

from streams.detectors.betting import ODDS, ODDS_WEIGHTS, EDetector, Sums, SumsState, step
from streams.detectors.dependence import Dependence, DependenceState
from streams.detectors.ranks import WARM, Ranks, RanksState

TAILS = (0.02, 0.2, 0.5)
TAIL_WEIGHTS = (0.2, 0.6, 0.2)

Direction = Literal["up", "down", "both"]
WEEK_MS = 7 * 24 * 3_600_000


def slot_of_week(time_ms: int, slot_ms: int = 3_600_000) -> int:
    """Which hour (or other slot) of the week: a category for ``Conformal.update``. Slot 0 begins Thursday 0:00 UTC."""
    return time_ms % WEEK_MS // slot_ms


class ConformalState(Struct, frozen=True, array_like=True):
    """Bounded, see the parts."""

    sums: SumsState
    ranks: RanksState
    dependence: DependenceState


class Conformal(EDetector):
    """Alarm when values are no longer like those before: larger (``up``), smaller (``down``) or either.

    ``seed`` breaks ties; series with the same seed share their chance, which does no harm to the budget. ``warm``: how
    many values fix the buckets; the fewer, the sooner it sees.
    """

    def __init__(
        self,
        run_length: float = 10_000.0,
        direction: Direction = "both",
        seed: int = 0,
        keep_past: bool = False,
        warm: int = WARM,
    ) -> None:
        super().__init__()
        if direction not in ("up", "down", "both"):
            raise ValueError(f"direction is {direction!r}; it is up, down or both")
        self.run_length = run_length
        self.direction = direction
        self.seed = seed
        self.keep_past = keep_past
        self.warm = warm
        self.dependence = Dependence(run_length)
        self.rank: float | None = None
        """Of the last value; None while the first ones fix the buckets."""
        self._edges, self._factors, weights = _bets(direction)
        self._sums = Sums(weights, run_length)
        self._ranks = Ranks(seed, warm)

    @property
    def warned(self) -> bool:
        """Whether values were found to depend on each other: alarms of this detector have no promise then."""
        return self.dependence.warned

    def update(self, x: float, mass: float = 1.0, category: int = 0) -> None:
        """Take one value, any finite number."""
        if not isfinite(x):
            raise ValueError(f"the value is {x}; leave out what could not be measured")
        self.rank = rank = self._ranks.rank(x, category)
        if rank is None:
            self._drift_detected = False
            self._sums.wait(mass)
            return
        self.dependence.update(rank, mass)
        self._drift_detected = self._sums.stake(self._factors[bisect(self._edges, rank)], mass)
        if self._drift_detected and not self.keep_past:
            self.forget()

    def forget(self) -> None:
        """Start a new past: what comes now is the usual, from here on."""
        self._ranks.forget()

    def snapshot(self) -> ConformalState:
        """The exact state."""
        return ConformalState(self._sums.snapshot(), self._ranks.snapshot(), self.dependence.snapshot())

    def restore(self, state: ConformalState) -> None:
        """Go on as the detector with the same parameters whose snapshot this is."""
        self._sums.restore(state.sums)
        self._ranks.restore(state.ranks)
        self.dependence.restore(state.dependence)


@cache
def _bets(direction: Direction) -> tuple[list[float], list[list[float]], list[float]]:
    """The edges that part ranks into zones, each zone's factors (one a bet), and the bets' weights."""
    sides = ("up", "down") if direction == "both" else (direction,)
    edges = sorted({edge for tail in TAILS for edge in (tail, 1 - tail)})
    middles = [(low + high) / 2 for low, high in zip([0.0, *edges], [*edges, 1.0], strict=True)]
    factors: list[list[float]] = [[] for _ in middles]
    weights = []
    for tail, tail_weight in zip(TAILS, TAIL_WEIGHTS, strict=True):
        for odds, odds_weight in zip(ODDS, ODDS_WEIGHTS, strict=True):
            happens, fails = step(tail, odds)
            for side in sides:
                weights.append(tail_weight * odds_weight / len(sides))
                for zone, middle in zip(factors, middles, strict=True):
                    inside = middle > 1 - tail if side == "up" else middle < tail
                    zone.append(happens if inside else fails)
    return edges, factors, weights
