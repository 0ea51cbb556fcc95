"""Log-bucket histograms: bounded relative error, exact merge, no dependence on order.

A value x > 0 falls into bucket ``ceil(log(x) / log(gamma))`` with ``gamma = (1 + a) / (1 - a)``; answering with the
bucket's middle keeps every quantile within relative error ``a``. Zero and below fall into one bucket of their own.
Source: Masson, Rim, Lee: DDSketch (VLDB 2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
ZERO_BUCKET = -(2**20)
"""Holds values of zero and below."""
_LOG_GAMMA = math.log(GAMMA)


def bucket(value: float) -> int:
    """The bucket of one value."""
    return math.ceil(math.log(value) / _LOG_GAMMA) if value > 0 else ZERO_BUCKET


def buckets(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bucket of each value; shape (n,) in, shape (n,) out."""
    positive = values > 0
    logs = np.log(np.where(positive, values, 1.0)) / _LOG_GAMMA
    return np.where(positive, np.ceil(logs), ZERO_BUCKET).astype(np.int64)


def middle(index: int) -> float:
    """The value that stands for a bucket."""
    return 0.0 if index == ZERO_BUCKET else 2 * GAMMA**index / (GAMMA + 1)


def quantile(histogram: Mapping[int, int], q: float) -> float | None:
    """The q-quantile (0 ≤ q ≤ 1, lower rank) within RELATIVE_ERROR; None when there is no value."""
    return quantiles(dict(sorted(histogram.items())), (q,))[0]


def quantiles(ordered: Mapping[int, int], qs: Sequence[float]) -> list[float | None]:
    """The quantiles ``qs`` (rising) of a histogram in order of its buckets, in one pass."""
    count = sum(ordered.values())
    if count == 0:
        return [None] * len(qs)
    found: list[float | None] = []
    seen = 0
    ranks = [math.floor(q * (count - 1)) for q in qs]
    for index, n in ordered.items():
        seen += n
        while seen > ranks[len(found)]:
            found.append(middle(index))
            if len(found) == len(ranks):
                return found
    raise AssertionError("unreachable: the ranks are below the count")
