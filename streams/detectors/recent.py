"""The last values of a series and when each began, a few bytes a value: to find among them where it changed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

KEPT = 48
PER_UNIT = 64
LEAST_BACK = 4
"""Fewer values than this end no notice."""
SURE = 6.0
"""How far beyond chance the sum of those values must be."""
_MOST = 2**15 - 1
_LONGEST_S = 2**16 - 1


class Recent(Struct, array_like=True):
    """At most KEPT values, to 1/PER_UNIT, and their times, to a second. After a gap of 18 hours it begins anew."""

    values: bytes = b""
    gaps: bytes = b""
    """Seconds from the value before."""
    last_s: int = 0

    def __len__(self) -> int:
        return len(self.values) // 2

    def add(self, value: float, at_ms: int) -> None:
        """Take in a value that began at ``at_ms``."""
        gap_s = at_ms // 1000 - self.last_s
        if not 0 <= gap_s <= _LONGEST_S:
            self.values, self.gaps, gap_s = b"", b"", 0
        rounded = max(-_MOST, min(_MOST, round(value * PER_UNIT)))
        self.values = (self.values + rounded.to_bytes(2, "little", signed=True))[-2 * KEPT :]
        self.gaps = (self.gaps + gap_s.to_bytes(2, "little"))[-2 * KEPT :]
        self.last_s = at_ms // 1000

    def keep(self, n: int) -> None:
        """Forget all but the last ``n``."""
        self.values, self.gaps = (self.values[-2 * n :], self.gaps[-2 * n :]) if n else (b"", b"")

    def numbers(self) -> list[float]:
        """The values, oldest first."""
        pairs = range(0, len(self.values), 2)
        return [int.from_bytes(self.values[at : at + 2], "little", signed=True) / PER_UNIT for at in pairs]

    def times_ms(self) -> list[int]:
        """When each began."""
        at_s, found = self.last_s, []
        for at in range(len(self.gaps) - 2, -1, -2):
            found.append(at_s * 1000)
            at_s -= int.from_bytes(self.gaps[at : at + 2], "little")
        return found[::-1]


def back(values: Sequence[float], halfway: float) -> bool:
    """Whether the last values are surely nearer to zero than to a level at twice ``halfway``.

    A CUSUM of the LEAST_BACK last values or more: at the level it would say so once in some e^(2 SURE) values.
    """
    if len(values) < LEAST_BACK:
        return False
    nearer = abs(halfway) - math.copysign(1, halfway) * np.asarray(values[::-1])
    spread = max(1.0, min(float(np.var(values)), halfway * halfway))  # it may vary more than it did
    enough = min(SURE * spread / max(abs(halfway), 1e-9), 0.75 * KEPT * abs(halfway))
    return bool((np.cumsum(nearer)[LEAST_BACK - 1 :] >= enough).any())
