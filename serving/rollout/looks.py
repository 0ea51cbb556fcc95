"""Is the candidate worse at all? One bet that is made for the moments at which a rollout wants to know.

A steady stake wins most in the long run, whenever that is. Who wants to know within so many sessions bets otherwise:
the wealth that most often reaches 1/alpha by then is the chance, by what is seen so far, that one test at that moment
will refuse equal arms (Kulldorff, "Optimal control of favorable games with a time limit", 1993). To follow it is to
stake its slope. The stakes are fixed before each payoff, so the wealth is a test supermartingale and may be looked at
whenever one likes; only its power is made for the planned looks.

Moments are counted in information, not in calls: a session that is the candidate's with chance v gives v (1 - v), a
pair 1/2. At a canary of 25 % the three looks are after 150, 500 and 4,000 sessions.
"""

from __future__ import annotations

from math import erfc, exp, log, pi, sqrt
from typing import NamedTuple

import numpy as np

from serving.rollout.betting import Floats, Payoffs, steady, within_means


class Look(NamedTuple):
    """A planned look."""

    at: float
    """Information by then."""
    level: float
    """Standard errors that the difference must be from nothing then."""
    capital: float
    """Share of the capital that is bet on it."""


LOOKS = (Look(28, 2.8, 0.07), Look(94, 2.8, 0.15), Look(750, 2.05, 0.64))
HARM = 0.15
"""What is left is staked steadily on this difference: it does not end with the last look."""

_GRID = np.linspace(-30.0, 8.0, 3801)
_SLOPES = np.array([exp(-u * u / 2) / sqrt(2 * pi) / (erfc(-u / sqrt(2)) / 2) for u in _GRID])


def log_wealth(payoffs: Payoffs) -> Floats:
    """Logarithm of the wealth after each payoff, of one who bets that the candidate is worse at all; begins near 0."""
    parts = [log(look.capital) + _gains(payoffs, _stakes(payoffs, look)) for look in LOOKS]
    left = 1 - sum(look.capital for look in LOOKS)
    parts.append(log(left) + _gains(payoffs, steady(payoffs, HARM)))
    mixed: Floats = np.logaddexp.reduce(np.array(parts), axis=0)
    return mixed


def _stakes(payoffs: Payoffs, look: Look) -> Floats:
    """Slope over height of the chance that ``look`` will refuse equal arms; nothing once it is over."""
    spread = np.sqrt(np.maximum(payoffs.variance * payoffs.information, 1e-4))
    steps = payoffs.information * payoffs.values / spread
    seen, spent = np.cumsum(steps) - steps, np.cumsum(payoffs.information) - payoffs.information
    left = np.sqrt(np.maximum(look.at - spent, 1e-9))
    stakes = _slope((seen - look.level * sqrt(look.at)) / left) / left * payoffs.information / spread
    return np.where(look.at - spent > payoffs.information / 2, stakes, 0.0)


def _slope(u: Floats) -> Floats:
    """The normal density over the normal distribution at ``u``, to 0.001: slope over height of a chance."""
    return np.where(u < _GRID[0], -u, np.interp(u, _GRID, _SLOPES))


def _gains(payoffs: Payoffs, stakes: Floats) -> Floats:
    gains: Floats = np.cumsum(np.log1p(within_means(payoffs, stakes) * payoffs.values))
    return gains
