"""Sees from outside that Faust stands still: its own offsets prove nothing after a failed commit or rebalance."""

from __future__ import annotations


class Watchdog:
    """Told now and then how much waits and how much was done; says when something waits and nothing is done."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since_s: float | None = None
        self._done = 0

    def stands_still(self, now_s: float, waiting: int, done: int) -> bool:
        """``waiting``: messages past the last one handled; ``done``: messages handled since the start."""
        if done != self._done or waiting <= 0 or self._since_s is None:
            self._since_s, self._done = now_s, done
        return now_s - self._since_s >= self._patience_s
