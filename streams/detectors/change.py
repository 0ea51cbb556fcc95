"""Where in a short series the mean changed: the split with the least squared error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MIN_SIDE = 5
"""Fewer values than this on one side are no evidence of a level."""


class Split(NamedTuple):
    """The series changes its mean at ``start``, the first value of the new level."""

    start: int
    before: float
    after: float


def split(values: Sequence[float]) -> Split | None:
    """The best split, or None for fewer than 2 x MIN_SIDE values.

    For one change between two levels with equal variance this is the maximum-likelihood estimate.
    """
    n = len(values)
    if n < 2 * MIN_SIDE:
        return None
    sums = np.cumsum(np.asarray(values, dtype=np.float64))
    left = np.arange(MIN_SIDE, n - MIN_SIDE + 1)
    before = sums[left - 1] / left
    after = (sums[-1] - sums[left - 1]) / (n - left)
    gain = left * (n - left) * (after - before) ** 2
    best = int(np.argmax(gain))
    return Split(int(left[best]), float(before[best]), float(after[best]))
