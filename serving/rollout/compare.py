"""Is the candidate worse than the champion? An answer that holds however often one looks.

Scores lie in [0, 1]. Differences d = champion - candidate come in order; under "harmless" their mean, given the past,
is at most ``margin``. For each stake λ the wealth Π(1 + λ(d - margin)) is a test supermartingale; the mean over a grid
of stakes is one too, so by Ville's inequality it ever reaches 1/alpha with a chance of at most alpha. The same test
turned both ways over a grid of means gives an interval valid at all times.

Sources: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting" (2024); Ville (1939).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_STAKES = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
"""Stakes as shares of the largest that can never lose everything."""
_MEANS = np.linspace(-1.0, 1.0, 101)


@dataclass(frozen=True)
class Comparison:
    """What the differences say. ``n`` 0: nothing yet, ``mean`` None."""

    n: int
    mean: float | None
    """Champion minus candidate: above 0 the candidate is worse."""
    evidence: float
    """Largest wealth against "harmless" so far; harm is proven at 1/alpha."""
    harmful: bool


def concurrent_differences(scores: Iterable[tuple[bool, float]]) -> list[float]:
    """Differences of two arms that answer different calls at the same time.

    ``scores`` are (is candidate, score) in the order they came. Whenever both arms have scores since the last
    difference, their means are subtracted: a slow change that hits both arms cancels out.
    """
    champion: list[float] = []
    candidate: list[float] = []
    differences = []
    for is_candidate, score in scores:
        (candidate if is_candidate else champion).append(score)
        if champion and candidate:
            differences.append(sum(champion) / len(champion) - sum(candidate) / len(candidate))
            champion, candidate = [], []
    return differences


def compare(differences: Sequence[float], margin: float, alpha: float) -> Comparison:
    """Judge differences (each in [-1, 1], in order). Deterministic."""
    if not differences:
        return Comparison(0, None, 1.0, False)
    d = np.clip(np.asarray(differences, dtype=np.float64), -1.0, 1.0)
    evidence = float(_peaks(d, np.array([margin]))[0])
    return Comparison(len(d), float(d.mean()), evidence, evidence >= 1 / alpha)


def interval(differences: Sequence[float], alpha: float) -> tuple[float, float]:
    """Where the true mean difference lies, at 1 - alpha over all looks: means that neither side's bet refuted.

    The widest interval (-1, 1) when there is nothing to go by. Some milliseconds: for figures, not for inner loops.
    """
    if not differences:
        return -1.0, 1.0
    d = _in_blocks(np.clip(np.asarray(differences, dtype=np.float64), -1.0, 1.0), 200)
    kept = (_peaks(d, _MEANS) < 2 / alpha) & (_peaks(-d, -_MEANS) < 2 / alpha)
    means = _MEANS[kept]
    if means.size == 0:
        middle = float(d.mean())
        return middle, middle
    return float(means[0]), float(means[-1])


def _peaks(d: Floats, means: Floats) -> Floats:
    """For each mean m: the largest wealth ever reached by betting that the true mean is above m."""
    stakes = _STAKES[None, :] / (1.0 + means[:, None] + 1e-9)
    gains = np.log1p(stakes[:, :, None] * (d[None, None, :] - means[:, None, None]))
    wealth = np.exp(np.minimum(np.cumsum(gains, axis=2), 500.0)).mean(axis=1)
    peaks: Floats = np.maximum(wealth.max(axis=1), 1.0)
    return peaks


def _in_blocks(d: Floats, most: int) -> Floats:
    """At most ``most`` differences: means of blocks of equal length, so that the interval stays cheap."""
    if d.size <= most:
        return d
    size = -(-d.size // most)
    whole = d[: d.size // size * size]
    blocks: Floats = whole.reshape(-1, size).mean(axis=1)
    return blocks
