"""The only place that reads the wall clock. Everything else is handed a ``Clock``.

Times are epoch milliseconds (``int``), durations carry their unit in the name.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now_ms(self) -> int:
        """Wall-clock time in epoch milliseconds."""
        ...

    def monotonic_s(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock for tests and simulations: it stands still until moved."""

    def __init__(self, start_ms: int = 0) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._now_ms / 1000

    def advance(self, ms: int) -> None:
        """Move forward by ``ms`` milliseconds (negative moves back, as a stepped clock would)."""
        self._now_ms += ms


def rfc3339(time_ms: int) -> str:
    """Epoch milliseconds as people and CloudEvents write them: ``2026-01-31T12:00:00.000Z``."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day_time(time_ms: int, now_ms: int) -> str:
    """Epoch milliseconds as sentences have them: ``12:00:00 UTC``, with the date where that is another than now's."""
    time, now = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (time_ms, now_ms))
    return time.strftime("%H:%M:%S UTC" if time.date() == now.date() else "%Y-%m-%d %H:%M:%S UTC")
