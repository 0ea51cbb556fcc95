"""How far a model's certainty is from how often it is right: the expected calibration error. Pure.

Certainty is the probability that the model gave its whole answer, in [0, 1]. Bins hold equally many answers, as far as
equal certainties allow, so that none is empty (adaptive calibration error; Nixon et al., arXiv 1904.01685).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from statistics import NormalDist

import numpy as np

BINS = 10
LEAST_IN_BIN = 5
_SPLITS = 200

Told = tuple[float, float]
"""An answer's certainty and its score."""


def calibration_error(told: Sequence[Told]) -> float | None:
    """The mean distance of certainty and score over the bins, weighted by their answers; None without answers."""
    if not told:
        return None
    ranked = _level(told)
    bins = max(1, min(BINS, len(ranked) // LEAST_IN_BIN))
    edges = [len(ranked) * n // bins for n in range(bins + 1)]
    total = 0.0
    for start, end in pairwise(edges):
        total += abs(sum(sure - right for sure, right in ranked[start:end]))
    return total / len(ranked)


def _level(told: Sequence[Told]) -> list[Told]:
    """By certainty; answers of one certainty share their mean score, so that their order says nothing."""
    known: dict[float, list[float]] = {}
    for sure, right in told:
        known.setdefault(sure, []).append(right)
    return [(sure, sum(known[sure]) / len(known[sure])) for sure in sorted(known) for _ in known[sure]]


def surely_worse(candidate: Sequence[Told], champion: Sequence[Told], margin: float, alpha: float) -> bool:
    """Whether the candidate's error is above the champion's by more than the margin, beyond what chance explains.

    Both answered the same rows, in the same order. The difference's spread is that of bootstrap samples of the rows
    (drawn by a fixed seed, so that the same rows give the same verdict); an error is biased upwards on few rows, the
    candidate's as the champion's, so this finds gross faults and promises no level.
    """
    ours, theirs = calibration_error(candidate), calibration_error(champion)
    if ours is None or theirs is None:
        return False
    rng, count = np.random.default_rng(0), len(candidate)
    drawn = []
    for _ in range(_SPLITS):
        rows = rng.integers(0, count, count)
        one = calibration_error([candidate[row] for row in rows])
        other = calibration_error([champion[row] for row in rows])
        drawn.append((one or 0.0) - (other or 0.0))
    spread = sqrt(float(np.var(drawn)))
    return ours - theirs - margin > NormalDist().inv_cdf(1 - alpha) * spread
