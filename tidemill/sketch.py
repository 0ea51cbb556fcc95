"""Log-bucket histograms: bounded relative error, exact merge, no dependence on order.

A value x > 0 falls into bucket ``ceil(log(x) / log(gamma))`` with ``gamma = (1 + a) / (1 - a)``; answering with the
bucket's middle keeps every quantile within relative error ``a``. Zero and below fall into one bucket of their own.
Source: Masson, Rim, Lee: DDSketch (VLDB 2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

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
    count = sum(histogram.values())
    if count == 0:
        return None
    rank = math.floor(q * (count - 1))
    seen = 0
    for index in sorted(histogram):
        seen += histogram[index]
        if seen > rank:
            return middle(index)
    raise AssertionError("unreachable: the rank is below the count")
