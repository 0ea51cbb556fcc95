"""How the change of a mean splits over the parts of the calls. Pure.

Kitagawa's decomposition ("Components of a difference between two rates", JASA 50, 1955): with shares p and means m of
the parts, before (0) and after (1), and M the mean over all calls,

    within = (p0 + p1) / 2 · (m1 − m0)          the part's own mean moved
    mix    = (p1 − p0) · ((m0 + m1) − (M0 + M1)) / 2     its share of the calls moved

The sum of both over all parts is M1 − M0, exactly. (M is taken off so that a part of average calls, however much it
grows, contributes nothing; the sum stays the same, as the shares' changes add up to zero.) A part without calls on one
side has no mean there and is given that of the other side: all of its contribution is mix.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class Sums(NamedTuple):
    """Counts, sums and sums of squares of one side's values, by part; any shape, or one number each for the whole."""

    n: Numbers
    total: Numbers
    squares: Numbers


class Split(NamedTuple):
    """The decomposition, by part."""

    within: Numbers
    mix: Numbers


def kitagawa(before: Sums, after: Sums) -> Split:
    """The contributions of parts that together are all calls. Both sides have calls."""
    p0, p1 = before.n / before.n.sum(), after.n / after.n.sum()
    whole = (before.total.sum() / before.n.sum() + after.total.sum() / after.n.sum()) / 2
    own0, own1 = _mean(before), _mean(after)
    m0, m1 = np.where(before.n > 0, own0, own1), np.where(after.n > 0, own1, own0)
    return Split((p0 + p1) / 2 * (m1 - m0), (p1 - p0) * ((m0 + m1) / 2 - whole))


def left_out(before: Sums, after: Sums, all_before: Sums, all_after: Sums) -> tuple[Numbers, Numbers]:
    """What of the change is gone when a part is left out, and its standard error, by part.

    That is (M1 − M0) less the same difference of all *other* calls; the error by the delta method, for independent
    calls. Parts that leave fewer than two calls give nonsense: leave them out before.
    """
    gap0, spread0 = _gap(before, all_before)
    gap1, spread1 = _gap(after, all_after)
    return gap1 - gap0, np.sqrt(np.maximum(spread0 + spread1, 1e-24))


def _gap(part: Sums, whole: Sums) -> tuple[Numbers, Numbers]:
    """One side: mean of all less mean of the others, and its variance."""
    rest = Sums(whole.n - part.n, whole.total - part.total, whole.squares - part.squares)
    mean, others = whole.total / whole.n, _mean(rest)
    inside = part.squares - 2 * mean * part.total + part.n * mean**2
    left = np.maximum(rest.n, 1) / whole.n
    slope, shift = 1 - 1 / left, others / left - mean
    outside = slope**2 * rest.squares + 2 * slope * shift * rest.total + rest.n * shift**2
    return mean - others, (inside + outside) / whole.n**2


def _mean(sums: Sums) -> Numbers:
    return sums.total / np.maximum(sums.n, 1)
