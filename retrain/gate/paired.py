"""Whether one model is better than another on the same rows: exact where each row is won, tied or lost. Pure.

A row's difference is the candidate's score less the champion's, in [-1, 1]. All tests ask one question: is the mean of
the differences surely above a level? Level 0 is "better at all", level -margin is "worse by less than the margin".

Differences of -1, 0 and 1 (exact match): at level 0 the exact sign test of the rows that are no ties (McNemar's); at
other levels exact bounds (Clopper and Pearson's) on how often rows are won and lost. Any others: a bet on the mean of a
bounded variable, mixed over all stakes (Waudby-Smith and Ramdas, arXiv 2010.09686); it needs more rows, and assumes
nothing. Order of the rows does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, exp, lgamma, log, log1p

import numpy as np

_FOR_WINS = 0.1
"""Share of alpha that bounds how often rows are won; the rest bounds how often they are lost, which decides."""
_STAKES = 64
_MOST_NEEDED = 20_000


def surely_above(differences: Sequence[float], level: float, alpha: float) -> bool:
    """Whether the mean of the differences is above ``level``; wrongly so at most with chance ``alpha``."""
    if level == 0 and _is_won_or_lost(differences):
        return sign_test(sum(each > 0 for each in differences), sum(each < 0 for each in differences)) <= alpha
    return level < -1 or lower_bound(differences, alpha) > level


def sign_test(won: int, lost: int) -> float:
    """The chance of so many wins, or more, where each row that is no tie is won with chance one half."""
    total = won + lost
    return float(sum(comb(total, wins) for wins in range(won, total + 1)) / 2**total)


def lower_bound(differences: Sequence[float], alpha: float) -> float:
    """The mean of the differences is above this, but for a chance of ``alpha``; -1 without rows."""
    if not differences:
        return -1.0
    count = len(differences)
    if _is_won_or_lost(differences):
        won, lost = sum(each > 0 for each in differences), sum(each < 0 for each in differences)
        fewest = 1 - highest_rate(count - won, count, alpha * _FOR_WINS)
        return fewest - highest_rate(lost, count, alpha * (1 - _FOR_WINS))
    low, high = -1.0, sum(differences) / count
    while high - low > 1e-4:
        middle = (low + high) / 2
        if _winnings(differences, middle) >= log(1 / alpha):
            low = middle
        else:
            high = middle
    return low


def rows_needed(differences: Sequence[float], level: float, alpha: float) -> int | None:
    """About how many rows like these would show that the mean is above ``level``; None: no sensible number would."""
    count = len(differences)
    if not count or sum(differences) / count <= level:
        return None
    needed = count
    while needed < _MOST_NEEDED:
        needed = max(needed + 1, round(needed * 1.1))
        if surely_above([differences[row * count // needed] for row in range(needed)], level, alpha):
            return needed
    return None


def highest_rate(successes: int, count: int, alpha: float) -> float:
    """The rate of successes is at most this, but for a chance of ``alpha`` (exact); 1 where nothing was tried."""
    if successes >= count:
        return 1.0
    low, high = successes / count, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if _at_most(successes, count, middle) > alpha:
            low = middle
        else:
            high = middle
    return high


def _at_most(successes: int, count: int, rate: float) -> float:
    """The chance of so many successes, or fewer, in ``count`` tries."""
    whole, yes, no = lgamma(count + 1), log(rate) if rate > 0 else -exp(9), log1p(-rate)
    return sum(
        exp(whole - lgamma(hits + 1) - lgamma(count - hits + 1) + hits * yes + (count - hits) * no)
        for hits in range(successes + 1)
    )


def _is_won_or_lost(differences: Sequence[float]) -> bool:
    return all(each in (-1, 0, 1) for each in differences)


def _winnings(differences: Sequence[float], level: float) -> float:
    """Logarithm of what a bet on a mean above the level has won, its stakes spread evenly over those it can afford."""
    scores = (np.asarray(differences, dtype=float) + 1) / 2
    against = (level + 1) / 2
    stakes = (np.arange(_STAKES) + 0.5) / _STAKES / max(against, 1e-9)
    won = np.log1p(stakes[:, None] * (scores - against)[None, :]).sum(axis=1)
    return float(won.max() + np.log(np.exp(won - won.max()).mean()))
