"""river's ADWIN with a state that is plain data.

River keeps the detector in native code and gives its state as bytes (a binary record of numbers: no pickle, nothing
in it is executed). The record is bound to the river version and the parameters that made it; with others the
detector starts anew rather than misread it.

``river.drift`` is a thin shell around this native class, but importing it imports pandas and scikit-learn (10 s of
CPU, 150 MB); a test holds that both find the same changes.

Source: Bifet, Gavalda: Learning from time-changing data with adaptive windowing (SDM 2007).
"""

from __future__ import annotations

from typing import Any

import river
from msgspec import Struct
from river._river_rust.drift import AdaptiveWindowing

RIVER: str = river.__version__
CLOCK = 1
"""Look for a change at every score: scores are scarce, and river's default of 32 waits up to 31 of them."""
MAX_BUCKETS = 5
MIN_WINDOW = 5
GRACE = 10


class AdwinState(Struct, frozen=True):
    """A snapshot: a few kilobytes, growing with the logarithm of the window."""

    river: str
    parameters: tuple[float, ...]
    record: bytes


class Adwin:
    """One ADWIN; after ``update`` told of a change, make a new one."""

    def __init__(self, delta: float, state: AdwinState | None = None) -> None:
        self._parameters = _parameters(delta)
        self._adwin: Any = AdaptiveWindowing(delta, CLOCK, MAX_BUCKETS, MIN_WINDOW, GRACE)
        if state is not None and state.river == RIVER and state.parameters == self._parameters:
            self._adwin.__setstate__(state.record)

    def update(self, value: float) -> bool:
        """Whether the mean changed, as of this value."""
        return bool(self._adwin.update(value))

    @property
    def width(self) -> int:
        """How many values its window holds."""
        return int(self._adwin.get_width())

    def snapshot(self) -> AdwinState:
        """The exact state: ``Adwin(delta, snapshot)`` goes on as this one would."""
        return AdwinState(RIVER, self._parameters, bytes(self._adwin.__getstate__()))


def _parameters(delta: float) -> tuple[float, ...]:
    return (delta, CLOCK, MAX_BUCKETS, MIN_WINDOW, GRACE)
