"""Progress of a training process: JSON lines on stdout, at most about one a second."""

from __future__ import annotations

import sys
import time
from typing import TextIO

import msgspec

EVERY_S = 1.0


class Progress:
    """Writes {"step", "of", "loss"} lines; first and last step always, the others at most once in `EVERY_S`."""

    def __init__(self, of: int, out: TextIO | None = None) -> None:
        self._of = of
        self._out = out or sys.stdout
        self._last = float("-inf")

    def step(self, step: int, loss: float, **figures: float | None) -> None:
        """Say that `step` (counted from 1) is done, with further figures where they are known; flushes."""
        now = time.monotonic()
        if step not in (1, self._of) and now - self._last < EVERY_S:
            return
        self._last = now
        known = {name: value for name, value in figures.items() if value is not None}
        say({"step": step, "of": self._of, "loss": round(loss, 4), **known}, self._out)


def say(fact: dict[str, object], out: TextIO | None = None) -> None:
    """One JSON line, flushed."""
    stream = out or sys.stdout
    stream.write(msgspec.json.encode(fact).decode() + "\n")
    stream.flush()
