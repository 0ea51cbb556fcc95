"""Sessions are what a rollout's tests count, not calls: a session keeps its arm, and its answers are alike.

A test may look at any time only if what it has counted stays as it is. So each session counts once in a step, with the
mean over its first answers, and then no more: those that come while all answers grow by ``1 / PATIENCE``. A call that
is a session of its own counts at once. Until it counts, a session is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

PATIENCE = 4


def settle(sessions: Sequence[str]) -> tuple[Ints, Ints]:
    """Which answers count, and for whom. ``sessions``: of each answer in order, empty where it is one of its own.

    Gives (rows, units): numbers of the answers that count, and the number of each one's session, from 0 in the order
    in which sessions have come to count. What is settled stays so when more answers follow.
    """
    n = len(sessions)
    if n == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    alone = np.array([not session for session in sessions])
    numbers: dict[str, int] = {}
    member = np.array([numbers.setdefault(each or f"\x00{row}", row) for row, each in enumerate(sessions)])
    until = member + np.where(alone, 0, member // PATIENCE)
    rows = np.flatnonzero((np.arange(n) <= until) & (until < n))
    order = np.unique(until[rows] * n + member[rows], return_inverse=True)[1]
    return rows, np.asarray(order, dtype=np.int64).reshape(-1)


def means(values: npt.NDArray[np.float64], units: Ints) -> npt.NDArray[np.float64]:
    """The mean of each session's values; ``units`` as ``settle`` numbers them, each number there."""
    found: npt.NDArray[np.float64] = np.bincount(units, values) / np.bincount(units)
    return found
