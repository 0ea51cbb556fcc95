"""Bets that a stream has changed, placed so that false alarms have a budget.

At each update a bet turns one unit of money into a factor e >= 0 whose mean is at most 1 while nothing has changed.
A Shiryaev-Roberts sum stakes fresh mass at every update and lets it ride with what earlier stakes have become:

    R(t) = (R(t - 1) + mass(t)) * e(t),    alarm and R := 0 where R >= N.

**The promise.** Let M(T) be the mass granted up to T and A(T) the alarms. While nothing has changed,
R(T) + N A(T) - M(T) is a supermartingale: a bet gains nothing on average, and an alarm takes at least N out of R.
So E[A(T)] <= M(T) / N, and the mean run length to the first alarm is at least N units of mass. At most one false alarm
in N units, on average, whenever one looks.

**Mixtures.** Sums with weights that add up to one, over bets, detectors or series, obey the same inequality, whatever
the dependence between them: it is linear. One detector mixes bets of several strengths and needs not know how large
the change will be.

The sums are kept as they are, not as logarithms: they stay below N, and one that falls to zero gets fresh mass.

Source: Shin, Ramdas, Rinaldo: E-detectors (2203.03532).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct
from river.base import DriftDetector

ODDS = (2.0, 6.0)
"""Bets on an event reckon with its odds having grown this many times …"""
ODDS_WEIGHTS = (2 / 3, 1 / 3)
"""… and share the stake like this: small changes are the harder ones."""


class Step(NamedTuple):
    """What one unit becomes when the event happens, and when it does not."""

    happens: float
    fails: float


def step(share: float, odds: float) -> Step:
    """The likelihood ratio of an event whose chance is ``share``, against one with ``odds`` times the odds.

    Its mean is 1 at a chance of ``share``, and below for smaller chances where ``odds`` is above 1.
    """
    grown = odds * share / (1 - share)
    then = grown / (1 + grown)
    return Step(then / share, (1 - then) / (1 - share))


class SumsState(Struct, frozen=True, array_like=True):
    """The sums, one a bet."""

    sums: tuple[float, ...]
    waiting: float = 0.0
    """Mass that was granted and is not staked yet."""


class Sums:
    """One Shiryaev-Roberts sum for each bet of a mixture; ``weights`` add up to at most one."""

    def __init__(self, weights: Sequence[float], run_length: float) -> None:
        if not run_length > 0 or math.isinf(run_length):
            raise ValueError(f"run_length is {run_length}; it must be a positive number of updates")
        self.run_length = run_length
        self.value = 0.0
        """The wealth R after the last update; at an alarm, what raised it."""
        self.parts = [0.0] * len(weights)
        """The same, by bet."""
        self._weights = tuple(weights)
        self._sums = [0.0] * len(self._weights)
        self._waiting = 0.0

    def wait(self, mass: float) -> None:
        """Keep mass for the next stake: there is nothing to bet on yet."""
        self._waiting += mass

    def stake(self, factors: Sequence[float], mass: float) -> bool:
        """Stake, multiply by each bet's factor; whether the wealth reached the threshold (it then starts anew)."""
        mass += self._waiting
        self._waiting = 0.0
        self._sums = [(s + w * mass) * e for s, w, e in zip(self._sums, self._weights, factors, strict=True)]
        self.parts = self._sums
        self.value = sum(self._sums)
        if self.value < self.run_length:
            return False
        self._sums = [0.0] * len(self._weights)
        return True

    def snapshot(self) -> SumsState:
        """The exact state."""
        return SumsState(tuple(self._sums), self._waiting)

    def restore(self, state: SumsState) -> None:
        """Go on from ``state``; the bets must be those that made it."""
        if len(state.sums) != len(self._weights):
            raise ValueError(f"the state has {len(state.sums)} bets, the detector {len(self._weights)}: start anew")
        self._sums = list(state.sums)
        self._waiting = state.waiting
        self.parts = self._sums
        self.value = sum(self._sums)


class EDetector(DriftDetector):
    """What all e-detectors have: river's interface, the wealth, and a threshold that is a mean run length.

    ``update`` takes, beside the value, the mass that the budget granted since the last update: 1 by itself, less where
    a deployment's budget is shared (``budget.py``). ``drift_detected`` tells of the last update alone.
    """

    run_length: float
    _sums: Sums

    @property
    def wealth(self) -> float:
        """R after the last update; an alarm at ``run_length``."""
        return self._sums.value
