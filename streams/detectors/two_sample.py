"""E-detector for vectors (text features, embeddings) against a fixed reference sample: topics, novelty, repetition.

One half of the reference draws a map: where its clusters lie, and how far its members are from their nearest others.
The other half counts how often each of some events happens: a vector falls into cluster 3, lies further out than 95 %
of the reference, lies closer than 80 % of it. From those counts comes an upper bound of each event's chance
(Clopper-Pearson, all events together wrong for at most ``error`` of all references). The detector bets that an event
has become more frequent than its bound, so the promise holds given the reference, for all but that share of
references; and however long it runs, new values never blur what they are compared with. That has its price: a small
reference has wide bounds. ``nearest``, given to ``conformal``, finds subtler changes, relative to the recent past.

Sources: Shaer, Bar, Prinster, Romano: conditional conformal test martingales (2602.13848) for holding given a fixed
reference; Shekhar, Ramdas: Nonparametric two-sample testing by betting (2112.09162). The bets on counted events are
our own choice: simple, bounded, and each names what has changed.
"""

from __future__ import annotations

import hashlib
import math
from copy import copy
from functools import cache
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from streams.detectors.betting import ODDS, ODDS_WEIGHTS, EDetector, Step, Sums, SumsState, step

LEAST = 200
"""Vectors in a reference, or bounds are too wide to find anything."""
CLUSTERS = 12
ROUNDS = 10
"""Of k-means; the map needs to be fixed, not perfect."""
TAILS = (0.05, 0.2)

Matrix = NDArray[np.float64]


class Look(NamedTuple):
    """A vector beside the reference."""

    nearest: float
    """How far it lies from its nearest in the reference's first half."""
    happened: NDArray[np.bool_]
    """Which events it is one of, in the order of ``names``."""


class TwoSampleState(Struct, frozen=True):
    """The sums, bound to the reference that they were made against."""

    sums: SumsState
    reference: str


