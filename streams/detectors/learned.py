"""E-detector for text that learns which words have become common, and bets on what it has learned.

Every REFIT calls the words of recent calls are compared with those of one half of a reference: a word's weight is
the logarithm of how much more often calls hold it now. A call's score is the mean weight of its words. The other half
of the reference, which the weights have never seen, says how often an unchanged call scores so high (Clopper-Pearson),
and the detector bets that high scores have become more frequent than that. New topics are found by the words they
share, though each of them is known; no list of topics is needed.

**Why learning does not spoil the promise.** The weights depend on the first half and on live calls of before. While
nothing has changed, both are independent of the second half, so its calls score above an edge as often as live calls
will; the part of it that sets the edges is not counted. Bounds are set anew with each fit and together fail for at most
``error`` of all references: the k-th fit has error / k (k + 1) of it.

Words and pairs of words are hashed into BUCKETS, so no text is kept and memory is bounded.

Sources: Podkopaev, Ramdas: Sequential predictive two-sample and independence testing (2305.00143) for betting with a
learned model; weights are those of naive Bayes, shrunk where counts are small; sums as in 2203.03532.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from streams.detectors.betting import EDetector, Sums, SumsState, step
from streams.detectors.text_vectors import BUCKETS, buckets_of
from streams.detectors.two_sample import upper_bound
from tidemill.text import words

LEAST = 600
"""Calls in a reference, or bounds are too wide to find anything."""
REFIT = 250
"""Calls between two fits, and before the first."""
KEPT = 0.75
"""Of what was counted before, at each fit: weights follow the last thousand calls, more or less."""
TAILS = (0.05, 0.2, 0.4)
ODDS = (1.5, 3.0, 6.0)
PRIOR = 2.0
"""Calls that speak for no change, in each word's share."""
SHRINK = 3.0
"""A word in so many calls weighs half of what its counts say."""

Tokens = NDArray[np.int64]


def tokens(text: str) -> Tokens:
    """The buckets of a text's words and pairs of neighbouring words, each once, sorted; one for "no words" at least."""
    found = words(text)
    return np.array(buckets_of([*found, *map(" ".join, pairwise(found))] or [""]), dtype=np.int64)


class LearnedWordsState(Struct, frozen=True):
    """Bounded: counts by bucket of recent calls, and the sums, bound to the reference they were made against."""

    sums: SumsState
    reference: str
    fits: int
    calls: float
    """What the last fit looked at: recent calls, older ones in part, and their counts."""
    counts: dict[int, float]
    fresh: int
    """Calls since the last fit, and their counts."""
    fresh_counts: dict[int, float]


class LearnedWords(EDetector):
    """Alarm when calls hold other words than ``reference`` did: at least LEAST texts as ``tokens`` gives them."""

    def __init__(self, reference: Sequence[Tokens], run_length: float = 10_000.0, error: float = 0.01) -> None:
        super().__init__()
        if len(reference) < LEAST:
            raise ValueError(f"the reference has {len(reference)} texts; it needs {LEAST} or more")
        self.run_length = run_length
        self.error = error
        half, sixth = len(reference) // 2, len(reference) // 6
        self._known_calls = half
        self._known = np.bincount(np.concatenate(reference[:half]), minlength=BUCKETS).astype(np.float64)
        self._edging, self._counted = reference[half : half + sixth], reference[half + sixth :]
        self._sums = Sums([1 / len(TAILS) / len(ODDS)] * (len(TAILS) * len(ODDS)), run_length)
        self._digest = hashlib.sha256(b"|".join(one.tobytes() for one in reference)).hexdigest()[:16]
        self._fits = 0
        self._calls, self._counts = 0.0, np.zeros(BUCKETS)
        self._fresh, self._fresh_counts = 0, np.zeros(BUCKETS)
        self._weights = np.zeros(BUCKETS)
        self._edges: list[float] = []
        self._happens: list[list[float]] = []
        self._fails: list[list[float]] = []

    def update(self, x: Tokens, mass: float = 1.0) -> None:
        """Take one call's ``tokens``."""
        if not self._fits:
            self._drift_detected = False
            self._sums.wait(mass)
        else:
            score = float(self._weights[x].mean())
            factors: list[float] = []
            for edge, happens, fails in zip(self._edges, self._happens, self._fails, strict=True):
                factors += happens if score > edge else fails
            self._drift_detected = self._sums.stake(factors, mass)
        self._fresh_counts[x] += 1
        self._fresh += 1
        if self._fresh == REFIT:
            self._learn()

    @property
    def learned(self) -> list[int]:
        """The buckets that have become most common, the first ten of them: look for texts that hold them."""
        return [int(bucket) for bucket in np.argsort(-self._weights)[:10] if self._weights[bucket] > 0]

    def snapshot(self) -> LearnedWordsState:
        """The exact state, without the reference."""
        counts, fresh = _sparse(self._counts), _sparse(self._fresh_counts)
        return LearnedWordsState(
            self._sums.snapshot(), self._digest, self._fits, self._calls, counts, self._fresh, fresh
        )

    def restore(self, state: LearnedWordsState) -> None:
        """Go on as the detector with the same reference whose snapshot this is."""
        if state.reference != self._digest:
            raise ValueError(f"the state is of reference {state.reference}, not of {self._digest}: start anew")
        self._sums.restore(state.sums)
        self._fits = state.fits
        self._calls, self._counts = state.calls, _dense(state.counts)
        self._fresh, self._fresh_counts = state.fresh, _dense(state.fresh_counts)
        if self._fits:
            self._weigh()

    def _learn(self) -> None:
        self._calls = KEPT * self._calls + self._fresh
        self._counts = KEPT * self._counts + self._fresh_counts
        self._fresh, self._fresh_counts = 0, np.zeros(BUCKETS)
        self._fits += 1
        self._weigh()

    def _weigh(self) -> None:
        calls, counts = self._calls, self._counts
        usual = PRIOR * (self._known + counts + 0.1) / (self._known_calls + calls)
        now, then = (counts + usual) / (calls + PRIOR), (self._known + usual) / (self._known_calls + PRIOR)
        seen = counts + self._known
        self._weights = np.log(now / then) * seen / (seen + SHRINK)
        self._edges = np.quantile(self._scores(self._edging), [1 - tail for tail in TAILS]).tolist()
        scores = self._scores(self._counted)
        error = self.error / len(TAILS) / (self._fits * (self._fits + 1))
        bounds = [upper_bound(int((scores > edge).sum()), len(scores), error) for edge in self._edges]
        steps = [[step(min(bound, 0.99), odds) for odds in ODDS] for bound in bounds]
        self._happens = [[each.happens for each in row] for row in steps]
        self._fails = [[each.fails for each in row] for row in steps]

    def _scores(self, texts: Sequence[Tokens]) -> NDArray[np.float64]:
        """Mean weight of each text's tokens, shape (n,)."""
        lengths = np.array([len(one) for one in texts])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        return np.asarray(np.add.reduceat(self._weights[np.concatenate(texts)], starts) / lengths, dtype=np.float64)


def _sparse(counts: NDArray[np.float64]) -> dict[int, float]:
    return {int(bucket): float(counts[bucket]) for bucket in np.flatnonzero(counts)}


def _dense(counts: dict[int, float]) -> NDArray[np.float64]:
    dense = np.zeros(BUCKETS)
    for bucket, count in counts.items():
        dense[bucket] = count
    return dense
