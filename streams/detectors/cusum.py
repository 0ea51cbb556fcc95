"""Two-sided CUSUM on standardised values, with the time since which the evidence has been gathering.

Exact average run lengths for N(mu, 1), k = 0.5, h = 4: 167.7 without change, 8.38 at a shift of one deviation.
Source: Page: Continuous inspection schemes (Biometrika 1954).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

ALLOWANCE = 0.5
"""k: shifts below half of a standard deviation are let pass."""
CLIP = 6.0
"""One wild value is no change: it takes several to reach a threshold above this."""


class Cusum(Struct, omit_defaults=True):
    """Sums of evidence for a rise and for a fall, each with the start of its current climb."""

    up: float = 0.0
    down: float = 0.0
    up_since_ms: int = 0
    down_since_ms: int = 0

    def update(
        self, z: float, at_ms: int, threshold: float, allowance: float = ALLOWANCE
    ) -> Literal["up", "down"] | None:
        """Take one standardised value observed from ``at_ms`` on; say which way the mean went, if it did."""
        z = max(-CLIP, min(CLIP, z))
        if self.up == 0.0:
            self.up_since_ms = at_ms
        if self.down == 0.0:
            self.down_since_ms = at_ms
        self.up = max(0.0, self.up + z - allowance)
        self.down = max(0.0, self.down - z - allowance)
        if self.up > threshold:
            return "up"
        return "down" if self.down > threshold else None