class TwoSample(EDetector):
    """Alarm when vectors are no longer drawn as ``reference``, shape (n, d), was; ``seed`` splits it into halves."""

    def __init__(self, reference: ArrayLike, run_length: float = 10_000.0, error: float = 0.01, seed: int = 0) -> None:
        super().__init__()
        points = np.asarray(reference, dtype=np.float64)
        if points.ndim != 2 or len(points) < LEAST:
            raise ValueError(f"the reference has shape {points.shape}; it must be (n, d) with n of at least {LEAST}")
        self.reference = points
        self.run_length = run_length
        self.error = error
        self.nearest: float | None = None
        """How far the last vector lay from its nearest in the reference's first half: novelty, a value to rank."""
        self.seed = seed
        chance = np.random.default_rng(seed)
        drawn = chance.permutation(len(points))
        half = len(points) // 2
        self._members = points[drawn[:half]]
        self._squares = (self._members**2).sum(axis=1)
        self._centres = _centres(self._members, chance)
        self._far, self._near = _edges(self._members)
        self.names = [f"{side} {tail:.0%}" for side in ("furthest", "nearest") for tail in TAILS]
        self.names += [f"cluster {index}" for index in range(len(self._centres))]
        others = points[drawn[half:]]
        counted = np.array([self._events(point, self._nearest(point)) for point in others]).sum(axis=0)
        n = len(points) - half
        self.bounds = [upper_bound(int(k), n, error / len(self.names)) for k in counted]
        """The most that each event's chance may be, in the order of ``names``."""
        steps = [step(bound, odds) if bound < 1 else Step(1.0, 1.0) for bound in self.bounds for odds in ODDS]
        self._happens = np.array([each.happens for each in steps])
        self._fails = np.array([each.fails for each in steps])
        self._weights = [w / len(self.names) for _ in self.names for w in ODDS_WEIGHTS]
        self._sums = Sums(self._weights, run_length)
        self._digest = hashlib.sha256(points.tobytes() + f"{error} {seed}".encode()).hexdigest()[:16]

    def another(self) -> TwoSample:
        """A detector for another series with the same reference: it shares all that is fixed, and has no wealth yet."""
        other = copy(self)
        other._sums, other.nearest, other._drift_detected = Sums(self._weights, self.run_length), None, False
        return other

    def update(self, x: ArrayLike, mass: float = 1.0) -> None:
        """Take one vector, shape (d,)."""
        self.bet(self.look(x), mass)

    def look(self, x: ArrayLike) -> Look:
        """What is to be known of a vector, shape (d,): the same for every detector with this reference."""
        point = np.asarray(x, dtype=np.float64)
        if point.shape != self.reference.shape[1:]:
            raise ValueError(f"the vector has shape {point.shape}, the reference's vectors {self.reference.shape[1:]}")
        if not np.isfinite(point).all():
            raise ValueError("the vector has values that are no numbers; leave out what could not be measured")
        nearest = self._nearest(point)
        return Look(nearest, self._events(point, nearest))

    def bet(self, look: Look, mass: float = 1.0) -> None:
        """Take one vector that a detector with this reference has looked at: most of the time is spent there."""
        self.nearest = look.nearest
        happened = np.repeat(look.happened, len(ODDS))
        self._drift_detected = self._sums.stake(np.where(happened, self._happens, self._fails).tolist(), mass)

    @property
    def grown(self) -> str:
        """The event that most of the wealth was won on, as of the last update."""
        sums = np.array(self._sums.parts).reshape(-1, len(ODDS)).sum(axis=1)
        return self.names[int(sums.argmax())]

    def snapshot(self) -> TwoSampleState:
        """The exact state, without the reference."""
        return TwoSampleState(self._sums.snapshot(), self._digest)

    def restore(self, state: TwoSampleState) -> None:
        """Go on as the detector with the same reference and parameters whose snapshot this is."""
        if state.reference != self._digest:
            raise ValueError(f"the state is of reference {state.reference}, not of {self._digest}: start anew")
        self._sums.restore(state.sums)

    def _nearest(self, point: Matrix) -> float:
        squared = float((self._squares - 2 * (self._members @ point)).min() + point @ point)
        return math.sqrt(max(0.0, squared))

    def _events(self, point: Matrix, nearest: float) -> NDArray[np.bool_]:
        cell = int(((self._centres - point) ** 2).sum(axis=1).argmin())
        return np.concatenate(
            [nearest > self._far, nearest < self._near, np.arange(len(self._centres)) == cell], dtype=np.bool_
        )


def upper_bound(successes: int, trials: int, error: float) -> float:
    """The largest chance that makes so few successes no rarer than ``error`` (Clopper-Pearson, one-sided)."""
    logs = _log_factorials(trials)
    k = np.arange(successes + 1)
    choose = logs[trials] - logs[k] - logs[trials - k]
    low, high = successes / trials, 1.0
    for _ in range(50):
        chance = (low + high) / 2
        if chance >= 1.0:
            break
        tail = np.exp(choose + k * np.log(chance) + (trials - k) * np.log1p(-chance)).sum()
        low, high = (chance, high) if tail > error else (low, chance)
    return high


@cache
def _log_factorials(n: int) -> Matrix:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])


def _centres(points: Matrix, chance: np.random.Generator) -> Matrix:
    centres = points[chance.choice(len(points), CLUSTERS, replace=False)]
    for _ in range(ROUNDS):
        cells = ((centres**2).sum(axis=1) - 2 * points @ centres.T).argmin(axis=1)
        centres = np.array(
            [points[cells == c].mean(axis=0) if (cells == c).any() else centres[c] for c in range(CLUSTERS)]
        )
    return centres


def _edges(points: Matrix) -> tuple[Matrix, Matrix]:
    """Distances to the nearest other member that are exceeded, and fallen short of, by the TAILS."""
    squares = (points**2).sum(axis=1)
    nearest = np.empty(len(points))
    for index, point in enumerate(points):
        apart = squares - 2 * (points @ point) + squares[index]
        apart[index] = np.inf
        nearest[index] = math.sqrt(max(0.0, apart.min()))
    return np.quantile(nearest, [1 - tail for tail in TAILS]), np.quantile(nearest, TAILS)
