"""Whether ranks depend on the ranks before them: then values are not independent, and a promise built on it is void.

Ranks of independent values are uniform and independent. A bet that a rank lies on the same side of the middle as the
rank ``lag`` updates ago (or on the other side) pays 1 + f u(t) v(t - lag) with u = 2 rank - 1: on average 1, whatever
v is, as it is known before. So warnings have the same kind of promise as alarms: at most one false warning in
``run_length`` units of mass. v is the older rank less the recent mean of ranks, so that a mere change of level, which
is the detector's to find, is not taken for dependence.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from streams.detectors.betting import Sums, SumsState

LAGS = (1, 2, 4, 8)
LAG_WEIGHTS = (0.55, 0.15, 0.15, 0.15)
FRACTIONS = (0.9, 0.3, -0.9, -0.3)
"""Of the most that can be staked, which is 1 / (1 + |recent mean|); above zero for the same side …"""
FRACTION_WEIGHTS = (0.5, 0.3, 0.1, 0.1)
"""… which is the usual case: waves, seasons, retries."""
RECENT = 20
"""Updates that the recent mean looks back on: few, so that a change of level is soon not taken for dependence."""
SHOWN = 100
"""Updates that the shown autocorrelation looks back on."""


class DependenceState(Struct, frozen=True, array_like=True):
    """Bounded: the last max(LAGS) ranks."""

    sums: SumsState
    past: tuple[float, ...]
    mean: float
    product: float
    square: float
    warned: bool


class Dependence:
    """Watches the ranks of one series."""

    def __init__(self, run_length: float) -> None:
        self.run_length = run_length
        self._sums = Sums([lag * fraction for lag in LAG_WEIGHTS for fraction in FRACTION_WEIGHTS], run_length)
        self._past: deque[float] = deque(maxlen=max(LAGS))
        self._mean = self._product = self._square = 0.0
        self.warned = False
        """Whether dependence was found since the last ``clear``."""

    @property
    def autocorrelation(self) -> float | None:
        """Of neighbouring ranks, over the last hundred or so; None before there were enough."""
        return self._product / self._square if self._square > 0.1 else None

    @property
    def wealth(self) -> float:
        """A warning at ``run_length``."""
        return self._sums.value

    def update(self, rank: float, mass: float = 1.0) -> bool:
        """Take one rank; whether this one raised a warning."""
        u = 2 * rank - 1
        past, mean = self._past, self._mean
        factors: list[float] = []
        for lag in LAGS:
            product = u * (past[-lag] - mean) / (1 + abs(mean)) if len(past) >= lag else 0.0
            factors += [1 + fraction * product for fraction in FRACTIONS]
        raised = self._sums.stake(factors, mass)
        if past:
            self._product += ((u - mean) * (past[-1] - mean) - self._product) / SHOWN
            self._square += ((u - mean) ** 2 - self._square) / SHOWN
        self._mean += (u - mean) / RECENT
        past.append(u)
        self.warned = self.warned or raised
        return raised

    def clear(self) -> None:
        """Take the warning back: somebody has dealt with it."""
        self.warned = False

    def snapshot(self) -> DependenceState:
        """The exact state."""
        past = tuple(self._past)
        return DependenceState(self._sums.snapshot(), past, self._mean, self._product, self._square, self.warned)

    def restore(self, state: DependenceState) -> None:
        """Go on from ``state``."""
        self._sums.restore(state.sums)
        self._past = deque(state.past, maxlen=max(LAGS))
        self._mean, self._product, self._square, self.warned = state.mean, state.product, state.square, state.warned
